"""Who does what, when several grids share a results folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmark.locks import Locks
from benchmark.records import Record
from benchmark.run import Job
from benchmark.store import Store


class Division:
    """What a grid does itself, and what it leaves to others on the same folder.

    Args:
        store: the folder's records.
        locks: of the same folder; a job is locked from its claim until its record is written.
        replaced: records that were there when the grid was prepared and are to be made again, by
            run id.
        found: told of records that others have made since.
    """

    def __init__(
        self,
        store: Store,
        locks: Locks,
        replaced: Mapping[str, Record],
        found: Callable[[Record], None],
    ) -> None:
        self._store = store
        self._locks = locks
        self._replaced = replaced
        self._found = found
        self.left: list[Job] = []
        """Jobs that others are executing."""

    def claim(self, job: Job) -> bool:
        """Lock a job, unless somebody else is executing it or has made its record meanwhile."""
        if not self._locks.take(job.run_id):
            self.left.append(job)
            return False
        record = self._store.get(job.spec, job.run_id)
        untouched = record is None or record == self._replaced.get(job.run_id)
        if record is None or untouched or record.status == "interrupted":
            return True
        self._locks.release(job.run_id)
        self._found(record)
        return False

    def take_left(self) -> list[Job]:
        """The jobs that were left to others, to be claimed once more."""
        left, self.left = self.left, []
        return left
