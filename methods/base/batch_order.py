"""The order in which images are drawn into batches, for students and for teachers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class RandomOrder:
    """Which images each batch holds: every image once in a random order, again and again.

    What is left at the end of an order and too small for a batch is left out.

    Args:
        images: how many there are.
        size: of a batch, at most ``images``.
        stream: of the orders.
    """

    def __init__(self, images: int, size: int, stream: torch.Generator) -> None:
        self._images = images
        self._size = min(size, images)
        self._stream = stream
        self._order = torch.empty(0, dtype=torch.int64)

    @property
    def batches_per_epoch(self) -> int:
        """How many batches one order gives."""
        return self._images // self._size

    def next(self) -> Tensor:
        """Numbers of the next batch's images."""
        if len(self._order) < self._size:
            self._order = torch.randperm(self._images, generator=self._stream)
        chosen, self._order = self._order[: self._size], self._order[self._size :]
        return chosen

    def state_dict(self) -> dict[str, Any]:
        """Where the order is."""
        return {"stream": self._stream.get_state(), "order": self._order}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Go on from there."""
        self._stream.set_state(state["stream"])
        self._order = state["order"]
