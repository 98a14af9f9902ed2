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

from benchmark.artifacts import Corrupted, load_tensors
from benchmark.records import Record
from benchmark.store import Store, write_atomic

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
included, again and again on one results folder, until it was injected as often as the table says;
what was left is then finished without faults and compared with a grid that was left alone: run ids
(and with them the teacher's bits), status, metrics, curves and costs, but for seconds and memory.
After every fault each record, and each teacher, state, student and bank of images in the cache, is
read and its checksum compared.

| fault | times injected | runs lost | records torn | other files torn | results identical |
|:--|--:|--:|--:|--:|:--|
"""

TAIL = """
Faults that take a moment to stage are tests of their own (`tests/benchmark/test_faults.py`,
`test_resume.py`, `test_stopping.py`, `test_sharing.py`, `test_ray.py`): a full disk under a record
and under a state, damaged states, teachers and records, a clock that was set back, a run out of
memory, one that hangs, one that calls `sys.exit`, methods that change the teacher, the random
state, threads or deterministic flags, two grids on one folder, a Ray node that dies, and a results
folder of 50,000 files.
"""


@dataclass(frozen=True)
class Outcome:
    """What a fault did."""

    fault: str
    times: int
    lost: int
    torn_records: int
    torn_files: int
    identical: bool

    def row(self) -> str:
        """A row of the table."""
        same = "yes" if self.identical else "**no**"
        counts = [self.times, self.lost, self.torn_records, self.torn_files]
        return f"| {' | '.join([self.fault, *map(str, counts), same])} |\n"


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
        suite = folder / "faults.toml"
        suite.write_text(SUITE + "".join(f'\n[[methods]]\nname = "{name}"\n' for name in METHODS))
        places = ["--jobs", str(jobs), "--results", str(self.results)]
        words = ["-m", "benchmark.cli", "run", str(suite), *FLAGS.split(), *places]
        self.command = [sys.executable, *words]

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
        """Forget all runs, their images and the teacher; prepared data stay."""
        shutil.rmtree(self.results)
        for made in ("samples", "teachers", "checkpoints"):
            shutil.rmtree(self.cache / made, ignore_errors=True)

    def records(self) -> dict[str, Record]:
        """By run id."""
        return {record.run_id: record for record in Store(self.results).scan().records}

    def torn_records(self) -> int:
        """Files among the records that are none."""
        return len(Store(self.results).scan().unreadable)

    def torn_files(self) -> int:
        """Files of tensors that cannot be read, or whose checksum is wrong."""
        return sum(map(is_torn, [*self.cache.rglob(TENSORS), *self.results.rglob(TENSORS)]))


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


def kill(process: subprocess.Popen[bytes], arena: Arena) -> None:
    """SIGKILL to the command and its workers, as when a machine goes down."""
    os.killpg(process.pid, signal.SIGKILL)


def kill_the_driver(process: subprocess.Popen[bytes], arena: Arena) -> None:
    """SIGKILL to the command alone; its workers notice."""
    process.kill()


def terminate(process: subprocess.Popen[bytes], arena: Arena) -> None:
    """SIGTERM, as a batch queue sends it."""
    process.terminate()


def damage(process: subprocess.Popen[bytes], arena: Arena) -> None:
    """SIGKILL to everything, and what was kept last of runs or of the teacher is cut in half."""
    kill(process, arena)
    process.wait()
    if states := [*(arena.cache / "checkpoints").rglob(TENSORS)]:
        newest = max(states, key=lambda path: path.stat().st_mtime)
        os.truncate(newest, newest.stat().st_size // 2)


Harm = Callable[[subprocess.Popen[bytes], Arena], None]
FAULTS: dict[str, tuple[Harm, int]] = {
    "kill -9, one process": (kill, 1),
    "kill -9, command and two workers": (kill, 2),
    "kill -9, command alone, two workers": (kill_the_driver, 2),
    "SIGTERM": (terminate, 1),
    "kill -9, and the newest state cut in half": (damage, 1),
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
        torn_records = torn_files = injected = 0
        while injected < times:
            process = arena.start()
            try:
                process.wait(timeout=stream.uniform(0, seconds))
                arena.clear()  # it was too quick: all over again
                continue
            except subprocess.TimeoutExpired:
                harm(process, arena)
                process.wait()
            injected += 1
            torn_records += arena.torn_records()
            # What this fault itself cut in half says nothing.
            torn_files += 0 if harm is damage else arena.torn_files()
        arena.start().wait()
        found = arena.records()
        torn_records += arena.torn_records()
        torn_files += arena.torn_files()
    lost = len(whole.keys() - found.keys())
    identical = all(facts(found[i]) == facts(whole[i]) for i in whole.keys() & found.keys())
    return Outcome(fault, times, lost, torn_records, torn_files, identical and not lost)


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
    console.print(f"{len(whole)} runs undisturbed: {seconds:.0f} s")
    text = HEAD.format(runs=len(whole), methods=", ".join(METHODS))
    for fault in FAULTS:
        outcome = inject(fault, times, whole, seconds, random.Random(f"{seed} {fault}"))
        console.print(outcome)
        text += outcome.row()
    write_atomic(output, (text + TAIL).encode())
    console.print(f"wrote {output}")


if __name__ == "__main__":
    typer.run(main)
