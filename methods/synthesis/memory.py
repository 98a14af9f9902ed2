"""Memories of images: what a student of an alternating method has been shown, and may see again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from methods.base.problem import Problem
from methods.base.run import Run
from methods.base.samples import Batch, Batches, SampleSource

HELD_OUT = 10
"""One image in so many is never shown to the student: agreement is measured on these."""


def set_aside(
    count: int, held_out: int, run: Run, stream: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The numbers of the images of a batch to hold out, and of those to learn from, on the CPU.

    They are chosen at random: classes may be sorted or take turns, and all are to be among the held
    out.

    Args:
        count: images of the batch.
        held_out: images that are held out already.
        run: its budget says how many may be.
        stream: a CPU generator.
    """
    room = run.budget.validation_images - held_out
    aside = min(-(-count // HELD_OUT), room, count - 1)
    order = torch.randperm(count, generator=stream)
    return order[:aside], order[aside:]


class Pool(SampleSource):
    """A pool of 8-bit images to which every round adds; batches are drawn with replacement.

    Published code keeps such a pool as a folder of PNG files. This one is in memory, belongs to one
    run, and is part of the run's state. Pixels are cut to [0, 1] and rounded down to 256 levels, as
    there.

    Args:
        problem: gives the normalisation.
        run: gives device and ledger.
        capacity: images to learn from that are kept, the newest; 0 keeps all.
    """

    def __init__(self, problem: Problem, run: Run, capacity: int = 0) -> None:
        self._normalization = problem.normalization
        self._run = run
        self._capacity = capacity
        self._choice = run.stream("held-out")
        empty = torch.empty(0, *problem.image_shape, dtype=torch.uint8, device=run.device)
        self._learnt, self._held_out = empty, empty

    def __len__(self) -> int:
        """Number of images to learn from."""
        return len(self._learnt)

    @torch.no_grad()
    def add(self, images: Tensor) -> None:
        """Add images, B×C×H×W in the teacher's input space; a few of them are held out."""
        pixels = self._normalization.denormalize(images.detach().float()).clamp(0, 1)
        stored = (pixels * 255).to(torch.uint8)
        aside, rest = set_aside(len(stored), len(self._held_out), self._run, self._choice)
        self._held_out = torch.cat([self._held_out, stored[aside.to(stored.device)]])
        self._learnt = torch.cat([self._learnt, stored[rest.to(stored.device)]])
        if self._capacity:
            self._learnt = self._learnt[-self._capacity :]
        self._run.ledger.add({"synthetic_images": len(stored)})

    def take(self, chosen: Tensor) -> Tensor:
        """The images of the given numbers, in the teacher's input space."""
        return self._as_input(self._learnt[chosen.to(self._learnt.device)])

    def _as_input(self, stored: Tensor) -> Tensor:
        return self._normalization.normalize(stored.float() / 255)

    def batches(self, size: int, stream: torch.Generator) -> Batches:
        """Batches of ``size`` images of the pool as it is when each is drawn.

        Raises:
            ValueError: with the first, when the pool is empty.
        """
        return RandomBatches(self, size, stream)

    def validation(self, count: int, stream: torch.Generator) -> Tensor:
        return self._as_input(self._held_out[:count])

    def state_dict(self) -> dict[str, Any]:
        """All images, and the stream that chooses which are held out."""
        return {
            "learnt": self._learnt,
            "held_out": self._held_out,
            "choice": self._choice.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Restore ``state``."""
        device = self._learnt.device
        self._learnt, self._held_out = (state[n].to(device) for n in ("learnt", "held_out"))
        self._choice.set_state(state["choice"])


class Keeping(Protocol):
    """A memory that has some images now, and gives them by number."""

    def __len__(self) -> int: ...

    def take(self, chosen: Tensor, /) -> Tensor: ...


class RandomBatches(Batches):
    """Batches of the images that a memory has when each is drawn, with replacement."""

    def __init__(self, memory: Keeping, size: int, stream: torch.Generator) -> None:
        self._memory, self._size, self._stream = memory, size, stream

    def __next__(self) -> Batch:
        if not len(self._memory):
            raise ValueError("the student cannot learn from an empty memory: fill it first")
        chosen = torch.randint(len(self._memory), (self._size,), generator=self._stream)
        return Batch(self._memory.take(chosen))

    def state_dict(self) -> dict[str, Any]:
        return {"stream": self._stream.get_state()}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        self._stream.set_state(state["stream"])
