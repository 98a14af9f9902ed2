"""Seconds from the command to the first step of training, when a suite is run a second time."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmark.data.base import DataError
from benchmark.run import dataset

PROGRAM = """
import os, sys, time
from benchmark.cli import entry
from methods import generators
from methods.optimizers import Adam

class Stopping(Adam):
    def step(self):
        print("first step", time.time(), flush=True)
        os._exit(0)

# Only a generator's optimiser: the first run has trained the teacher.
generators.Adam = Stopping
sys.argv[0] = "dfkd"
entry()
"""


def first_step(rounds: int = 3) -> tuple[str, float]:
    """The task that was timed, and the median seconds; MNIST where its data is at hand.

    The first of the commands, which trains the teacher and prepares the data, is not timed.
    """
    task = timed_task()
    with tempfile.TemporaryDirectory() as folder:
        seconds = [seconds_to_start(task, Path(folder), turn) for turn in range(rounds + 1)]
    return task, statistics.median(seconds[1:])


def seconds_to_start(task: str, folder: Path, turn: int) -> float:
    """One command, into fresh results but with the cache of the command before."""
    command = [sys.executable, "-c", PROGRAM, "run", "--task", task, "--method", "rdskd"]
    command += ["--budget", "smoke", "--jobs", "1", "--results", str(folder / str(turn))]
    environment = {**os.environ, "DFKD_CACHE": str(folder / "cache")}
    before = time.time()
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    (line,) = (line for line in said.stdout.splitlines() if line.startswith("first step"))
    return float(line.split()[-1]) - before


def timed_task() -> str:
    """MNIST, or the embedded digits."""
    try:
        dataset("mnist", None)
    except DataError:
        return "digits"
    return "mnist"
