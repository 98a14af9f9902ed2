"""``python -m tests.hostile``: every hostile method in one grid, and what it did to the others.

Each is run with a harmless method after it, as ``dfkd run`` would: in one process, or in workers.
What is counted as broken: a command that ended, a variant without a record that can be read again
or with a wrong status, a record without a reason, and a harmless run that is not, bit by bit, what
it is in a grid of its own.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from benchmark.grid.agenda import prepare
from benchmark.grid.execution import run_grid
from benchmark.grid.executors.base import Executor
from benchmark.grid.executors.local import InProcess, Processes
from benchmark.machine import stopping
from benchmark.machine.cache import CACHE_VARIABLE, cache_dir
from benchmark.records.record import Record
from benchmark.records.store import Store
from benchmark.runs.job import Context
from benchmark.suites.plan import plan
from benchmark.suites.suite import MethodEntry, Suite
from methods.base.registry import discover
from tests.faults.sections import write_section
from tests.hostile import methods as hostile

METHODS = Path(hostile.__file__)
HARMLESS = "noise"
WITH_REASON = {"error", "diverged", "over_budget", "skipped"}

HEAD = """## Hostile methods

Written by `python -m tests.hostile`: methods that raise what nobody expects in every place that is
theirs, leave behind what no record can hold, return what is no student, and change the process.
Each is followed by a harmless run in the same command. *Broke* counts the variants without a
readable record, with a wrong status or without a reason, and the harmless runs that differ from
one in a command of its own.

| kind | executed in | methods | broke |
|:--|:--|--:|--:|
"""


@dataclass
class Count:
    """What came of the variants of one kind."""

    tried: int = 0
    complaints: list[str] = field(default_factory=list)


class Silent:
    """A display that shows nothing."""

    def say(self, message: str) -> None:
        """Show a sentence."""

    def report(self, *event: Any) -> None:
        """Show how far a run is."""

    def finished(self, record: Record) -> None:
        """Show that a run has its record."""


class Arena:
    """A folder of results, and a harmless run in it to compare others with.

    Args:
        folder: an empty folder.
        executor: what executes the runs.
    """

    def __init__(self, folder: Path, executor: Executor) -> None:
        self.executor = executor
        self.store = Store(folder)
        teachers = (cache_dir() / "teachers",)
        self.context = Context(cache_dir(), teachers, threads=1, method_folders=(METHODS,))
        (self.alone,) = self.run([HARMLESS])

    def run(self, names: Sequence[str]) -> list[Record]:
        """The records of these methods, in this order."""
        entries = [MethodEntry(name=name) for name in names]
        suite = Suite(name="s", budget="smoke", tasks=["digits"], seeds=[0], methods=entries)
        planned = plan(suite, discover(self.context.method_folders))
        with stopping.on_signals(None, patient=True):
            agenda = prepare(planned, self.store, self.context, "always", print, lambda *_: None)
            return run_grid(agenda, self.store, self.context, self.executor, Silent())

    def challenge(self, name: str) -> Iterator[str]:
        """Run one variant and the harmless method; what is wrong with either."""
        try:
            records = {record.spec.method: record for record in self.run([name, HARMLESS])}
        except BaseException as error:
            yield f"the command ended: {type(error).__name__}"
            return
        for method in {name, HARMLESS} - records.keys():
            yield f"{method} has no record"
        if record := records.get(name):
            if record.status not in hostile.VARIANTS[name].right:
                yield f"it is {record.status}: {record.reason}"
            if record.status in WITH_REASON and not record.reason:
                yield "it has no reason"
            if self.store.get(record.spec, record.run_id) != record:
                yield "its record does not read as it was written"
        if HARMLESS in records and facts(records[HARMLESS]) != facts(self.alone):
            yield "the harmless run is another one"


def facts(record: Record) -> dict[str, Any]:
    """What must be equal however a run came about."""
    spent = {"seconds", "processor_seconds", "peak_memory_mib"}
    return {
        **record.model_dump(include={"status", "metrics", "curves"}),
        "ledger": record.ledger.model_dump(exclude=spent),
    }


def try_all(names: Sequence[str], executor: Executor, console: Console) -> dict[str, Count]:
    """Try these variants; what came of them, by kind."""
    counts: dict[str, Count] = {}
    with tempfile.TemporaryDirectory() as folder:
        arena = Arena(Path(folder) / "results", executor)
        for name in names:
            count = counts.setdefault(hostile.VARIANTS[name].kind, Count())
            complaints = [f"{name}: {complaint}" for complaint in arena.challenge(name)]
            count.tried += 1
            count.complaints += complaints
            for complaint in complaints:
                console.print(complaint, markup=False, soft_wrap=True)
    return counts


def main(
    only: Annotated[str, typer.Option(help="Only variants whose names contain this text.")] = "",
    workers: Annotated[bool, typer.Option(help="Execute them in worker processes.")] = False,
    output: Annotated[Path | None, typer.Option(help="Write the table into this page.")] = None,
) -> None:
    """Try every hostile method and count those that broke something."""
    console = Console(file=os.fdopen(os.dup(1), "w"), highlight=False)
    torch.set_num_threads(1)
    names = [name for name in hostile.VARIANTS if only in name]
    executors: dict[str, Executor] = {"one process": InProcess()}
    if workers:
        executors = {"workers": Processes(1)}
    rows, broken = [], 0
    with tempfile.TemporaryDirectory() as cache:
        # Its own: with a bank of images from an earlier time a variant would not do its part.
        os.environ[CACHE_VARIABLE] = cache
        for where, executor in executors.items():
            for kind, count in try_all(names, executor, console).items():
                broke = len({complaint.partition(":")[0] for complaint in count.complaints})
                broken += broke
                rows.append(f"| {kind} | {where} | {count.tried} | {broke} |\n")
    text = HEAD + "".join(rows)
    console.print(text, markup=False, soft_wrap=True)
    if output is not None:
        write_section(output, text)
    console.file.flush()
    # A thread that a variant left behind would not let the process end.
    os._exit(int(broken > 0))


if __name__ == "__main__":
    typer.run(main)
