"""This machine: in this process, or in several."""

from __future__ import annotations

import datetime
import multiprocessing
import queue
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing.queues import Queue as ProcessQueue

import torch

from benchmark.device import environment
from benchmark.executors.base import Report
from benchmark.records import MethodInfo, Record, Status
from benchmark.run import Context, Job, execute
from methods.registry import discover


class InProcess:
    """One run after the other in this process."""

    def run(self, jobs: Sequence[Job], context: Context, report: Report) -> Iterator[Record]:
        """See `Executor.run`."""
        for job in jobs:
            report(job.run_id, "starting", 0, 0, 0.0)
            record = execute(job, context, lambda *event, id=job.run_id: report(id, *event))
            yield record
            if record.status == "interrupted":
                raise KeyboardInterrupt


class Processes:
    """Several runs at once, each in a process with an equal share of the threads.

    Args:
        count: number of processes.
    """

    def __init__(self, count: int) -> None:
        self.count = count

    def run(self, jobs: Sequence[Job], context: Context, report: Report) -> Iterator[Record]:
        """See `Executor.run`."""
        threads = max(1, (context.threads or torch.get_num_threads()) // self.count)
        context = replace(context, threads=threads)
        spawn = multiprocessing.get_context("spawn")
        events: ProcessQueue[tuple[str, str, int, int, float] | None] = spawn.Queue()
        listener = threading.Thread(target=_forward, args=(events, report), daemon=True)
        listener.start()
        waiting = list(reversed(jobs))
        try:
            while waiting:
                with ProcessPoolExecutor(
                    min(self.count, len(waiting)), spawn, _start_worker, (events,)
                ) as pool:
                    yield from self._drain(pool, waiting, context)
        finally:
            events.put(None)
            listener.join(timeout=5)
            events.cancel_join_thread()

    def _drain(
        self, pool: ProcessPoolExecutor, waiting: list[Job], context: Context
    ) -> Iterator[Record]:
        """Feed the pool until nothing waits, or until a worker died and took the pool with it."""
        running: dict[Future[Record], Job] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self.count:
                    job = waiting.pop()
                    running[pool.submit(_work, job, context)] = job
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                broken = False
                for future in done:
                    job = running.pop(future)
                    try:
                        yield future.result()
                    except BrokenProcessPool:
                        broken = True
                        reason = "the worker process died (killed, or out of memory)"
                        yield unfinished(job, context, "error", reason)
                if broken:
                    # Innocent neighbours of the dead worker are simply run again.
                    waiting.extend(running.values())
                    return
        except (KeyboardInterrupt, GeneratorExit):
            for process in list(getattr(pool, "_processes", {}).values()):
                process.terminate()
            raise


def unfinished(job: Job, context: Context, status: Status, reason: str) -> Record:
    """The record of a run whose process cannot write one any more."""
    method = discover(context.method_folders)[job.spec.method]
    return Record(
        run_id=job.run_id,
        spec=job.spec,
        status=status,
        reason=reason,
        method=MethodInfo(
            title=method.title,
            paper=method.paper,
            access=method.access.describe(),
            changed=job.changed,
        ),
        teacher=job.teacher.info,
        environment=environment(torch.device(context.device), context.precision),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


_events: ProcessQueue[tuple[str, str, int, int, float] | None] | None = None


def _start_worker(events: ProcessQueue[tuple[str, str, int, int, float] | None]) -> None:
    global _events
    _events = events
    # Ctrl-C reaches every process of the terminal; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _work(job: Job, context: Context) -> Record:
    assert _events is not None
    events = _events
    events.put((job.run_id, "starting", 0, 0, 0.0))
    return execute(job, context, lambda *event: events.put((job.run_id, *event)))


def _forward(events: ProcessQueue[tuple[str, str, int, int, float] | None], report: Report) -> None:
    while True:
        try:
            event = events.get()
        except (EOFError, OSError, queue.Empty):
            return
        if event is None:
            return
        report(*event)
