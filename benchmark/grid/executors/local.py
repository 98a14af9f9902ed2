"""Runs on this machine: one after the other in this process, or several at once in others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import wait

import torch

from benchmark.grid.executors.base import Claim, Executor, Report, everything
from benchmark.grid.executors.threads import best_threads, runs_at_once
from benchmark.grid.executors.workers import Worker
from benchmark.machine import stopping
from benchmark.machine.device import available_memory
from benchmark.records.record import Record
from benchmark.runs.job import Context, Job
from benchmark.runs.trial import execute
from methods.base.run import Progress

POLL_SECONDS = 0.5


def on_this_machine(
    runs: int, jobs: int | None, threads: int | None, context: Context
) -> tuple[Executor, Context]:
    """One process or several for so many runs, and the context with the threads of each.

    Except with a GPU, processes times threads never exceed the cores.

    Args:
        runs: how many runs there are.
        jobs: runs at the same time; None for as many as cores and memory allow, which is one on a
            GPU, because two runs share a GPU badly.
        threads: threads of a run; None for what was measured to be best on this machine.
        context: where and how the runs are executed.
    """
    cores = torch.get_num_threads()
    if jobs is None and (context.device != "cpu" or cores == 1):
        jobs = 1
    elif jobs is None:
        jobs = runs_at_once(runs, cores, available_memory(), threads or 1)
    threads = threads or best_threads(max(1, cores // jobs), context.cache)
    context = replace(context, threads=threads)
    # A run that hangs can only be ended with its process.
    in_process = jobs == 1 and context.run_timeout is None
    return (InProcess() if in_process else Processes(jobs)), context


class InProcess:
    """Executes one run after the other in this process.

    After a run that was out of memory, the remaining runs are executed in another process.
    """

    def run(
        self, jobs: Sequence[Job], context: Context, report: Report, claim: Claim = everything
    ) -> Iterator[Record]:
        """See `Executor.run`."""

        def progress(job: Job) -> Progress:
            report(job.run_id, "starting", 0, 0, 0.0)
            return lambda *event: report(job.run_id, *event)

        for position, job in enumerate(jobs, start=1):
            if stopping.requested():
                raise KeyboardInterrupt
            if not claim(job):
                continue
            record = execute(job, context, progress(job))
            yield record
            if record.status == "interrupted":
                raise KeyboardInterrupt
            if record.status == "out_of_memory" and position < len(jobs):
                torch.cuda.empty_cache()
                yield from Processes(1).run(jobs[position:], context, report, claim)
                return


class Processes:
    """Executes several runs at once, each in a process with the context's number of threads.

    A process takes the next run, unless its last run was out of memory, did not end or died.

    Args:
        count: the number of processes.
    """

    def __init__(self, count: int) -> None:
        self.count = count

    def run(
        self, jobs: Sequence[Job], context: Context, report: Report, claim: Claim = everything
    ) -> Iterator[Record]:
        """See `Executor.run`."""
        if context.threads is None:
            share = max(1, torch.get_num_threads() // self.count)
            context = replace(context, threads=share)
        waiting = list(reversed(jobs))
        idle: list[Worker] = []
        busy: list[Worker] = []
        told = interrupted = False
        try:
            while True:
                while waiting and len(busy) < self.count and not stopping.requested():
                    job = waiting.pop()
                    if claim(job):
                        busy.append(idle.pop() if idle else Worker())
                        busy[-1].start(job, context)
                if not busy:
                    break
                if stopping.requested() and not told:
                    told = True
                    for worker in busy:
                        worker.ask_to_stop()
                wait([worker.connection for worker in busy], POLL_SECONDS)
                for worker in list(busy):
                    record = worker.read(report)
                    if record is not None:
                        busy.remove(worker)
                        if record.status == "out_of_memory":
                            worker.kill()
                        if worker.alive:
                            idle.append(worker)
                        if record.status == "interrupted":
                            interrupted = True
                            # The worker was sent a signal and does not know the reason.
                            reason = stopping.requested() or record.reason
                            record = record.model_copy(update={"reason": reason})
                        yield record
        finally:
            for worker in idle + busy:
                worker.kill()
        if waiting or interrupted:
            raise KeyboardInterrupt
