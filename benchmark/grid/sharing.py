"""Several grids on one results folder: which of them executes which job."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from benchmark.machine import stopping
from benchmark.records.locks import POLL_SECONDS, Locks
from benchmark.records.record import Record
from benchmark.records.store import Store
from benchmark.runs.job import Job


class Division:
    """The jobs that a grid executes itself, and those it leaves to other grids on its folder.

    Args:
        store: the folder's records.
        locks: locks in the same folder; a job is locked from its claim until its record is written.
        replaced: the records that were there when the grid was prepared and are made again, by
            run id.
        found: called with each record that another grid has made since.
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
        """The jobs that other grids are executing."""
        self._taken_over: set[str] = set()

    def claim(self, job: Job) -> bool:
        """Lock a job, unless another grid is executing it or has made its record meanwhile."""
        if job.run_id in self._taken_over:
            self._taken_over.remove(job.run_id)
            return True
        if not self._locks.take(job.run_id):
            self.left.append(job)
            return False
        record = self._store.get(job.spec, job.run_id, job.code)
        untouched = record is None or record == self._replaced.get(job.run_id)
        if record is None or untouched or record.status == "interrupted":
            return True
        self._locks.release(job.run_id)
        self._found(record)
        return False

    def wait(self) -> list[Job]:
        """Wait for the other grids, and return the jobs that they could not finish.

        Returns:
            No job when the others have finished all. Otherwise the jobs that are left, of which
            the first is locked for this grid; or all of them when a stop was requested.
        """
        while self.left:
            jobs, self.left = self.left, []
            for i, job in enumerate(jobs):
                if self.claim(job):
                    self._taken_over.add(job.run_id)
                    others, self.left = self.left, []
                    return [job, *others, *jobs[i + 1 :]]
            if stopping.requested():
                break
            if self.left:
                time.sleep(POLL_SECONDS)
        jobs, self.left = self.left, []
        return jobs
