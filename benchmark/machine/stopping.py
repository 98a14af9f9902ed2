"""Stopping a grid: after one request, runs stop where they can go on; after two, at once.

Signals concern the whole process, so a request is kept in this module and not in an object that
would have to reach every loop. This module imports no torch.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

GRACE_SECONDS = 20
"""Batch systems kill a process half a minute after SIGTERM; a grid must have ended by then."""

CLOCK_SECONDS = 0.1
"""So much earlier than due by its own clock an alarm may ring."""

USER = "stopped by the user"
LIMIT = "the time limit was reached"

_reason = ""
_patient = False
_watching = False
_requests_only = False
_due: float | None = None
"""When the next alarm is due, by `time.monotonic`'s clock."""


def requested() -> str:
    """The reason why runs should stop, or an empty text."""
    return _reason


def request(reason: str) -> None:
    """Ask the runs of this process to stop at their next step."""
    global _reason
    _reason = _reason or reason


def asked() -> bool:
    """Whether a KeyboardInterrupt that was just caught is somebody's wish, or raised by a method.

    The handlers of `on_signals` and of workers leave a request before they raise it. Elsewhere
    nobody can tell, and it counts as a wish.
    """
    return bool(_reason) or not (_watching or _requests_only)


def requests_only() -> None:
    """Say that every stop of this process is a request, as in a worker that Ctrl-C leaves alone."""
    global _requests_only
    _requests_only = True


@contextmanager
def on_signals(deadline: float | None, patient: bool) -> Iterator[None]:
    """Stop what is done within the block at Ctrl-C, SIGTERM and the deadline.

    Args:
        deadline: a time of `time.monotonic`'s clock, which no change of the date moves; or None.
        patient: whether the first signal is only a request, which `requested` tells. The second
            signal then raises KeyboardInterrupt, and so do `GRACE_SECONDS` after SIGTERM or the
            deadline. Without patience the first signal raises it.
    """

    global _patient, _watching, _due
    _patient, _due = patient, deadline

    def stop(number: int, frame: FrameType | None) -> None:
        global _due
        if number == signal.SIGALRM:
            if _due is None or time.monotonic() < _due - CLOCK_SECONDS:
                set_alarm()  # a method's own alarm; it has no handler for it
                return
            _due = None
        at_once = not _patient or bool(requested())
        request(LIMIT if number == signal.SIGALRM else USER)
        if at_once:
            raise KeyboardInterrupt
        if number != signal.SIGINT:
            _due = time.monotonic() + GRACE_SECONDS
            set_alarm()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    previous = {number: signal.signal(number, stop) for number in numbers}
    _watching = True
    set_alarm()
    try:
        yield
    finally:
        _watching = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in previous.items():
            signal.signal(number, handler)
        forget()


def set_alarm() -> bool:
    """Set the timer to the deadline, or to the end of the grace, also if a method took it away.

    Returns:
        Whether the process is within `on_signals`; elsewhere the timer is left alone.
    """
    if _watching:
        left = 0.0 if _due is None else max(1e-3, _due - time.monotonic())
        signal.setitimer(signal.ITIMER_REAL, left)
    return _watching


@contextmanager
def patiently() -> Iterator[None]:
    """Be patient within the block, which is part of an impatient one and asks `requested` itself.

    Raises:
        KeyboardInterrupt: at the end of the block, when a stop was requested.
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
    """Forget the request."""
    global _reason
    _reason = ""
