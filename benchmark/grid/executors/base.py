"""The interface of an executor: jobs in, records out, in whatever order they finish."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from benchmark.records.record import Record, Status
from benchmark.runs.job import Context, Job
from benchmark.runs.trial import to_record
from benchmark.tasks.registry import get_task
from methods.base.registry import discover

Report = Callable[[str, str, int, int, float], None]
"""Called with run id, phase, step, total and loss."""

Claim = Callable[[Job], bool]
"""Asked right before a job is started; where it answers no, somebody else has the job."""


def everything(job: Job) -> bool:
    """The claim of somebody who is alone."""
    return True


class Executor(Protocol):
    """Runs jobs. The caller writes the records; an executor never touches the results folder."""

    def run(
        self, jobs: Sequence[Job], context: Context, report: Report, claim: Claim = everything
    ) -> Iterator[Record]:
        """Yield a record for every job that was started, as it finishes.

        Once `benchmark.machine.stopping.requested`, nothing is started any more, and what is in
        flight is yielded as ``interrupted`` when it has come to a step it can go on from.

        Closing the iterator, or KeyboardInterrupt inside it, stops everything at once.

        Raises:
            KeyboardInterrupt: at the end, when jobs were left or interrupted.
        """
        ...


def unfinished(job: Job, context: Context, status: Status, reason: str) -> Record:
    """The record of a run whose process cannot write one any more."""
    method = discover(context.method_folders)[job.spec.method]
    task = get_task(job.spec.task)
    return to_record(job, task, context, method, status, reason)
