"""Timing: two pieces of work in turn, operations counted, and the hardware's matrix peak."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from unittest import mock

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmark import HUGE_PAGES

Work = Callable[[int], list[float]]
"""A piece of work: it takes a number of steps and returns their losses."""


@dataclass
class Timing:
    """Seconds a step, one value a round, and the losses of the steps."""

    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Median seconds a step."""
        return statistics.median(self.seconds)


class PlainProcess:
    """A process with torch's usual memory settings, in which a plain loop would run."""

    def __enter__(self) -> PlainProcess:
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        with mock.patch.dict(os.environ, {HUGE_PAGES: "0"}):
            self._pool.submit(os.getpid).result()  # starts the process
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown()

    def time(self, work: Work, steps: int) -> tuple[float, list[float]]:
        """`seconds_a_step` in that process; ``work`` must be picklable."""
        return self._pool.submit(seconds_a_step, work, steps).result()


def side_by_side(
    ours: Work,
    plain: Work,
    plainly: PlainProcess,
    our_steps: int = 3,
    plain_steps: int = 3,
    rounds: int = 3,
) -> tuple[Timing, Timing]:
    """Time ours here and the plain work in its process, in turn, after a warm-up of each."""
    timings = (Timing(), Timing())
    for turn in range(rounds + 1):
        measured = seconds_a_step(ours, our_steps), plainly.time(plain, plain_steps)
        for timing, (seconds, losses) in zip(timings, measured, strict=True):
            if turn:
                timing.seconds.append(seconds)
            timing.losses = losses
    return timings


def seconds_a_step(work: Work, steps: int) -> tuple[float, list[float]]:
    """Time ``steps`` steps as one piece."""
    started = time.perf_counter()
    losses = work(steps)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / steps, losses


def apart(timings: tuple[Timing, Timing]) -> float:
    """The largest relative difference of the losses of the first three steps.

    Later losses differ because training magnifies rounding.
    """
    pairs = zip(timings[0].losses[:3], timings[1].losses[:3], strict=False)
    return max(abs(a - b) / abs(b) for a, b in pairs)


def flops_of(work: Work) -> int:
    """Floating-point operations of one step as it is written, forward and backward."""
    counter = FlopCounterMode(display=False)
    with counter:
        work(1)
    return counter.get_total_flops()


def matrix_peak(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of the best of a few large matrix products."""
    size = 4096 if device.type == "cpu" else 16384
    # Random numbers, because some hardware is faster on constants.
    a = torch.randn(size, size, device=device).to(dtype)
    best = float("inf")
    for _ in range(4):
        seconds, _ = seconds_a_step(lambda steps: [float((a @ a)[0, 0])], 1)
        best = min(best, seconds)
    return 2 * size**3 / best
