"""This machine: in this process, or in several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

import torch

from benchmark.errors import UserError
from benchmark.grid.executors.base import Claim, Executor, Report, everything
from benchmark.grid.executors.seeds import execute_together, groups
from benchmark.grid.executors.threads import best_threads, runs_at_once
from benchmark.grid.executors.workers import Worker
from benchmark.machine import stopping
from benchmark.machine.device import available_cores, available_memory, pick_device
from benchmark.records.record import Record
from benchmark.runs.job import Context, Job, RunProgress
from benchmark.runs.trial import execute
from methods.base.registry import discover

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
    if request.jobs not in ("auto", "1") and request.seeds_at_once > 1:
        raise UserError("--seeds-at-once trains seeds in one process; leave --jobs at auto or 1")
    if request.run_timeout and request.seeds_at_once > 1:
        raise UserError("--run-timeout is of single runs; leave --seeds-at-once at 1")
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
    return on_gpu or request.seeds_at_once > 1 or torch.get_num_threads() == 1


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
    return (InProcess(request.seeds_at_once) if in_process else Processes(jobs)), context


class InProcess:
    """One run after the other in this process, or a few seeds of one specification together.

    When one has run out of memory, those after it get a process of their own.

    Args:
        seeds_at_once: how many seeds are trained as one batched program, where the method lets.
    """

    def __init__(self, seeds_at_once: int = 1) -> None:
        self.seeds_at_once = seeds_at_once

    def run(
        self, jobs: Sequence[Job], context: Context, report: Report, claim: Claim = everything
    ) -> Iterator[Record]:
        """See `Executor.run`."""

        def progress(job: Job) -> RunProgress:
            report(job.run_id, "starting", 0, 0, 0.0)
            return lambda *event: report(job.run_id, *event)

        parts = self._parts(jobs, context)
        while parts:
            if stopping.requested():
                raise KeyboardInterrupt
            part = [job for job in parts.pop(0) if claim(job)]
            if len(part) > 1:
                records = execute_together(part, context, progress)
            else:
                records = [execute(job, context, progress(job)) for job in part]
            yield from records
            if any(record.status == "interrupted" for record in records):
                raise KeyboardInterrupt
            if any(record.status == "out_of_memory" for record in records) and parts:
                torch.cuda.empty_cache()
                left = [job for part in parts for job in part]
                yield from Processes(1).run(left, context, report, claim)
                return

    def _parts(self, jobs: Sequence[Job], context: Context) -> list[list[Job]]:
        """The jobs, with those together that are executed together."""
        if self.seeds_at_once == 1:
            return [[job] for job in jobs]
        return [
            group[start : start + self.seeds_at_once]
            for group in groups(jobs, discover(context.method_folders))
            for start in range(0, len(group), self.seeds_at_once)
        ]


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
