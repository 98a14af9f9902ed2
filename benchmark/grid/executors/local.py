"""This machine: in this process, or in several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

import torch

from benchmark.errors import UserError
from benchmark.grid.executors.base import Claim, Executor, Report, everything
from benchmark.grid.executors.threads import best_threads, runs_at_once
from benchmark.grid.executors.workers import Worker
from benchmark.machine import stopping
from benchmark.machine.device import available_cores, available_memory, pick_device
from benchmark.records.record import Record
from benchmark.runs.job import Context, Job
from benchmark.runs.trial import execute
from methods.base.run import Progress

if TYPE_CHECKING:
    from benchmark.grid.request import Request

POLL_SECONDS = 0.5


def check(request: Request) -> None:
    """Fail before hours of work, not after.

    Raises:
        UserError: when ``--jobs`` is not a number, or options contradict each other.
    """
    for option in ("ray_address", "gpus_per_run", "retries"):
        if getattr(request, option) is not None:
            name = option.replace("_", "-")
            raise UserError(f"--{name} has no effect without --executor ray; leave it out")
    if request.jobs != "auto" and not (request.jobs.isdecimal() and int(request.jobs)):
        raise UserError(f"--jobs is '{request.jobs}'; give a number of processes, or auto")
    _check_cores(request)


def _check_cores(request: Request) -> None:
    """On a CPU, more threads than cores only wait for one another; beside a GPU they may."""
    cores, threads = available_cores(), request.threads or 1
    jobs = 1 if request.jobs == "auto" else int(request.jobs)
    if pick_device(request.device).type != "cpu" or jobs * threads <= cores:
        return
    if threads > cores:
        raise UserError(f"--threads is {threads}, and this machine has {cores} cores")
    times = f" with --threads {threads} each" if threads > 1 else ""
    raise UserError(
        f"--jobs {jobs}{times} is more than the {cores} cores of this machine; "
        f"give --jobs {cores // threads}, or leave it at auto"
    )


def _alone(request: Request) -> bool:
    """Whether ``--jobs auto`` means this process: two share a GPU badly, a core not at all."""
    on_gpu = pick_device(request.device).type != "cpu"
    return on_gpu or torch.get_num_threads() == 1


def chosen(request: Request, context: Context, runs: int) -> tuple[Executor, Context]:
    """One process or several, and the threads of each.

    Processes times threads never exceed the cores, beside a GPU excepted.

    Raises:
        UserError: see `check`.
    """
    check(request)
    cores = torch.get_num_threads()
    if request.jobs == "auto":
        memory = available_memory()
        jobs = 1 if _alone(request) else runs_at_once(runs, cores, memory, request.threads or 1)
    else:
        jobs = int(request.jobs)
    threads = request.threads or best_threads(max(1, cores // jobs), context.cache)
    context = replace(context, threads=threads)
    # A run that hangs can only be ended with its process.
    in_process = jobs == 1 and context.run_timeout is None
    return (InProcess() if in_process else Processes(jobs)), context


class InProcess:
    """One run after the other in this process.

    When one has run out of memory, those after it get a process of their own.
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
    """Several runs at once, each in a process with the context's number of threads.

    A process goes on to the next run unless the last one ran out of memory, hung or died.

    Args:
        count: number of processes.
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
                            # The worker was sent a signal, and knows no more.
                            reason = stopping.requested() or record.reason
                            record = record.model_copy(update={"reason": reason})
                        yield record
        finally:
            for worker in idle + busy:
                worker.kill()
        if waiting or interrupted:
            raise KeyboardInterrupt
