"""The processes that this one started, directly or not, and their end."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from pathlib import Path

PROC = Path("/proc")
PR_SET_CHILD_SUBREAPER = 36
PATIENCE_SECONDS = 2.0
"""So long it may take until killed processes are gone; one that waits for a disk takes longer."""


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, so that none can hide.

    Elsewhere than on Linux nothing happens.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants(of: int) -> set[int]:
    """The ids of all processes below one; empty where the system has no ``/proc``."""
    children: dict[int, list[int]] = {}
    for stat in PROC.glob("[0-9]*/stat"):
        try:
            # The name of a program stands in parentheses, and may hold some itself.
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
        except (OSError, ValueError, IndexError):
            continue  # it has ended meanwhile
    found: set[int] = set()
    waiting = [of]
    while waiting:
        new = set(children.get(waiting.pop(), [])) - found
        found |= new
        waiting.extend(new)
    return found


def own() -> set[int]:
    """The processes below this one, but for the helpers of Python's multiprocessing and theirs."""
    found = descendants(os.getpid())
    for helper in (
        getattr(getattr(forkserver, "_forkserver", None), "_forkserver_pid", None),
        getattr(getattr(resource_tracker, "_resource_tracker", None), "_pid", None),
    ):
        if helper in found:
            found -= {helper} | descendants(helper)
    return found


_started: set[int] = set()
"""The children of this process that it started itself, as far as it was told."""


@contextmanager
def adopting() -> Iterator[None]:
    """Within the block, what `adopted` says are the processes that others left to this one."""
    adopt_orphans()
    before = own()
    _started.update(before)
    try:
        yield
    finally:
        end(adopted())
        _started.difference_update(before)


def adopted() -> set[int]:
    """The processes below this one that it did not start: their parents have ended.

    Workers are forked from a helper of multiprocessing, and are not among them.
    """
    return own() - _started


def end(processes: Iterable[int]) -> None:
    """Kill processes, and wait until those that are children of this one are gone."""
    left = set(processes)
    for process in left:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while left and time.monotonic() < deadline:
        left -= {process for process in left if _is_gone(process)}
        time.sleep(0.005 if left else 0)


def _is_gone(process: int) -> bool:
    try:
        return os.waitpid(process, os.WNOHANG)[0] == process
    except ChildProcessError:  # it is, or was, another one's child
        return not (PROC / str(process)).exists()


@contextmanager
def children_as_before() -> Iterator[None]:
    """End the processes that were started within the block and are still there at its end."""
    adopt_orphans()
    before = own()
    try:
        yield
    finally:
        if started := own() - before:
            end(started)
