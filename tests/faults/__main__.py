"""``python -m tests.faults``: kill a grid at random moments and see whether anything is lost.

It writes docs/reliability.md: how often a grid was killed, how many runs were lost and how many
records torn, and whether the records are finally those of an undisturbed grid.
"""

from __future__ import annotations

import logging
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmark.cli import entry
from benchmark.machine.checkpoints import GOES_ON, IGNORED
from benchmark.machine.tensors import Corrupted, load_tensors
from benchmark.records.record import Record
from benchmark.records.store import Store
from tests.faults.sections import write_top

GRID = "--grid"
"""The word that makes this module the ``dfkd`` command, which then also logs what goes on."""

METHODS = ("rdskd", "deep-inversion", "student-supervised")

SUITE = """title = "Faults"
description = "Short runs of different kinds, to be killed."
budget = "cpu"
purpose = "sweep"
tasks = ["digits"]
seeds = "0"

[budget_axes]
synthesis_steps = [60]
images = [1024]
validation_images = [128]
inversion_images = [512]
student_steps = [400]
"""

FLAGS = "--threads 1 --device cpu --checkpoint-every 0.2s"

HEAD = """# What a grid survives

Written by `make bench-faults`: {runs} short runs of `digits` ({methods}), a state kept five
times a second. A fault is injected at a random moment of the command, the training of the teacher
included, and the same command is given again, until the grid is done; then all over again, until
the fault was injected as often as the table says. Every grid that came to its end is compared with
one that was left alone: run ids (and with them the teacher's bits), status, metrics, curves and
costs, but for seconds and memory. After every fault each record, and each teacher, state, student
and bank of images in the cache, is read and its checksum compared. *Gone on* counts how often a
command found the state of an interrupted teacher or run and went on from there; *ignored* are
states it refused as damaged, which may only be those that the fault itself damaged. A fault during
the start, before there is a state, leaves nothing to go on from.

| fault | times | grids | runs lost | records torn | files torn | gone on | ignored | identical |
|:--|--:|--:|--:|--:|--:|--:|--:|:--|
"""

TAIL = """
Faults that have to be staged are tests of their own (in `tests/benchmark/`, files `test_faults`,
`test_resume`, `test_stopping`, `test_sharing`, `test_trial`, `test_grid`, `test_records`,
`test_teachers` and `test_ray`): a full disk under a record, a state and a bank of images; damaged
states, teachers and records; a clock that was set back; a run out of memory, one that hangs, one
that calls `sys.exit`; methods that change the teacher, the random state, threads or deterministic
flags; two grids on one folder; a Ray node that dies; and a results folder of 50,000 files.
"""


@dataclass
class Outcome:
    """The effects of a fault, counted over all grids it was injected into."""

    fault: str
    times: int = 0
    grids: int = 0
    lost: int = 0
    torn_records: int = 0
    torn_files: int = 0
    gone_on: int = 0
    ignored: int = 0
    identical: bool = True
    complaints: list[str] = field(default_factory=list)

    def compare(self, found: dict[str, Record], whole: dict[str, Record]) -> None:
        """Compare the records of a finished grid with those of an undisturbed one, by run id."""
        self.grids += 1
        self.lost += len(whole.keys() - found.keys())
        for run_id in sorted(whole.keys() | found.keys()):
            ours, wanted = (facts(r[run_id]) if run_id in r else {} for r in (found, whole))
            if ours != wanted:
                self.identical = False
                names = [n for n in ours | wanted if ours.get(n) != wanted.get(n)]
                self.complaints.append(f"run {run_id} of grid {self.grids}: {', '.join(names)}")

    def row(self) -> str:
        """The row of the table."""
        counts = [self.times, self.grids, self.lost, self.torn_records, self.torn_files]
        counts += [self.gone_on, self.ignored]
        same = "yes" if self.identical else "**no**"
        return f"| {' | '.join([self.fault, *map(str, counts), same])} |\n"


class Arena:
    """The folders and the command of a grid that is disturbed.

    Args:
        folder: the folder for results and cache.
        jobs: the processes of the grid.
    """

    def __init__(self, folder: Path, jobs: int) -> None:
        self.results, self.cache = folder / "results", folder / "cache"
        self.log = folder / "errors.txt"
        self.cut: set[Path] = set()
        # One thread also for teachers: several wait for one another on a busy machine.
        own = {"DFKD_CACHE": str(self.cache), "OMP_NUM_THREADS": "1"}
        self.environment = {**os.environ, **own}
        suite = folder / "faults.toml"
        suite.write_text(SUITE + "".join(f'\n[[methods]]\nname = "{name}"\n' for name in METHODS))
        places = ["--jobs", str(jobs), "--results", str(self.results)]
        words = ["-m", "tests.faults", GRID, "run", str(suite), *FLAGS.split(), *places]
        self.command = [sys.executable, *words]

    def start(self) -> subprocess.Popen[bytes]:
        """Start the grid as a process group of its own."""
        with self.log.open("a") as log:
            return subprocess.Popen(
                self.command,
                env=self.environment,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )

    def clear(self) -> None:
        """Remove all runs, their images and the teacher; prepared data stay."""
        shutil.rmtree(self.results)
        for made in ("samples", "teachers", "checkpoints"):
            shutil.rmtree(self.cache / made, ignore_errors=True)
        self.cut.clear()

    def said(self, words: str) -> int:
        """How often the commands and their workers logged these words."""
        return self.log.read_text().count(words) if self.log.exists() else 0

    def records(self) -> dict[str, Record]:
        """The records by run id."""
        return {record.run_id: record for record in Store(self.results).scan().records}

    def torn_records(self) -> int:
        """How many files among the records are not records."""
        return len(Store(self.results).scan().unreadable)

    def torn_files(self) -> int:
        """How many files of tensors are damaged, except for those that were cut."""
        files = {*self.cache.rglob(TENSORS), *self.results.rglob(TENSORS)}
        torn = {path for path in files if is_torn(path)}
        self.cut &= torn  # a file that was written anew counts again
        return len(torn - self.cut)


