"""Runs on this machine: one after the other in this process, or several at once in others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import wait

import torch

from benchmark.errors import UserError
from benchmark.grid.executors.base import Claim, Executor, Report, Reporter, everything
from benchmark.grid.executors.threads import best_threads, runs_at_once
from benchmark.grid.executors.workers import NotStarted, Worker
from benchmark.machine import children, stopping
from benchmark.machine.device import available_memory
from benchmark.machine.process import spoilt
from benchmark.records.record import Record
from benchmark.runs.job import Context, Job
from benchmark.runs.trial import execute
from methods.base.run import Progress

POLL_SECONDS = 0.5

ATTEMPTS = 2
"""So often a run is given to another worker, before the fault is taken to be its own."""


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

    After a run that was out of memory, or left something in this process that cannot be changed
    back, the remaining runs are executed in another process.
    """

    def run(
        self, jobs: Sequence[Job], context: Context, report: Report, claim: Claim = everything
    ) -> Iterator[Record]:
        """See `Executor.run`."""

        def progress(job: Job) -> Progress:
            report(job.run_id, "starting", 0, 0, 0.0)
            return Reporter(job.run_id, lambda event: report(*event))

        for position, job in enumerate(jobs, start=1):
            if stopping.requested():
                raise KeyboardInterrupt
            if not claim(job):
                continue
            record = execute(job, context, progress(job))
            yield record
            if record.status == "interrupted":
                raise KeyboardInterrupt
            unfit = record.status == "out_of_memory" or spoilt()
            if unfit and position < len(jobs):
                torch.cuda.empty_cache()
                yield from Processes(1).run(jobs[position:], context, report, claim)
                return


class Processes:
    """Executes several runs at once, each in a process with the context's number of threads.

    A process takes the next run, unless its last run was out of memory, did not end, died or left
    something that cannot be changed back. A run that another program interrupts by ending its
    worker is done again by another worker, and so is one that never reached its worker.

    Args:
        count: the number of processes.
    """

    def __init__(self, count: int) -> None:
        self.count = count

    def run(
        self, jobs: Sequence[Job], context: Context, report: Report, claim: Claim = everything
    ) -> Iterator[Record]:
        """See `Executor.run`.

        Raises:
            UserError: when workers cannot be started, or die before they begin; those that have
                begun come to their end first.
        """
        if context.threads is None:
            share = max(1, torch.get_num_threads() // self.count)
            context = replace(context, threads=share)
        with children.adopting():
            yield from _Pool(self.count, context, report).all(jobs, claim)


class _Pool:
    """The workers of one grid, and which job each has.

    Args:
        count: the number of processes.
        context: where and how.
        report: called with the progress of the runs.
    """

    def __init__(self, count: int, context: Context, report: Report) -> None:
        self.count = count
        self.context = context
        self.report = report
        self.idle: list[Worker] = []
        self.busy: list[Worker] = []
        self.again: list[Job] = []
        """Jobs that are claimed, and wait for another worker."""
        self.attempts: Counter[str] = Counter()
        self.broken = ""
        """Why jobs cannot be delivered to any worker."""

    def all(self, jobs: Sequence[Job], claim: Claim) -> Iterator[Record]:
        waiting = list(reversed(jobs))
        told = interrupted = False
        try:
            while True:
                self._hand_out(waiting, claim)
                if not self.busy:
                    break
                if stopping.requested() and not told:
                    told = True
                    for worker in self.busy:
                        worker.ask_to_stop()
                ready = (thing for worker in self.busy for thing in worker.waited_for)
                wait(list(ready), POLL_SECONDS)
                for worker in list(self.busy):
                    record = self._read(worker)
                    if record is not None:
                        interrupted |= record.status == "interrupted"
                        yield record
        finally:
            for worker in self.idle + self.busy:
                worker.kill()
        if self.broken and not stopping.requested():
            raise UserError(
                f"no worker process could take a run ({self.broken}); give --jobs 1 to do all in "
                "one process"
            )
        if waiting or self.again or interrupted:
            raise KeyboardInterrupt

    def _hand_out(self, waiting: list[Job], claim: Claim) -> None:
        """Give jobs to workers, as long as there is room for more."""
        while (self.again or waiting) and len(self.busy) < self.count:
            if stopping.requested() or self.broken:
                return
            if self.again:
                job = self.again.pop()
            elif not claim(job := waiting.pop()):
                continue
            try:
                worker = self.idle.pop() if self.idle else Worker()
            except UserError:
                self.again.append(job)
                if not self.busy:
                    raise
                self.count = len(self.busy)  # the system has no room for more
                return
            worker.start(job, self.context)
            self.busy.append(worker)

    def _read(self, worker: Worker) -> Record | None:
        """The record of a worker's job if it has ended, and is not to be done again."""
        try:
            record = worker.read(self.report)
        except NotStarted as error:
            self._take_back(worker)
            if self.attempts[worker.job.run_id] > ATTEMPTS:
                self.broken = str(error)
            return None
        if record is None:
            return None
        if record.status == "interrupted" and not (reason := stopping.requested()):
            # Somebody else told this worker to end, such as a guard of the machine's memory.
            self._take_back(worker)
            if self.attempts[worker.job.run_id] <= ATTEMPTS:
                return None
            self.again.pop()
            why = f"its process was told to end {ATTEMPTS + 1} times, by nobody of this command"
            return record.model_copy(update={"status": "error", "reason": why, "curves": {}})
        self.busy.remove(worker)
        if record.status == "out_of_memory" or not worker.reusable:
            worker.kill()
        else:
            self.idle.append(worker)
        if record.status == "interrupted":
            # The worker was sent a signal and does not know the reason.
            return record.model_copy(update={"reason": reason})
        return record

    def _take_back(self, worker: Worker) -> None:
        """Do the worker's job again with another one."""
        self.busy.remove(worker)
        worker.kill()
        self.again.append(worker.job)
        self.attempts[worker.job.run_id] += 1
