"""The interface of an executor: jobs in, records out, in whatever order they finish."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from benchmark.records import Record
from benchmark.run import Context, Job

Report = Callable[[str, str, int, int, float], None]
"""Called with run id, phase, step, total and loss."""


class Executor(Protocol):
    """Runs jobs. The caller writes the records; an executor never touches the results folder."""

    def run(self, jobs: Sequence[Job], context: Context, report: Report) -> Iterator[Record]:
        """Yield a record for every job that was started, as it finishes.

        Closing the iterator, or KeyboardInterrupt inside it, stops everything at once; what was
        in flight is yielded as ``interrupted`` where that is still possible.
        """
        ...