TENSORS = "*.safetensors"


def is_torn(path: Path) -> bool:
    """Whether a file of tensors is damaged."""
    try:
        load_tensors(path)
    except Corrupted:
        return True
    except FileNotFoundError:  # a worker that outlives its command still tidies up
        return False
    return False


Harm = Callable[[subprocess.Popen[bytes], Arena], bool]
"""A fault: it harms a grid, and returns whether it could."""


def kill(process: subprocess.Popen[bytes], arena: Arena) -> bool:
    """SIGKILL to the command and its workers, as when a machine goes down."""
    os.killpg(process.pid, signal.SIGKILL)
    return True


def kill_the_driver(process: subprocess.Popen[bytes], arena: Arena) -> bool:
    """SIGKILL to the command alone; its workers notice."""
    process.kill()
    return True


def terminate(process: subprocess.Popen[bytes], arena: Arena) -> bool:
    """SIGTERM, as a batch queue sends it."""
    process.terminate()
    return True


def damage(process: subprocess.Popen[bytes], arena: Arena) -> bool:
    """SIGKILL to everything; then the newest state of a run or a teacher is cut in half."""
    kill(process, arena)
    process.wait()
    states = set((arena.cache / "checkpoints").rglob(TENSORS)) - arena.cut
    if not states:
        return False
    newest = max(states, key=lambda path: path.stat().st_mtime)
    os.truncate(newest, newest.stat().st_size // 2)
    arena.cut.add(newest)
    return True


FAULTS: dict[str, tuple[Harm, int]] = {
    "kill -9, one process": (kill, 1),
    "kill -9, command and two workers": (kill, 2),
    "kill -9, command alone, two workers": (kill_the_driver, 2),
    "SIGTERM": (terminate, 1),
    "kill -9, and the newest state cut in half": (damage, 1),
}
"""The faults by name, each with the number of processes of the grid."""


def inject(
    fault: str, times: int, whole: dict[str, Record], seconds: float, stream: random.Random
) -> Outcome:
    """Inject a fault so many times and compare the final records.

    Args:
        fault: a name of `FAULTS`.
        times: how often.
        whole: the records of an undisturbed grid.
        seconds: the time that grid took; the moments of the faults are drawn from it.
        stream: the random numbers for the moments.
    """
    harm, jobs = FAULTS[fault]
    outcome = Outcome(fault)
    with tempfile.TemporaryDirectory() as folder:
        arena = Arena(Path(folder), jobs)
        while outcome.times < times:
            process = arena.start()
            try:
                process.wait(timeout=stream.uniform(0, seconds))
            except subprocess.TimeoutExpired:
                outcome.times += harm(process, arena)
                process.wait()
                outcome.torn_records += arena.torn_records()
                outcome.torn_files += arena.torn_files()
                continue
            outcome.compare(arena.records(), whole)
            arena.clear()
        arena.start().wait()
        outcome.compare(arena.records(), whole)
        outcome.torn_records += arena.torn_records()
        outcome.torn_files += arena.torn_files()
        outcome.gone_on, outcome.ignored = arena.said(GOES_ON), arena.said(IGNORED)
        if arena.said("Traceback"):
            outcome.identical = False
            outcome.complaints.append(arena.log.read_text())
    return outcome


def facts(record: Record) -> dict[str, Any]:
    """The parts of a record that must not depend on interruptions."""
    told = record.model_dump(include={"run_id", "status", "metrics", "curves"})
    return told | record.ledger.model_dump(
        exclude={"seconds", "processor_seconds", "peak_memory_mib"}
    )


def main(
    times: Annotated[
        int,
        typer.Option(
            min=1, help="How often the first fault is injected; each other fault a third as often."
        ),
    ] = 30,
    output: Annotated[Path, typer.Option(help="The file to write.")] = Path("docs/reliability.md"),
    seed: Annotated[int, typer.Option(help="The seed of the random moments.")] = 0,
) -> None:
    """Inject faults into a grid and write the page on what was lost."""
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        arena = Arena(Path(folder), 1)
        started = time.monotonic()
        failed = arena.start().wait()
        seconds = time.monotonic() - started
        whole = arena.records()
        if failed or {r.status for r in whole.values()} != {"ok"} or len(whole) != len(METHODS):
            raise SystemExit(f"the grid that was left alone failed:\n{arena.log.read_text()}")
    console.print(f"{len(whole)} runs undisturbed: {seconds:.0f} s")
    text = HEAD.format(runs=len(whole), methods=", ".join(METHODS))
    for number, fault in enumerate(FAULTS):
        often = times if number == 0 else math.ceil(times / 3)
        outcome = inject(fault, often, whole, seconds, random.Random(f"{seed} {fault}"))
        console.print(outcome)
        text += outcome.row()
    write_top(output, text + TAIL)
    console.print(f"wrote {output}")


if __name__ in ("__main__", "__mp_main__"):  # the latter is a worker of the command
    logging.basicConfig(level=logging.INFO, format="%(message)s")

if __name__ == "__main__":
    if sys.argv[1:2] == [GRID]:
        del sys.argv[1]
        entry()
    else:
        typer.run(main)
