"""The process that workers are forked from. This module imports no torch.

That process imports torch, and all else a worker needs, while the command itself does the same. A
worker then starts without waiting for the imports.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, SpawnContext

CAN_FORK = "forkserver" in multiprocessing.get_all_start_methods()


def get_ready() -> None:
    """Start the process, if it does not run yet; it ends with this process."""
    if CAN_FORK:
        context().set_forkserver_preload(["benchmark.grid.executors.workers", "benchmark.cli"])
        forkserver.ensure_running()


def context() -> ForkServerContext | SpawnContext:
    """What workers are started with; where they cannot be forked, each imports everything anew."""
    if CAN_FORK:
        return multiprocessing.get_context("forkserver")
    return multiprocessing.get_context("spawn")
