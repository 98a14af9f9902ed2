"""Stopping a grid: asked once, runs stop where they can go on from; asked twice, at once.

A signal concerns the process, so what was asked is kept here and not in an object. This module
imports no torch.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

GRACE_SECONDS = 20
"""Batch systems kill half a minute after they asked; by then nobody must be waiting any more."""

USER = "stopped by the user"
LIMIT = "the time limit was reached"

_reason = ""
_patient = False


def requested() -> str:
    """Why runs should stop, or nothing."""
    return _reason


def request(reason: str) -> None:
    """Ask the runs of this process to stop at their next step."""
    global _reason
    _reason = _reason or reason


@contextmanager
def on_signals(deadline: float | None, patient: bool) -> Iterator[None]:
    """Within the block Ctrl-C, SIGTERM and the deadline stop what is done there.

    Args:
        deadline: on `time.monotonic`'s clock, which no change of the date moves.
        patient: the first signal only asks, as `requested` says; the second one, or
            `GRACE_SECONDS` without an answer to a machine's, raises KeyboardInterrupt. An
            impatient block is interrupted by the first.
    """

    global _patient
    _patient = patient

    def stop(number: int, frame: FrameType | None) -> None:
        if not _patient or requested():
            raise KeyboardInterrupt
        request(LIMIT if number == signal.SIGALRM else USER)
        if number != signal.SIGINT:
            signal.setitimer(signal.ITIMER_REAL, GRACE_SECONDS)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    previous = {number: signal.signal(number, stop) for number in numbers}
    if deadline is not None:
        signal.setitimer(signal.ITIMER_REAL, max(1e-3, deadline - time.monotonic()))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in previous.items():
            signal.signal(number, handler)
        forget()


@contextmanager
def patiently() -> Iterator[None]:
    """A block, within an impatient one, that asks `requested` itself and can go on later.

    Raises:
        KeyboardInterrupt: at its end, when it came to it although a stop was requested.
    """
    global _patient
    before, _patient = _patient, True
    try:
        yield
    finally:
        _patient = before
    if requested():
        raise KeyboardInterrupt


def forget() -> None:
    """Nobody has asked."""
    global _reason
    _reason = ""
