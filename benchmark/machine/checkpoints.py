"""The states of a training, kept now and then, so that it can go on after an interruption.

Each run, and each teacher in training, has a folder in the cache: ``<loop>.safetensors`` for each
loop, and the snapshots of a run's student. All files have a checksum and are written atomically. A
damaged state is named and ignored, and its loop starts again.
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
"""How many times the seconds of writing a state pass before the next: writing costs at most 2 %."""

TREE = "tree"

GOES_ON, IGNORED = "goes on with", "checkpoint ignored"
"""What the log says of a state that was found."""


class LoopKeeper:
    """Keeps the states of loops in a folder; see `methods.base.states.Keeper`.

    Args:
        folder: the folder of the states; its name tells run, code and machine.
        every: seconds between two states.
        what: the name of the training in messages.
    """

    def __init__(self, folder: Path, every: float, what: str) -> None:
        self.folder = folder
        self.what = what
        self._every = every
        self._pause = every
        self._last = time.monotonic()

    def due(self) -> bool:
        """Whether it is time for the next state."""
        return time.monotonic() - self._last >= self._pause

    def save(self, loop: str, step: int, state: dict[str, Any]) -> None:
        """Keep the state of a loop after ``step`` steps; on a full disk, log it and train on."""
        started = time.monotonic()
        try:
            tensors, text = pack({"step": step, "state": state, **self._extra()})
            # The text is a tensor too, so that the checksum covers it.
            tensors[TREE] = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
            save_tensors(self._path(loop), tensors, {})
        except (UserError, OSError) as error:
            LOG.warning("no checkpoint of %s: %s", self.what, error)
        self._last = time.monotonic()
        self._pause = max(self._every, COST_FACTOR * (self._last - started)) if self._every else 0

    def load(self, loop: str) -> tuple[int, dict[str, Any]] | None:
        """The number of steps done and the state of a loop, or None without an undamaged state."""
        if not self._path(loop).exists():
            return None
        try:
            tensors, _ = load_tensors(self._path(loop))
            tree = unpack(tensors, bytes(tensors.pop(TREE).numpy()).decode())
            self._restore_extra(tree)
            step: int = tree["step"]
            state: dict[str, Any] = tree["state"]
        except (Corrupted, FileNotFoundError, KeyError, ValueError) as error:
            LOG.warning(f"{IGNORED}: %s; %s starts its %s again", error, self.what, loop)
            return None
        LOG.info(f"%s {GOES_ON} %s after %d steps", self.what, loop, step)
        return step, state

    def _extra(self) -> dict[str, Any]:
        """The further content of a state, which a subclass may have."""
        return {}

    def _restore_extra(self, tree: Mapping[str, Any]) -> None:
        """Restore the further content of a state."""

    def _path(self, loop: str) -> Path:
        return self.folder / f"{loop}.safetensors"


def teacher_keeper(cache: Path, name: str, every: float, bits: Sequence[str | int]) -> LoopKeeper:
    """The keeper of a teacher's training.

    Args:
        cache: the folder of the cache.
        name: the teacher's name, which tells task, data and recipe.
        every: seconds between two states.
        bits: what the teacher's bits depend on in addition, such as the code.
    """
    return LoopKeeper(checkpoint_folder(cache) / f"{name}-{digest(bits)}", every, f"teacher {name}")


def forget(cache: Path, name: str) -> None:
    """Remove the states of a run that has its record, by its id, or of a finished teacher."""
    for folder in checkpoint_folder(cache).glob(f"{name}-*"):
        shutil.rmtree(folder, ignore_errors=True)


def checkpoint_folder(cache: Path) -> Path:
    """The folder in the cache that holds a folder of states for every training."""
    return cache / "checkpoints"
