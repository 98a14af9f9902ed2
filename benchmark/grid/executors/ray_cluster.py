"""Runs on a Ray cluster: each run is a task on a node that has room for it.

Teachers and data travel through Ray's object store once, and the records come back. The nodes need
this package, and neither the datasets nor a common file system. Ray starts a run again when its
worker or its node dies; a run that fails by itself comes back as a record like any other.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

from benchmark.errors import UserError
from benchmark.grid.executors.base import Claim, Report, everything, unfinished
from benchmark.grid.executors.ray_node import OVERDUE, Board, Parcel, work
from benchmark.machine import stopping
from benchmark.records.record import Record, Status
from benchmark.runs.job import Context, Job
from benchmark.tasks.registry import get_task
from benchmark.teachers.metadata import obtain_metadata
from benchmark.teachers.teacher import TrainedTeacher
from methods.base.errors import described_with_place
from methods.base.problem import Access
from methods.base.registry import discover

POLL_SECONDS = 0.5


class RayCluster:
    """Executes jobs as Ray tasks.

    Args:
        address: the address of a running cluster, as ``ray.init`` takes it; None starts one on
            this machine.
        cpus_per_run: the CPUs a run reserves, and its threads.
        gpus_per_run: the GPUs a run reserves; a fraction packs several runs onto one GPU. Runs
            compute on a GPU if it is not 0.
        retries: how often a run is started again after its worker died.
    """

    def __init__(
        self, address: str | None, cpus_per_run: int, gpus_per_run: float, retries: int
    ) -> None:
        self.address = address
        self.cpus_per_run = cpus_per_run
        self.gpus_per_run = gpus_per_run
        self.retries = retries

    def run(
        self, jobs: Sequence[Job], context: Context, report: Report, claim: Claim = everything
    ) -> Iterator[Record]:
        """See `Executor.run`; runs in progress are not waited for when the grid is stopped."""
        ray = import_ray()
        # Ray would report to its makers that it was used.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # A run that outgrows its node is killed by Ray, and would be started again without end.
        os.environ.setdefault("RAY_task_oom_retries", str(self.retries))
        connected = ray.is_initialized()
        if not connected:
            self._connect(ray)
        try:
            self.check_room(ray)
            yield from _Tasks(self, ray, context).all(jobs, report, claim)
        finally:
            if not connected:
                ray.shutdown()

    def check_room(self, ray: Any) -> None:
        """Refuse runs that fit no node and would wait for ever; a cluster elsewhere may yet grow.

        Raises:
            UserError: when a run asks for more than this machine has.
        """
        if self.address:
            return
        has = ray.cluster_resources()
        for option, name, asked in (
            ("--threads", "CPU", self.cpus_per_run),
            ("--gpus-per-run", "GPU", self.gpus_per_run),
        ):
            if asked > has.get(name, 0):
                raise UserError(
                    f"{option} is {asked:g}, and the Ray cluster of this machine has "
                    f"{has.get(name, 0):g} {name}s; give no more"
                )

    def _connect(self, ray: Any) -> None:
        own = {} if self.address else {"include_dashboard": False}
        where = f"the Ray cluster at '{self.address}'" if self.address else "a local Ray cluster"
        terminate = signal.getsignal(signal.SIGTERM)
        try:
            host, colon, port = (self.address or "").rpartition(":")
            if colon and port.isdecimal():  # Ray itself would try for minutes
                socket.create_connection((host, int(port)), timeout=10).close()
            ray.init(self.address, log_to_driver=False, logging_level="ERROR", **own)
        except (OSError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"cannot reach {where}: {reason}; see `ray status`, or leave --ray-address out to "
                "start one here"
            ) from None
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, terminate)  # Ray's own handler exits at once


def import_ray() -> Any:
    """Ray, imported.

    Raises:
        UserError: when it is not installed.
    """
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise UserError(
            "--executor ray needs Ray; install it with: pip install 'dfkd-bench[ray]'"
        ) from None
    return ray


class _Tasks:
    """The tasks of one grid.

    Args:
        cluster: how much a run gets.
        ray: the module, connected.
        context: where and how.
    """

    def __init__(self, cluster: RayCluster, ray: Any, context: Context) -> None:
        self.cluster = cluster
        self.ray = ray
        self.context = replace(context, threads=cluster.cpus_per_run)
        self._work = ray.remote(work).options(
            num_cpus=cluster.cpus_per_run,
            num_gpus=cluster.gpus_per_run,
            max_retries=cluster.retries,
            retry_exceptions=False,
        )
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        board = ray.remote(Board).options(num_cpus=0, scheduling_strategy=here)
        self._board = board.remote()
        self._answer: Any = None
        self._shipped: dict[str, Any] = {}
        self._overdue: set[str] = set()

    def all(self, jobs: Sequence[Job], report: Report, claim: Claim) -> Iterator[Record]:
        waiting = list(reversed(jobs))
        running: dict[Any, Job] = {}
        while not stopping.requested():
            room = self._room()
            while waiting and len(running) < room:
                job = waiting.pop()
                if claim(job):
                    running[self._work.remote([self._parcel(job)], self._board)] = job
            if not running:
                return
            self.ray.wait(list(running), timeout=POLL_SECONDS)
            done, _ = self.ray.wait(list(running), num_returns=len(running), timeout=0)
            self._pass_on(report)
            for task in done:
                yield self._record(task, running.pop(task))
            for task, job in list(running.items()):
                if job.run_id in self._overdue:
                    self.ray.cancel(task, force=True)
                    limit = self.context.run_timeout
                    reason = f"not finished within {limit:g} s (--run-timeout)"
                    yield self._unfinished(running.pop(task), "timeout", reason)
        for task, job in running.items():
            self.ray.cancel(task, force=True)
            yield self._unfinished(job, "interrupted", stopping.requested())
        if running or waiting:
            raise KeyboardInterrupt

    def _room(self) -> int:
        """How many tasks to submit: as many as the cluster holds, and as many again to wait."""
        has = self.ray.cluster_resources()
        slots = has.get("CPU", 0) // self.cluster.cpus_per_run
        if self.cluster.gpus_per_run:
            slots = min(slots, has.get("GPU", 0) // self.cluster.gpus_per_run)
        return max(4, 2 * int(slots))

    def _parcel(self, job: Job) -> Parcel:
        task, context = job.spec.task, self.context
        method = discover(context.method_folders)[job.spec.method]
        proxy = None
        if Access.PROXY_IMAGES in method.access:
            proxy = self._ship(f"proxy of {task}", context.proxy(task))
        return Parcel(
            job=replace(job, teacher=TrainedTeacher({}, job.teacher.info)),
            context=context,
            gpu=self.cluster.gpus_per_run > 0,
            teacher=self._ship(job.teacher.info.checksum, job.teacher.weights),
            data=self._ship(f"data of {task}", context.dataset(task)),
            proxy=proxy,
            metadata=self._metadata(job) if Access.METADATA in method.access else None,
        )

    def _metadata(self, job: Job) -> Any:
        """The teacher's metadata, which were collected when the grid was prepared."""
        name = f"metadata of {job.teacher.info.checksum}"
        if name not in self._shipped:
            task, context = get_task(job.spec.task), self.context
            network = job.teacher.build(task)
            data = context.dataset(task.name)
            self._ship(name, obtain_metadata(task, data, network, context.teacher_folders))
        return self._shipped[name]

    def _ship(self, name: str, value: Any) -> Any:
        if name not in self._shipped:
            self._shipped[name] = self.ray.put(value)
        return self._shipped[name]

    def _pass_on(self, report: Report) -> None:
        # A late answer is waited for again: asking anew would lose the events that it holds, and a
        # run that is overdue says so once.
        self._answer = self._answer or self._board.take.remote()
        ready, _ = self.ray.wait([self._answer], timeout=10 * POLL_SECONDS)
        if not ready:
            return
        answer, self._answer = self._answer, None
        try:
            events = self.ray.get(answer)
        except self.ray.exceptions.RayError:
            return  # progress is not worth an error
        for event in events:
            if event[1] == OVERDUE:
                self._overdue.add(event[0])
            else:
                report(*event)

    def _record(self, task: Any, job: Job) -> Record:
        errors = self.ray.exceptions
        try:
            return cast(Record, self.ray.get(task))
        except errors.OutOfMemoryError:
            reason = "Ray ended its worker because the node ran out of memory"
            return self._unfinished(job, "out_of_memory", reason)
        except errors.RayTaskError as error:
            return self._unfinished(job, "error", described_with_place(error.cause or error))
        except errors.RayError as error:
            reason = f"its worker died, and so did those of {self.cluster.retries} retries"
            return self._unfinished(job, "error", f"{reason} ({type(error).__name__})")

    def _unfinished(self, job: Job, status: Status, reason: str) -> Record:
        return unfinished(job, self.context, status, reason)
