"""A bank of images that grows by a batch in every round, and whose every image is labelled once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from methods.base.batch_order import RandomOrder
from methods.base.run import Run
from methods.base.samples import Batch, Batches, ImageBank, SampleSource


class GrowingBank(SampleSource):
    """A bank of images, of which a share is kept for validation, that may grow.

    Args:
        run: gives device and budget.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._teacher: nn.Module | None = None
        self._train: list[Tensor] = []
        self._held_out: list[Tensor] = []
        self._logits: list[Tensor] = []
        self._bank: ImageBank | None = None

    def __len__(self) -> int:
        """Number of images to train on."""
        return sum(map(len, self._train))

    @property
    def held_out(self) -> int:
        """Number of images that are kept for validation."""
        return sum(map(len, self._held_out))

    def add(self, images: Tensor) -> None:
        """Add one batch, B×C×H×W."""
        made = len(self) + self.held_out + len(images)
        total = self._run.budget.inversion_images
        due = self._run.budget.held_out(total) * made // total
        kept = min(max(due, 1) - self.held_out, len(images) - 1)
        # Classes take turns within a batch, so the last images are of many classes.
        train, last = images.to("cpu", torch.float16).split([len(images) - kept, kept])
        self._train.append(train)
        self._held_out.append(last)
        self._bank = None

    def label(self, teacher: nn.Module) -> GrowingBank:
        """This bank; from now on the teacher labels every image to train on, once."""
        self._teacher = teacher
        return self

    @property
    def bank(self) -> ImageBank:
        """All images so far.

        Raises:
            ValueError: when there are none.
        """
        if not self._train:
            raise ValueError("the student cannot learn from an empty bank: add images first")
        if self._bank is None:
            images = torch.cat(self._train + self._held_out)
            self._bank = ImageBank(images, self.held_out, device=self._run.device)
        return self._bank

    @torch.no_grad()
    def take(self, chosen: Tensor) -> Batch:
        """The images of the given numbers, with the teacher's logits where it labels them."""
        bank = self.bank
        if self._teacher is not None and bank.teacher_logits is None:
            for part in self._train[len(self._logits) :]:
                images = part.to(self._run.device, torch.float32)
                self._logits.append(self._teacher(images).float())
            bank.teacher_logits = torch.cat(self._logits)
        return bank.take(chosen)

    def batches(self, size: int, stream: torch.Generator) -> Batches:
        """Batches of the bank as it is when each is drawn; a bank that grew has a new order."""
        return _GrowingBatches(self, size, stream)

    def validation(self, count: int, stream: torch.Generator) -> Tensor:
        return self.bank.validation(count, stream)

    def state_dict(self) -> dict[str, Any]:
        """All images and logits, batch by batch."""
        return {"train": self._train, "held_out": self._held_out, "logits": self._logits}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Restore ``state``."""
        self._train, self._held_out = list(state["train"]), list(state["held_out"])
        self._logits = [logits.to(self._run.device) for logits in state["logits"]]
        self._bank = None


class _GrowingBatches(Batches):
    """Batches of a `GrowingBank`."""

    def __init__(self, source: GrowingBank, size: int, stream: torch.Generator) -> None:
        self._source, self._size, self._stream = source, size, stream
        self._images = 0
        self._order = RandomOrder(1, 1, stream)

    def __next__(self) -> Batch:
        if len(self._source) != self._images:
            self._renew(len(self._source))
        return self._source.take(self._order.next())

    def _renew(self, images: int) -> None:
        self._images = images
        self._order = RandomOrder(images, self._size, self._stream)

    def state_dict(self) -> dict[str, Any]:
        return {"images": self._images, **self._order.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        self._renew(state["images"])
        self._order.load_state_dict(state)
