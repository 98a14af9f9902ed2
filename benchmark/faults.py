"""``python -m benchmark.faults``: kill a grid at random moments and see whether anything is lost.

It writes docs/reliability.md: how often a grid was killed, runs lost, records torn, and whether the
records that were finished afterwards are those of a grid that was left alone.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmark.records import Record
from benchmark.store import Store, write_atomic

GRID = "run --task digits --budget cpu --suite-name faults --seeds 0 --threads 1 --device cpu"
METHODS = ("rdskd", "deep-inversion", "student-supervised")
FLAGS = "--checkpoint-every 0.2s"

HEAD = """# What a grid survives

Written by `python -m benchmark.faults`: {runs} runs of `digits` at the budget `cpu`
({methods}), a state kept five times a second.
A fault is injected at a random moment of the command, again and again on one results folder, until
it was injected as often as the table says; what was left is then finished without faults and
compared with a grid that was left alone: status, metrics, curves and costs, but for seconds and
memory.

| fault | times injected | runs lost | records torn | results identical |
|:--|--:|--:|--:|:--|
"""


@dataclass(frozen=True)
class Outcome:
    """What a fault did."""

    fault: str
    times: int
    lost: int
    torn: int
    identical: bool

    def row(self) -> str:
        """A row of the table."""
        same = "yes" if self.identical else "**no**"
        return f"| {self.fault} | {self.times} | {self.lost} | {self.torn} | {same} |\n"


class Arena:
    """Folders of their own for a grid that is disturbed.

    Args:
        folder: holds the results and the cache.
        jobs: processes of the grid.
    """

    def __init__(self, folder: Path, jobs: int) -> None:
        self.results, self.cache = folder / "results", folder / "cache"
        # Teachers too are trained with one thread: several wait for each other on a busy machine.
        own = {"DFKD_CACHE": str(self.cache), "OMP_NUM_THREADS": "1"}
        self.environment = {**os.environ, **own}
        words = [*GRID.split(), *FLAGS.split(), "--jobs", str(jobs), "--results", str(self.results)]
        for method in METHODS:
            words += ["--method", method]
        self.command = [sys.executable, "-m", "benchmark.cli", *words]

    def start(self) -> subprocess.Popen[bytes]:
        """The grid, as a process group of its own."""
        return subprocess.Popen(
            self.command,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def clear(self) -> None:
        """Forget all runs and their images; the teacher stays."""
        shutil.rmtree(self.results)
        shutil.rmtree(self.cache / "samples", ignore_errors=True)

    def records(self) -> dict[str, Record]:
        """By run id."""
        return {record.run_id: record for record in Store(self.results).scan().records}

    def torn(self) -> int:
        """Files among the records that are none."""
        return len(Store(self.results).scan().unreadable)


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to the command and its workers, as when a machine goes down."""
    os.killpg(process.pid, signal.SIGKILL)


def kill_the_driver(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to the command alone; its workers notice."""
    process.kill()


def terminate(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, as a batch queue sends it."""
    process.terminate()


FAULTS: dict[str, tuple[Callable[[subprocess.Popen[bytes]], None], int]] = {
    "kill -9, one process": (kill, 1),
    "kill -9, command and two workers": (kill, 2),
    "kill -9, command alone, two workers": (kill_the_driver, 2),
    "SIGTERM": (terminate, 1),
}
"""What is done, and to how many processes."""


def inject(
    fault: str, times: int, whole: dict[str, Record], seconds: float, stream: random.Random
) -> Outcome:
    """Do a fault so many times and compare what comes out in the end.

    Args:
        fault: a name of `FAULTS`.
        times: how often.
        whole: the records of a grid that was left alone.
        seconds: what that one took, so that every moment of it may be hit.
        stream: of the moments.
    """
    harm, jobs = FAULTS[fault]
    with tempfile.TemporaryDirectory() as folder:
        arena = Arena(Path(folder), jobs)
        torn = injected = 0
        while injected < times:
            process = arena.start()
            try:
                process.wait(timeout=stream.uniform(0, seconds))
                arena.clear()  # it was too quick: all over again
                continue
            except subprocess.TimeoutExpired:
                harm(process)
                process.wait()
            injected += 1
            torn += arena.torn()
        arena.start().wait()
        found = arena.records()
        torn += arena.torn()
    lost = len(whole.keys() - found.keys())
    identical = all(facts(found[i]) == facts(whole[i]) for i in whole.keys() & found.keys())
    return Outcome(fault, times, lost, torn, identical and not lost)


def facts(record: Record) -> dict[str, Any]:
    """What must not depend on how often a run was interrupted."""
    told = record.model_dump(include={"run_id", "status", "metrics", "curves"})
    return told | record.ledger.model_dump(exclude={"seconds", "peak_memory_mib"})


def main(
    times: Annotated[int, typer.Option(min=1, help="How often each fault is injected.")] = 30,
    output: Annotated[Path, typer.Option(help="The file to write.")] = Path("docs/reliability.md"),
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
) -> None:
    """Inject faults into a grid and write what became of it."""
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        arena = Arena(Path(folder), 1)
        started = time.monotonic()
        arena.start().wait()
        seconds = time.monotonic() - started
        whole = arena.records()
    text = HEAD.format(runs=len(whole), methods=", ".join(METHODS))
    for fault in FAULTS:
        outcome = inject(fault, times, whole, seconds, random.Random(f"{seed} {fault}"))
        console.print(outcome)
        text += outcome.row()
    write_atomic(output, text.encode())
    console.print(f"wrote {output}")


if __name__ == "__main__":
    typer.run(main)
