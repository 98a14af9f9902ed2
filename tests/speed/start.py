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
"""The command ends where a run, in whatever process, first says that it has made a step."""


def first_step(rounds: int = 3) -> tuple[str, float]:
    """The suite that was timed, and the median seconds; MNIST's where its data is at hand.

    The first of the commands, which prepares the data and, where none is committed, trains the
    teacher, is not timed.
    """
    suite = timed_suite()
    with tempfile.TemporaryDirectory() as folder:
        if TEACHERS.is_dir():
            shutil.copytree(TEACHERS, Path(folder) / "cache" / "teachers")
        seconds = [seconds_to_start(suite, Path(folder), turn) for turn in range(rounds + 1)]
    return suite, statistics.median(seconds[1:])


def seconds_to_start(suite: str, folder: Path, turn: int) -> float:
    """One command, into fresh results but with the cache of the command before."""
    command = [sys.executable, "-c", PROGRAM, "run", suite, "--budget", "smoke"]
    command += ["--results", str(folder / str(turn))]
    environment = {**os.environ, "DFKD_CACHE": str(folder / "cache")}
    before = time.time()
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    (line,) = (line for line in said.stdout.splitlines() if line.startswith("first step"))
    return float(line.split()[-1]) - before


def timed_suite() -> str:
    """MNIST's, or that of the embedded digits."""
    try:
        dataset("mnist", None)
    except DataError:
        return "quickstart"
    return "mnist"
