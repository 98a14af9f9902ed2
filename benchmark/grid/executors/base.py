"""The interface of an executor: jobs in, records out, in the order in which they finish."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from benchmark.records.record import Record, Status
from benchmark.runs.job import Context, Job
from benchmark.runs.recording import to_record
from benchmark.tasks.registry import get_task
from methods.base.registry import discover

Report = Callable[[str, str, int, int, float], None]
"""The callback for the progress of a run: run id, phase, step, total and loss."""

Claim = Callable[[Job], bool]
"""The question right before a job is started; the answer is no if another grid has the job."""


def everything(job: Job) -> bool:
    """The claim of a grid that is alone on its folder."""
    return True


Event = tuple[str, str, int, int, float]
"""A report on its way: the arguments of `Report`."""


class Reporter:
    """The progress of a run, which a method reports, in plain values that can be sent and shown.

    Args:
        run_id: the run.
        send: takes the reports.
    """

    def __init__(self, run_id: str, send: Callable[[Event], None]) -> None:
        self._run_id = run_id
        self._send = send

    def __call__(self, phase: str, step: int, total: int, loss: float) -> None:
        self._send((self._run_id, printable(phase), int(step), int(total), float(loss)))


def printable(text: object, limit: int = 60) -> str:
    """A text that any terminal shows in one line: everything else in it is escaped."""
    shown = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
    return "".join(shown)[:limit]


class Executor(Protocol):
    """Runs jobs. The caller writes the records: an executor never touches the results folder."""

    def run(
        self, jobs: Sequence[Job], context: Context, report: Report, claim: Claim = everything
    ) -> Iterator[Record]:
        """Yield a record for every job that was started, as it finishes.

        After a stop was requested (`benchmark.machine.stopping`), no job is started any more. A run
        in progress yields an ``interrupted`` record at the next step from which it can go on.

        Closing the iterator, or a KeyboardInterrupt inside it, stops all runs at once.

        Args:
            jobs: what to run, in this order.
            context: where and how.
            report: called with the progress of the runs.
            claim: asked right before each job is started.

        Raises:
            KeyboardInterrupt: at the end, when jobs were left or interrupted.
        """
        ...


def unfinished(job: Job, context: Context, status: Status, reason: str) -> Record:
    """The record of a run whose process can no longer make one."""
    method = discover(context.method_folders)[job.spec.method]
    task = get_task(job.spec.task)
    return to_record(job, task, context, method, status, reason)
