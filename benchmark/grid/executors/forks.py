"""The process that workers are forked from. This module imports no torch.

That process imports torch, and all else a worker needs, while the command itself does the same. A
worker then starts without waiting for the imports.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
from collections.abc import Iterator
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, SpawnContext
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
"""The folder that has this package."""

PRELOADED = ["benchmark.grid.executors.workers", "benchmark.cli", "torch._dynamo"]
"""What a worker needs; torch imports the last one itself, in the first step of every process."""

CAN_FORK = "forkserver" in multiprocessing.get_all_start_methods()


def get_ready_early() -> None:
    """`get_ready` where workers may not be needed at all; what fails will be said if they are."""
    with contextlib.suppress(OSError):
        get_ready()


def get_ready() -> None:
    """Start the process, if it does not run yet; it ends with this process.

    Raises:
        OSError: when the system has no room for it: descriptors, processes, a temporary folder.
    """
    if CAN_FORK:
        context().set_forkserver_preload(PRELOADED)
        with own_path():
            forkserver.ensure_running()


@contextlib.contextmanager
def own_path() -> Iterator[None]:
    """Within the block, interpreters that are started import what this one would import.

    Python would put the folder in which the command was typed before everything else, and a folder
    in it that is called ``methods``, ``benchmark`` or ``torch`` would come before the real one.
    """
    folders = [folder for folder in sys.path if os.path.isabs(folder)]
    names = {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join([*folders, str(ROOT)])}
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def context() -> ForkServerContext | SpawnContext:
    """What workers are started with; where they cannot be forked, each imports everything anew."""
    if CAN_FORK:
        return multiprocessing.get_context("forkserver")
    return multiprocessing.get_context("spawn")
