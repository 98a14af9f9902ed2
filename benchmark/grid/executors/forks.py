"""The process that workers are forked from. Importable without torch.

It imports torch and what else a worker needs while the command itself does: a worker is there in
a tenth of a second then, not after the two or three that the import takes on busy cores.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, SpawnContext

CAN_FORK = "forkserver" in multiprocessing.get_all_start_methods()


def get_ready() -> None:
    """Start it, if it does not run yet; it goes when this process does."""
    if CAN_FORK:
        context().set_forkserver_preload(["benchmark.grid.executors.workers", "benchmark.cli"])
        forkserver.ensure_running()


def context() -> ForkServerContext | SpawnContext:
    """What workers are started with; where none can be forked, each imports anew."""
    if CAN_FORK:
        return multiprocessing.get_context("forkserver")
    return multiprocessing.get_context("spawn")
