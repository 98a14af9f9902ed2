"""Processes that execute jobs, each with a pipe of its own, so that none can harm another.

Everything travels as bytes. Torch would send every tensor through shared memory, with a file
descriptor each, and containers and batch systems have little of both.
"""

from __future__ import annotations

import math
import os
import pickle
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from benchmark.errors import UserError
from benchmark.grid.executors import forks
from benchmark.grid.executors.base import Event, Report, Reporter, unfinished
from benchmark.machine import children, stopping
from benchmark.machine.process import spoilt
from benchmark.records.record import Record
from benchmark.runs.failures import account
from benchmark.runs.job import Context, Job
from benchmark.runs.trial import execute


@dataclass(frozen=True)
class Refusal:
    """The answer of a worker that cannot read its job, which was therefore not run."""

    reason: str


@dataclass(frozen=True)
class Ended:
    """The end of a job: its record, or why there is none, and whether the worker can go on."""

    record: Record | None
    reason: str = ""
    spoilt: bool = False


class NotStarted(Exception):
    """A worker ended, or could not read its job, before it began to run it; the message says why.

    The job was not run: there is nothing to record.
    """


class Worker:
    """A process that executes one job at a time. It ignores Ctrl-C: its parent decides.

    Raises:
        UserError: when the system has no room for it.
    """

    job: Job
    context: Context
    _started: float

    def __init__(self) -> None:
        try:
            forks.get_ready()
            start = forks.context()
            self.connection, theirs = start.Pipe()
            # The process it is forked from may have started before a change of the environment.
            self._process = start.Process(target=_serve, args=(theirs, dict(os.environ)))
            with forks.own_path():
                self._process.start()
        except (OSError, EOFError) as error:
            raise UserError(
                f"a worker process cannot be started ({account(error)}); give --jobs 1, or raise "
                "the limits of this session (ulimit -a shows them)"
            ) from None
        theirs.close()
        self._began = self._spoilt = False

    def start(self, job: Job, context: Context) -> None:
        """Give it a job; `read` sends it when the worker is ready: weights do not fit a pipe."""
        self.job, self.context, self._started, self._began = job, context, math.inf, False

    @property
    def waited_for(self) -> tuple[Any, ...]:
        """What becomes ready when there is something to `read`.

        A process that was forked from the worker may keep the connection open after its end.
        """
        return self.connection, self._process.sentinel

    def read(self, report: Report) -> Record | None:
        """Pass on its progress reports, and return its record if there is one now.

        Raises:
            NotStarted: when the job will not be run by this worker, and was not.
        """
        dead = not self.alive
        if dead:  # what it forked might keep half a message open for ever
            self._end_children()
        try:
            while self.connection.poll():
                message: Event | Ended | Refusal | None = pickle.loads(self.connection.recv_bytes())
                if message is None:
                    self.connection.send_bytes(pickle.dumps((self.job, self.context)))
                elif isinstance(message, Refusal):
                    raise NotStarted(message.reason)
                elif isinstance(message, Ended):
                    return self._ended(message)
                else:
                    if message[1] == "starting":
                        self._started, self._began = time.monotonic(), True
                    report(*message)
        except (EOFError, OSError):
            return self._died()
        if dead:
            return self._died()
        limit = self.context.run_timeout
        if limit is not None and time.monotonic() - self._started > limit:
            self.kill()
            reason = f"not finished within {limit:g} s (--run-timeout)"
            return unfinished(self.job, self.context, "timeout", reason)
        return None

    def _ended(self, message: Ended) -> Record:
        self._spoilt = message.spoilt
        if message.record is not None:
            return message.record
        return unfinished(self.job, self.context, "error", message.reason)

    def _died(self) -> Record:
        self.kill()
        if self._began and (reason := stopping.requested()):
            return unfinished(self.job, self.context, "interrupted", reason)
        how = f"the worker process died ({_manner(self._process.exitcode)})"
        if not self._began:
            raise NotStarted(how)
        return unfinished(self.job, self.context, "error", how)

    @property
    def alive(self) -> bool:
        """Whether it is still there."""
        return self._process.is_alive()

    @property
    def reusable(self) -> bool:
        """Whether it can take another job."""
        return self.alive and not self._spoilt

    def ask_to_stop(self) -> None:
        """Ask its run to stop at the next step from which it can go on."""
        self._process.terminate()

    def kill(self) -> None:
        """End it at once, and all that it started."""
        below = self._below()
        self._process.kill()
        self._process.join()
        children.end(below)
        self._end_children()
        self.connection.close()

    def _below(self) -> set[int]:
        return children.descendants(self._process.pid) if self._process.pid else set()

    def _end_children(self) -> None:
        """End what the process left when it ended, which then belongs to this process."""
        children.end(children.adopted())


def _manner(code: int | None) -> str:
    """How a process ended, by its exit code."""
    if code is None or code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return "killed, or out of memory" if -code == signal.SIGKILL else name


def _serve(connection: Connection, environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: stopping.request(stopping.USER))
    stopping.requests_only()
    children.adopt_orphans()

    def send(message: Event | Ended | Refusal | None) -> None:
        parcel = pickle.dumps(message)
        try:
            connection.send_bytes(parcel)
        except OSError:  # the parent is gone, so nobody would write the record
            children.end(children.own())
            os._exit(1)

    while True:
        send(None)  # ready
        try:
            parcel = connection.recv_bytes()
        except (EOFError, OSError):
            return
        try:
            job, context = pickle.loads(parcel)
        except BaseException as error:
            send(Refusal(account(error)))
            continue
        send((job.run_id, "starting", 0, 0, 0.0))
        ended = _run(job, context, send)
        send(ended)
        if ended.spoilt:
            os._exit(0)  # threads that were left behind would not let it end


def _run(job: Job, context: Context, send: Callable[[Event], None]) -> Ended:
    try:
        record = execute(job, context, Reporter(job.run_id, send))
        return Ended(record, spoilt=bool(spoilt()))
    except BaseException as error:
        return Ended(None, account(error), spoilt=True)
