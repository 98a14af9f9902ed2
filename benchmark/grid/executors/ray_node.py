"""The work of a node in a Ray cluster: one run at a time, its progress reported to the driver."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from typing import Any

import torch

from benchmark.machine.cache import cache_dir
from benchmark.machine.checkpoints import forget
from benchmark.machine.device import pick_precision
from benchmark.records.record import Record
from benchmark.runs.job import Context, HandedData, Job
from benchmark.runs.trial import execute

EVENT_SECONDS = 1.0
"""The least time between two progress reports of a run, which travel to the driver."""

OVERDUE = "overdue"
"""The "phase" that a run reports when it has exceeded its time limit; the driver ends it."""


@dataclass(frozen=True)
class Parcel:
    """A job as it travels; large values are references into the object store."""

    job: Job
    context: Context
    gpu: bool
    teacher: Any
    data: Any
    proxy: Any
    metadata: Any


class Board:
    """The progress reports of all runs; an actor on the driver's node."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, int, int, float]] = []

    def put(self, event: tuple[str, str, int, int, float]) -> None:
        """Add a report."""
        self.events.append(event)

    def take(self) -> list[tuple[str, str, int, int, float]]:
        """The reports since the last call."""
        events, self.events = self.events, []
        return events


def work(parcels: list[Parcel], board: Any) -> Record:
    """Execute a job on a node.

    The parcel travels in a list, so that Ray does not fetch references that the node has already.
    """
    (parcel,) = parcels
    job = replace(parcel.job, teacher=replace(parcel.job.teacher, weights=fetch(parcel.teacher)))
    handed = HandedData(
        fetch(parcel.data),
        parcel.proxy and fetch(parcel.proxy),
        parcel.metadata and fetch(parcel.metadata),
    )
    cache, context = cache_dir(), replace(parcel.context, handed=handed)
    # A node need not have what the command's machine has.
    device = torch.device("cuda" if parcel.gpu else "cpu")
    if parcel.gpu or context.device != device.type:
        context = replace(context, device=device.type, precision=pick_precision(device))
    context = replace(context, cache=cache, teacher_folders=(cache / "teachers",))
    reporter = _Reporter(job.run_id, board)
    # Only the worker knows when the run began: Ray may have moved it to another node.
    alarm = threading.Timer(context.run_timeout or 0.0, reporter, (OVERDUE, 0, 0, 0.0))
    alarm.daemon = True
    if context.run_timeout is not None:
        alarm.start()
    record = execute(job, context, reporter)
    alarm.cancel()
    forget(cache, job.run_id)
    return record


class _Reporter:
    """Reports now and then to the board how far a run is."""

    def __init__(self, run_id: str, board: Any) -> None:
        self._run_id = run_id
        self._board = board
        self._phase = ""
        self._reported = 0.0
        self("starting", 0, 0, 0.0)

    def __call__(self, phase: str, step: int, total: int, loss: float) -> None:
        now = time.monotonic()
        if phase != self._phase or now - self._reported >= EVENT_SECONDS:
            self._phase, self._reported = phase, now
            self._board.put.remote((self._run_id, phase, step, total, loss))


_fetched: dict[str, Any] = {}


def fetch(reference: Any) -> Any:
    """The value of a reference, fetched once per process."""
    import ray

    name = reference.hex()
    if name not in _fetched:
        _fetched[name] = ray.get(reference)
    return _fetched[name]
