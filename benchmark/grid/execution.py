"""The jobs of a grid executed, each record written as soon as it exists."""

from __future__ import annotations

from typing import Protocol

from benchmark.grid.agenda import Agenda
from benchmark.grid.executors.base import Executor
from benchmark.grid.sharing import Division
from benchmark.machine.checkpoints import forget
from benchmark.records.locks import Locks
from benchmark.records.record import ACCIDENTS, SCORED, Record
from benchmark.records.store import Store
from benchmark.runs.job import Context

OTHER_CODE = (
    "a run was made by other code than this command's: another version on its node, or files that "
    "were edited since the start; --overwrite stale makes its record again"
)


class Display(Protocol):
    """Where a grid shows its progress."""

    def say(self, message: str) -> None:
        """Show a sentence, and keep it on the screen."""

    def report(self, run_id: str, phase: str, step: int, total: int, loss: float) -> None:
        """Show how far one run is."""

    def finished(self, record: Record) -> None:
        """Show that a run has its record."""


def run_grid(
    agenda: Agenda, store: Store, context: Context, executor: Executor, display: Display
) -> list[Record]:
    """Execute the jobs of an agenda and write each record as soon as it exists.

    Jobs that another grid on the same folder is executing are left to it and waited for at the end.
    Those that it could not finish are executed here.

    A finished record gives way to nothing but a verdict on its method: it stays when the attempt to
    make it again was interrupted or broke. What other suites have of the same run by other code is
    replaced too, so that one table has one code.

    Returns:
        The new records, in the order in which they finished; also those that were not written.

    Raises:
        KeyboardInterrupt: when the grid was stopped; the records of finished runs are written.
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
    code = {job.run_id: job.code for job in agenda.jobs}
    jobs, told, warned = agenda.jobs, False, False
    try:
        while jobs:
            for record in executor.run(jobs, context, display.report, division.claim):
                _write(record, agenda, store)
                if record.status != "interrupted":
                    forget(context.cache, record.run_id)
                locks.release(record.run_id)
                records.append(record)
                display.finished(record)
                if record.environment.fingerprint != code[record.run_id] and not warned:
                    warned = True
                    display.say(OTHER_CODE)
            if division.left and not told:
                told = True
                display.say(f"waiting for {len(division.left)} runs that another grid is executing")
            jobs = division.wait()
    finally:
        locks.release_all()
    return records


def _write(record: Record, agenda: Agenda, store: Store) -> None:
    """Write a record, unless it would replace a finished one without being a verdict."""
    if record.status in ACCIDENTS:
        before = agenda.replaced.get(record.run_id)
        if before is None or before.status not in SCORED:
            store.put(record)
        elif record.status != "interrupted":
            agenda.broken.append(record)
        return
    store.put(record)
    for copy in store.copies(record):
        if copy.environment.fingerprint != record.environment.fingerprint:
            store.put(record.model_copy(update={"spec": copy.spec}))
