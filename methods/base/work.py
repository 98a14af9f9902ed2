"""The work of a run: floating-point operations as written, which no machine makes faster.

Counting slows every operation down. In a loop only some steps are counted, and each stands for the
steps around it; the result is exact if all steps of the loop do the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from torch.utils._python_dispatch import _get_current_dispatch_mode

from methods.acceleration.operations import OperationCounter
from methods.base.ledger import Ledger

SAMPLES = 64
"""How many steps of a loop are counted, at most."""

NOT_COUNTED = "evaluation"
"""The phase that is the harness's and not the method's."""


class Meter:
    """Adds the work of every phase of a run to its ledger.

    Args:
        ledger: where the work is added.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._counter = OperationCounter()
        self._phase = ""
        self._weight = 1
        self._step = object()
        self._on = False

    @contextmanager
    def of(self, phase: str) -> Iterator[None]:
        """Count the work of the block under ``phase``, but for that of phases inside it."""
        outer, weight, around = self._phase, self._weight, self._step
        self._switch(phase, weight)
        try:
            yield
        finally:
            # A loop that an exception left has not taken its own weight back.
            self._step = around
            self._switch(outer, weight)

    @contextmanager
    def step(self, loop: str, step: int, total: int) -> Iterator[None]:
        """Count the work of one step of a loop as often as it stands for others, or not at all."""
        phase, outer, around = self._phase, self._weight, self._step
        self._step = mine = object()
        self._switch(phase, outer * _weight(loop, step, total))
        try:
            yield
        finally:
            if self._step is mine:  # else the loop was left long before it is closed
                self._step = around
                self._switch(phase, outer)

    def read(self) -> None:
        """Write what was counted so far into the ledger."""
        operations, self._counter.operations = self._counter.operations, 0
        if operations:
            work = self._ledger.work
            work[self._phase] = work.get(self._phase, 0.0) + float(operations * self._weight)

    def _switch(self, phase: str, weight: int) -> None:
        self.read()
        self._phase, self._weight = phase, weight
        wanted = bool(phase) and phase != NOT_COUNTED and weight > 0
        if wanted and not self._on:
            self._counter.__enter__()
            self._on = True
        elif self._on and not wanted and _get_current_dispatch_mode() is self._counter:
            self._counter.__exit__(None, None, None)
            self._on = False


def _weight(loop: str, step: int, total: int) -> int:
    """For how many steps of a loop step ``step`` stands; 0 if it is not counted.

    Every stretch of the loop has one step that is counted, at a place that follows no rhythm: a
    loop may do something at every second or tenth of its steps.
    """
    stretches = min(SAMPLES, total)
    stretch = step * stretches // total
    first = -(-stretch * total // stretches)
    length = -(-(stretch + 1) * total // stretches) - first
    place = hashlib.sha256(f"{loop}/{stretch}".encode()).digest()
    counted = first + int.from_bytes(place[:8], "big") % length
    return length if step == counted else 0
