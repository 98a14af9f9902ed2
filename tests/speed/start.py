"""Seconds from the command to the first step of training, when a suite is run a second time."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmark.tasks.data.base import DataError
from benchmark.tasks.loaded import dataset

TEACHERS = Path("results") / "teachers"

PROGRAM = """
import os, sys, time

def report(self, run_id, phase, step, total, loss):
    if phase != "starting":
        print("first step", time.time(), flush=True)
        os._exit(0)

if __name__ == "__main__":
    from benchmark.cli import entry
    from benchmark.cli.display import GridDisplay

    GridDisplay.report = report
    sys.argv[0] = "dfkd"
    entry()
"""
"""A program that runs the command until the first report of a step, in any of its processes."""


def first_step(rounds: int = 3) -> tuple[str, float]:
    """The suite that was timed and the median seconds; it is `mnist` if its data are there.

    The first command is not timed: it prepares the data, and trains the teacher if none is there.
    """
    suite = timed_suite()
    with tempfile.TemporaryDirectory() as folder:
        if TEACHERS.is_dir():
            shutil.copytree(TEACHERS, Path(folder) / "cache" / "teachers")
        seconds = [seconds_to_start(suite, Path(folder), turn) for turn in range(rounds + 1)]
    return suite, statistics.median(seconds[1:])


def seconds_to_start(suite: str, folder: Path, turn: int) -> float:
    """The seconds of one command with fresh results and the cache of the command before it."""
    command = [sys.executable, "-c", PROGRAM, "run", suite, "--budget", "smoke"]
    command += ["--results", str(folder / str(turn))]
    environment = {**os.environ, "DFKD_CACHE": str(folder / "cache")}
    before = time.time()
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    (line,) = (line for line in said.stdout.splitlines() if line.startswith("first step"))
    return float(line.split()[-1]) - before


def timed_suite() -> str:
    """The suite to time: `mnist`, or `quickstart` if MNIST is not there."""
    try:
        dataset("mnist", None)
    except DataError:
        return "quickstart"
    return "mnist"
