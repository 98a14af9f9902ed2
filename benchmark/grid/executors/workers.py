"""Processes that execute jobs, each with a pipe of its own, so that none can harm another."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

from benchmark.grid.executors import forks
from benchmark.grid.executors.base import Report, unfinished
from benchmark.machine import stopping
from benchmark.records.record import Record
from benchmark.runs.job import Context, Job
from benchmark.runs.trial import execute
from methods.base.errors import described_with_place

Event = tuple[str, str, int, int, float]


class Worker:
    """A process that executes one job at a time. It ignores Ctrl-C: its parent decides."""

    job: Job
    context: Context
    _started: float

    def __init__(self) -> None:
        forks.get_ready()
        start = forks.context()
        self.connection, theirs = start.Pipe()
        # The process it is forked from may have started before a change of the environment.
        self._process = start.Process(target=_serve, args=(theirs, dict(os.environ)))
        self._process.start()
        theirs.close()

    def start(self, job: Job, context: Context) -> None:
        """Give it a job; `read` sends it when the worker is ready: weights do not fit a pipe."""
        self.job, self.context, self._started = job, context, math.inf

    def read(self, report: Report) -> Record | None:
        """Pass on its progress reports, and return its record if there is one now."""
        try:
            while self.connection.poll():
                message: Event | Record | None = self.connection.recv()
                if message is None:
                    self.connection.send((self.job, self.context))
                    continue
                if isinstance(message, Record):
                    return message
                if message[1] == "starting":
                    self._started = time.monotonic()
                report(*message)
        except (EOFError, OSError):
            return self._died()
        except Exception as error:  # what it sent cannot be unpickled
            self.kill()
            return unfinished(self.job, self.context, "error", described_with_place(error))
        limit = self.context.run_timeout
        if limit is not None and time.monotonic() - self._started > limit:
            self.kill()
            reason = f"not finished within {limit:g} s (--run-timeout)"
            return unfinished(self.job, self.context, "timeout", reason)
        return None

    def _died(self) -> Record:
        self.kill()
        if reason := stopping.requested():
            return unfinished(self.job, self.context, "interrupted", reason)
        reason = "the worker process died (killed, or out of memory)"
        return unfinished(self.job, self.context, "error", reason)

    @property
    def alive(self) -> bool:
        """Whether it can take another job."""
        return self._process.is_alive()

    def ask_to_stop(self) -> None:
        """Ask its run to stop at the next step from which it can go on."""
        self._process.terminate()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.join()
        self.connection.close()


def _serve(connection: Connection, environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: stopping.request(stopping.USER))

    def send(message: Event | Record | None) -> None:
        try:
            connection.send(message)
        except OSError:
            os._exit(1)  # the parent is gone, so nobody would write the record

    while True:
        send(None)  # ready
        try:
            job, context = connection.recv()
        except (EOFError, OSError):
            return
        send((job.run_id, "starting", 0, 0, 0.0))
        send(execute(job, context, _Progress(job.run_id, send)))


class _Progress:
    """Sends the progress of a run to the parent."""

    def __init__(self, run_id: str, send: Callable[[Event], None]) -> None:
        self._run_id = run_id
        self._send = send

    def __call__(self, phase: str, step: int, total: int, loss: float) -> None:
        self._send((self._run_id, phase, step, total, loss))
