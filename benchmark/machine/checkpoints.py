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
from typing import Any

import torch

from benchmark.errors import UserError
from benchmark.machine.tensors import Corrupted, load_tensors, pack, save_tensors, unpack
from benchmark.records.canonical import digest

LOG = logging.getLogger(__name__)

COST_FACTOR = 50
"""A state that takes long to write is written so much more rarely: at most 2 % of the time."""

TREE = "tree"

GOES_ON, IGNORED = "goes on with", "checkpoint ignored"
"""What is said of a state that was found."""


class LoopKeeper:
    """Keeps the states of loops in a folder; see `methods.base.states.Keeper`.

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
