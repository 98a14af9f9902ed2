"""Many jobs executed: every record is written the moment it exists."""

from __future__ import annotations

from typing import Protocol

from benchmark.grid.agenda import Agenda
from benchmark.grid.executors.base import Executor
from benchmark.grid.sharing import Division
from benchmark.machine.checkpoints import forget
from benchmark.records.locks import Locks
from benchmark.records.record import SCORED, Record
from benchmark.records.store import Store
from benchmark.runs.job import Context


class Display(Protocol):
    """Whoever watches a grid while its jobs are executed."""

    def say(self, message: str) -> None:
        """A sentence worth keeping."""

    def report(self, run_id: str, phase: str, step: int, total: int, loss: float) -> None:
        """Progress of one run."""

    def finished(self, record: Record) -> None:
        """A run has its record."""


def run_grid(
    agenda: Agenda, store: Store, context: Context, executor: Executor, display: Display
) -> list[Record]:
    """Execute what is missing; every record is written the moment it exists.

    What another grid on the same folder is executing is left to it, and waited for at the end;
    what that one could not finish is executed here.

    Returns:
        The new records, in the order in which they finished.

    Raises:
        KeyboardInterrupt: after the records of finished runs are safe, when some are missing.
    """
    specs = [(job.spec, job.teacher.info.checksum) for job in agenda.jobs]
    specs += [(record.spec, record.teacher.checksum) for record in agenda.kept]
    locks = Locks(store.root)
    with locks.holding("plans"):
        for suite in sorted({spec.suite for spec, _ in specs}):
            mine = [(spec, teacher) for spec, teacher in specs if spec.suite == suite]
            store.add_plan(suite, mine)
    division = Division(store, locks, agenda.replaced, display.finished)
    records: list[Record] = []
    jobs, told = agenda.jobs, False
    try:
        while jobs:
            for record in executor.run(jobs, context, display.report, division.claim):
                before = agenda.replaced.get(record.run_id)
                # What was asked to be made again and was not made is worth no finished record.
                if not (record.status == "interrupted" and before and before.status in SCORED):
                    store.put(record)
                if record.status != "interrupted":
                    forget(context.cache, record.run_id)
                locks.release(record.run_id)
                records.append(record)
                display.finished(record)
            if division.left and not told:
                told = True
                display.say(f"waiting for {len(division.left)} runs that another grid is executing")
            jobs = division.wait()
    finally:
        locks.release_all()
    return records
