"""The number of threads of a run: measured once per machine, never more than there are cores.

The number of threads decides the order of sums, and so the last bits of a result. The choice is
therefore kept in the cache, so that it stays the same on a machine.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from benchmark.machine.device import environment, pick_precision
from benchmark.records.files import write_atomic
from benchmark.tasks.models.lenet import lenet5_half
from methods.losses.predictions import kd_loss
from methods.networks.generators import UpsamplingGenerator

GIB = 1 << 30
MEMORY_A_RUN = 6 * GIB
"""More than any run at the budget `cpu` has held: 5.6 GiB, by `metadata` on photographs."""

WORTH = 0.9
"""More threads are used if the time falls to this share of the time with fewer threads."""


def runs_at_once(runs: int, cores: int, memory: int, threads: int = 1) -> int:
    """How many processes for ``runs`` runs on the CPU: as many as cores and memory allow.

    One thread each is the best use of the cores, because small networks do not fill several. If
    more threads are asked for, there are fewer processes.

    Args:
        runs: how many runs there are.
        cores: how many cores may be used.
        memory: bytes of memory that may be used.
        threads: threads of each run.
    """
    return max(1, min(runs, cores // threads, memory // MEMORY_A_RUN))


def best_threads(limit: int, cache: Path, measure: Callable[[int], float] | None = None) -> int:
    """Threads for one run, at most ``limit``; measured the first time and kept.

    Args:
        limit: how many threads there are.
        cache: the folder in which the choice is kept.
        measure: seconds of a representative piece of work with a number of threads.
    """
    if limit <= 1:
        return 1
    path = cache / "threads.json"
    machine = environment(torch.device("cpu"), pick_precision(torch.device("cpu")))
    key = f"{machine.processor}, torch {machine.torch}, {os.cpu_count()} cores, at most {limit}"
    known = _read(path)
    if key not in known:
        known[key] = _fewest_that_do(limit, measure or seconds_of_work)
        write_atomic(path, json.dumps(known, indent=1, sort_keys=True).encode())
    return known[key]


def _read(path: Path) -> dict[str, int]:
    try:
        known = json.loads(path.read_bytes())
        return {str(key): int(value) for key, value in known.items()}
    except (OSError, ValueError, AttributeError):
        return {}  # measured again


def _fewest_that_do(limit: int, measure: Callable[[int], float]) -> int:
    best, seconds = 1, measure(1)
    for count in [2**i for i in range(1, limit.bit_length()) if 2**i < limit] + [limit]:
        took = measure(count)
        if took < WORTH * seconds:
            best, seconds = count, took
    return best


def seconds_of_work(threads: int) -> float:
    """Seconds of one generator step and ten student steps, as in the `cpu` budget of MNIST."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            work = _work()
            work()
            started = time.perf_counter()
            work()
            return time.perf_counter() - started
    finally:
        torch.set_num_threads(before)


def _work() -> Callable[[], None]:
    generator, student = UpsamplingGenerator(100, (1, 32, 32)), lenet5_half()
    bf16 = pick_precision(torch.device("cpu")) == "bf16"

    def step(loss: Callable[[], Tensor]) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            value = loss()
        value.backward()

    def work() -> None:
        latents, images = torch.randn(128, 100), torch.randn(256, 1, 32, 32)
        step(lambda: generator(latents).float().square().mean())
        for _ in range(10):
            step(lambda: kd_loss(student(images).float(), torch.zeros(256, 10), 4.0))

    return work
