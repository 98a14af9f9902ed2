"""Where a run is, kept now and then, so that it goes on from there when it is interrupted.

A folder a run, in the cache: ``<loop>.safetensors`` for each of its loops, and the snapshots of its
student, which are written once each. Everything is checksummed and written atomically; what is
damaged is said and ignored, and the run then starts that loop again.
"""

from __future__ import annotations

import logging
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from benchmark.artifacts import Corrupted, load_tensors, save_tensors
from benchmark.errors import UserError
from benchmark.evaluation import Checkpoints
from benchmark.records import digest
from benchmark.samples import code_fingerprint
from benchmark.trees import pack, unpack
from methods.base import Method

if TYPE_CHECKING:
    from benchmark.run import Context

LOG = logging.getLogger(__name__)

COST_FACTOR = 50
"""A state that takes long to write is written so much more rarely: at most 2 % of the time."""

TREE = "tree"


class RunKeeper:
    """Keeps the state of one run's loops; see `methods.resuming.Keeper`.

    Args:
        context: where the cache is, how often to keep, and on what the bits depend.
        run_id: of the run.
        method: its code is part of what a state is for.
        snapshots: the students shown so far, which belong to the state.
    """

    def __init__(
        self, context: Context, run_id: str, method: Method, snapshots: Checkpoints
    ) -> None:
        assert context.checkpoint_seconds is not None
        identity = [
            code_fingerprint(type(method)),
            [context.device, context.precision, torch.get_num_threads(), torch.__version__],
        ]
        self.folder = _folder(context.cache) / f"{run_id}-{digest(identity)}"
        self._every = context.checkpoint_seconds
        self._snapshots = snapshots
        self._written: set[int] = set()
        self._pause = self._every
        self._last = time.monotonic()

    def due(self) -> bool:
        """Whether it is time again."""
        return time.monotonic() - self._last >= self._pause

    def save(self, loop: str, step: int, state: dict[str, Any]) -> None:
        """Keep that ``step`` steps of a loop are done. A full disk is said; the run goes on."""
        started = time.monotonic()
        snapshots = self._snapshots
        try:
            for number, weights in zip(snapshots.steps, snapshots.states, strict=True):
                if number not in self._written:
                    save_tensors(self._student(number), weights, {})
                    self._written.add(number)
            tree = {"step": step, "state": state, "shown": snapshots.state_dict()}
            tensors, text = pack(tree)
            # The text is a tensor too, so that the checksum is of all there is.
            tensors[TREE] = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
            save_tensors(self._path(loop), tensors, {})
        except (UserError, OSError) as error:
            LOG.warning("no checkpoint of run %s: %s", self.folder.name[:16], error)
        self._last = time.monotonic()
        self._pause = max(self._every, COST_FACTOR * (self._last - started)) if self._every else 0

    def load(self, loop: str) -> tuple[int, dict[str, Any]] | None:
        """Steps done and state of a loop, where an undamaged one is kept."""
        if not self._path(loop).exists():
            return None
        try:
            tensors, _ = load_tensors(self._path(loop))
            tree = unpack(tensors, bytes(tensors.pop(TREE).numpy()).decode())
            shown: dict[str, Any] = tree["shown"]
            students = [self._weights(number) for number in shown["steps"]]
        except (Corrupted, FileNotFoundError, KeyError, ValueError) as error:
            LOG.warning("checkpoint ignored: %s; the run starts its %s again", error, loop)
            return None
        self._snapshots.load_state_dict({**shown, "states": students})
        self._written = set(shown["steps"])
        step: int = tree["step"]
        return step, tree["state"]

    def _weights(self, step: int) -> dict[str, Tensor]:
        return load_tensors(self._student(step))[0]

    def _path(self, loop: str) -> Path:
        return self.folder / f"{loop}.safetensors"

    def _student(self, step: int) -> Path:
        return self.folder / f"student-{step}.safetensors"


def forget(cache: Path, run_id: str) -> None:
    """Remove what was kept of a run that has its record."""
    for folder in _folder(cache).glob(f"{run_id}-*"):
        shutil.rmtree(folder, ignore_errors=True)


def _folder(cache: Path) -> Path:
    return cache / "checkpoints"
