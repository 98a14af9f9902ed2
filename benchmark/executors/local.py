"""This machine: in this process, or in several."""

from __future__ import annotations

import multiprocessing
import queue
import signal
import threading
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.queues import Queue as ProcessQueue
from typing import TypeAlias

import torch

from benchmark.executors.base import Report
from benchmark.records import Record, Status
from benchmark.run import Context, Job, RunProgress, execute, one_line, to_record
from benchmark.together import execute_together, groups
from methods.registry import discover

Events: TypeAlias = "ProcessQueue[tuple[str, str, int, int, float] | None]"


class InProcess:
    """One run after the other in this process, or a few seeds of one specification together.

    Args:
        seeds_at_once: how many seeds are trained as one batched program, where the method lets.
    """

    def __init__(self, seeds_at_once: int = 1) -> None:
        self.seeds_at_once = seeds_at_once

    def run(self, jobs: Sequence[Job], context: Context, report: Report) -> Iterator[Record]:
        """See `Executor.run`."""

        def progress(job: Job) -> RunProgress:
            report(job.run_id, "starting", 0, 0, 0.0)
            return lambda *event: report(job.run_id, *event)

        known = discover(context.method_folders)
        for group in groups(jobs, known) if self.seeds_at_once > 1 else [[job] for job in jobs]:
            for start in range(0, len(group), self.seeds_at_once):
                part = group[start : start + self.seeds_at_once]
                if len(part) > 1:
                    records = execute_together(part, context, progress)
                else:
                    records = [execute(part[0], context, progress(part[0]))]
                yield from records
                if any(record.status == "interrupted" for record in records):
                    raise KeyboardInterrupt


class Processes:
    """Several runs at once, each in a process with the context's number of threads.

    Args:
        count: number of processes.
    """

    def __init__(self, count: int) -> None:
        self.count = count

    def run(self, jobs: Sequence[Job], context: Context, report: Report) -> Iterator[Record]:
        """See `Executor.run`."""
        if context.threads is None:
            share = max(1, torch.get_num_threads() // self.count)
            context = replace(context, threads=share)
        waiting = list(reversed(jobs))
        while waiting:
            with _pool(min(self.count, len(waiting)), report) as pool:
                suspects = yield from self._drain(pool, waiting, context)
            # A dying worker takes its neighbours' results with it; alone, each shows whether it
            # was the one.
            for job in suspects:
                with _pool(1, report) as pool:
                    future = pool.submit(_work, job, context)
                    wait([future])
                    yield _record_of(future, job, context)

    def _drain(
        self, pool: ProcessPoolExecutor, waiting: list[Job], context: Context
    ) -> Generator[Record, None, list[Job]]:
        """Feed the pool until nothing waits; return the jobs in flight when a worker died."""
        running: dict[Future[Record], Job] = {}
        while waiting or running:
            while waiting and len(running) < self.count:
                try:
                    running[pool.submit(_work, waiting[-1], context)] = waiting[-1]
                except BrokenProcessPool:
                    return list(running.values())
                waiting.pop()
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            if any(isinstance(future.exception(), BrokenProcessPool) for future in done):
                return list(running.values())
            for future in done:
                yield _record_of(future, running.pop(future), context)
        return []


@contextmanager
def _pool(count: int, report: Report) -> Iterator[ProcessPoolExecutor]:
    """Worker processes whose events reach ``report``; none outlives the block.

    The queue of events belongs to one pool: a worker that is killed while it holds the queue's
    lock must not silence the next ones.
    """
    spawn = multiprocessing.get_context("spawn")
    events: Events = spawn.Queue()
    listener = threading.Thread(target=_forward, args=(events, report), daemon=True)
    listener.start()
    try:
        with ProcessPoolExecutor(count, spawn, _start_worker, (events,)) as pool:
            try:
                yield pool
            except (KeyboardInterrupt, GeneratorExit):
                for process in list(getattr(pool, "_processes", {}).values()):
                    process.terminate()
                raise
    finally:
        events.put(None)
        listener.join(timeout=1)
        events.cancel_join_thread()
        events.close()


def _record_of(future: Future[Record], job: Job, context: Context) -> Record:
    try:
        return future.result()
    except BrokenProcessPool:
        reason = "the worker process died (killed, or out of memory)"
    except Exception as error:
        reason = one_line(error)
    return unfinished(job, context, "error", reason)


def unfinished(job: Job, context: Context, status: Status, reason: str) -> Record:
    """The record of a run whose process cannot write one any more."""
    method = discover(context.method_folders)[job.spec.method]
    return to_record(job, context, method, status, reason)


_events: Events | None = None


def _start_worker(events: Events) -> None:
    global _events
    _events = events
    events.cancel_join_thread()  # progress that nobody can read must not keep a worker alive
    # Ctrl-C reaches every process of the terminal; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _work(job: Job, context: Context) -> Record:
    assert _events is not None
    events = _events
    events.put((job.run_id, "starting", 0, 0, 0.0))
    return execute(job, context, lambda *event: events.put((job.run_id, *event)))


def _forward(events: Events, report: Report) -> None:
    while True:
        try:
            event = events.get()
        except (EOFError, OSError, queue.Empty):
            return
        if event is None:
            return
        report(*event)
