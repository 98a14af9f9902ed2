"""Where a training is, kept now and then, so that it goes on from there when it is interrupted.

A folder a run, in the cache: ``<loop>.safetensors`` for each of its loops, and the snapshots of its
student, which are written once each; and a folder for a teacher in training. Everything is
checksummed and written atomically; what is damaged is said and ignored, and that loop then starts
again.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmark.artifacts import Corrupted, load_tensors, save_tensors
from benchmark.canonical import digest
from benchmark.device import what_bits_depend_on
from benchmark.errors import UserError
from benchmark.evaluation import Checkpoints
from benchmark.samples import code_of
from benchmark.trees import pack, unpack
from methods.base import Method

if TYPE_CHECKING:
    from benchmark.run import Context

LOG = logging.getLogger(__name__)

COST_FACTOR = 50
"""A state that takes long to write is written so much more rarely: at most 2 % of the time."""

TREE = "tree"

GOES_ON, IGNORED = "goes on with", "checkpoint ignored"
"""What is said of a state that was found."""


class LoopKeeper:
    """Keeps the states of loops in a folder; see `methods.resuming.Keeper`.

    Args:
        folder: one for all that has the same identity, the code and machine included.
        every: seconds between two states.
        what: what is in training, as messages call it.
    """

    def __init__(self, folder: Path, every: float, what: str) -> None:
        self.folder = folder
        self.what = what
        self._every = every
        self._pause = every
        self._last = time.monotonic()

    def due(self) -> bool:
        """Whether it is time again."""
        return time.monotonic() - self._last >= self._pause

    def save(self, loop: str, step: int, state: dict[str, Any]) -> None:
        """Keep that ``step`` steps of a loop are done. A full disk is said; training goes on."""
        started = time.monotonic()
        try:
            tensors, text = pack({"step": step, "state": state, **self._beside()})
            # The text is a tensor too, so that the checksum is of all there is.
            tensors[TREE] = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
            save_tensors(self._path(loop), tensors, {})
        except (UserError, OSError) as error:
            LOG.warning("no checkpoint of %s: %s", self.what, error)
        self._last = time.monotonic()
        self._pause = max(self._every, COST_FACTOR * (self._last - started)) if self._every else 0

    def load(self, loop: str) -> tuple[int, dict[str, Any]] | None:
        """Steps done and state of a loop, where an undamaged one is kept."""
        if not self._path(loop).exists():
            return None
        try:
            tensors, _ = load_tensors(self._path(loop))
            tree = unpack(tensors, bytes(tensors.pop(TREE).numpy()).decode())
            self._restore_beside(tree)
            step: int = tree["step"]
            state: dict[str, Any] = tree["state"]
        except (Corrupted, FileNotFoundError, KeyError, ValueError) as error:
            LOG.warning(f"{IGNORED}: %s; %s starts its %s again", error, self.what, loop)
            return None
        LOG.info(f"%s {GOES_ON} %s after %d steps", self.what, loop, step)
        return step, state

    def _beside(self) -> dict[str, Any]:
        """What else belongs to a state."""
        return {}

    def _restore_beside(self, tree: Mapping[str, Any]) -> None:
        """Be as when `_beside` was asked."""

    def _path(self, loop: str) -> Path:
        return self.folder / f"{loop}.safetensors"


class RunKeeper(LoopKeeper):
    """Keeps the states of one run's loops, and the students it has shown.

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
            code_of(type(method)),
            what_bits_depend_on(context.device, context.precision),
        ]
        folder = _folder(context.cache) / f"{run_id}-{digest(identity)}"
        super().__init__(folder, context.checkpoint_seconds, f"run {run_id}")
        self._snapshots = snapshots
        self._written: set[int] = set()

    def _beside(self) -> dict[str, Any]:
        snapshots = self._snapshots
        for number, weights in zip(snapshots.steps, snapshots.states, strict=True):
            if number not in self._written:
                save_tensors(self._student(number), weights, {})
                self._written.add(number)
        return {"shown": snapshots.state_dict()}

    def _restore_beside(self, tree: Mapping[str, Any]) -> None:
        shown: dict[str, Any] = tree["shown"]
        students = [load_tensors(self._student(number))[0] for number in shown["steps"]]
        self._snapshots.load_state_dict({**shown, "states": students})
        self._written = set(shown["steps"])

    def _student(self, step: int) -> Path:
        return self.folder / f"student-{step}.safetensors"


def teacher_keeper(cache: Path, name: str, every: float, bits: Sequence[str | int]) -> LoopKeeper:
    """Where the training of a teacher is kept.

    Args:
        cache: the folder of everything that can be made again.
        name: the teacher's, which tells task, data and recipe.
        every: seconds between two states.
        bits: what its bits depend on beside them, the code included.
    """
    return LoopKeeper(_folder(cache) / f"{name}-{digest(bits)}", every, f"teacher {name}")


def forget(cache: Path, name: str) -> None:
    """Remove what was kept of a run, by its id, that has its record; or of a finished teacher."""
    for folder in _folder(cache).glob(f"{name}-*"):
        shutil.rmtree(folder, ignore_errors=True)


def _folder(cache: Path) -> Path:
    return cache / "checkpoints"
