"""Where student batches come from: a bank drawn once, or a generator asked anew each step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

LABELLED_AT_ONCE = 2**23
"""Most numbers in a batch of images that the teacher labels: 2,048 images of 3×32×32 and more."""

KEPT_LOGITS = 2**28
"""Most numbers in the kept logits of a bank, 1 GiB; the teacher labels batch by batch beyond."""


class Batch(NamedTuple):
    """What the student sees in one step."""

    images: Tensor
    labels: Tensor | None = None
    teacher_logits: Tensor | None = None


class SampleSource(ABC):
    """An endless supply of training images, and a few kept apart for validation."""

    @abstractmethod
    def batches(self, size: int, stream: torch.Generator) -> Iterator[Batch]:
        """Yield batches without end; the order depends on ``stream`` alone."""

    @abstractmethod
    def validation(self, count: int, stream: torch.Generator) -> Tensor:
        """At most ``count`` images the student does not train on, N×C×H×W."""

    def label(self, teacher: nn.Module) -> SampleSource:
        """This source with the teacher's logits attached where they can be computed once."""
        return self


class ImageBank(SampleSource):
    """A fixed set of images. The last ``held_out`` of them are never trained on.

    Args:
        images: N×C×H×W in the teacher's input space; float16 is widened batch by batch.
        held_out: how many at the end are kept for validation.
        labels: N, optional.
        device: where batches are delivered.
    """

    LABEL_CHUNK = 256  # of a larger one, a CPU first has to find gigabytes for activations

    def __init__(
        self,
        images: Tensor,
        held_out: int,
        labels: Tensor | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        if not 0 < held_out < len(images):
            raise ValueError(
                f"a bank of {len(images)} images cannot keep {held_out} for validation"
            )
        self.images = images
        self.labels = labels
        self.held_out = held_out
        self.device = torch.device(device)
        self.teacher_logits: Tensor | None = None

    def __len__(self) -> int:
        """Number of images to train on."""
        return len(self.images) - self.held_out

    def _fetch(self, images: Tensor) -> Tensor:
        return images.to(self.device, torch.float32, non_blocking=True)

    def batches(self, size: int, stream: torch.Generator) -> Iterator[Batch]:
        size = min(size, len(self))
        while True:
            order = torch.randperm(len(self), generator=stream)
            for chosen in order.split(size):
                if len(chosen) == size:
                    yield Batch(
                        self._fetch(self.images[chosen]),
                        None if self.labels is None else self.labels[chosen].to(self.device),
                        None if self.teacher_logits is None else self.teacher_logits[chosen],
                    )

    def validation(self, count: int, stream: torch.Generator) -> Tensor:
        return self._fetch(self.images[len(self) :][:count])

    @torch.no_grad()
    def label(self, teacher: nn.Module) -> ImageBank:
        """Attach the teacher's logits to every training image, computed once.

        Score maps of too many images are not kept: the teacher is asked again in every step.
        """
        pixels = self.images[0, 0].numel()
        if pixels * len(self) * teacher.num_classes > KEPT_LOGITS:  # type: ignore[operator]
            return self
        chunk = min(self.LABEL_CHUNK, max(1, LABELLED_AT_ONCE // self.images[0].numel()))
        parts = self.images[: len(self)].split(chunk)
        self.teacher_logits = torch.cat([teacher(self._fetch(part)).float() for part in parts])
        return self


class Draw(Protocol):
    """Make ``count`` images from a random stream."""

    def __call__(self, count: int, stream: torch.Generator) -> Tensor: ...


class OnlineSource(SampleSource):
    """Fresh images at every step, from a generator or a noise distribution.

    Args:
        draw: makes ``count`` images, without gradient.
        on_images: told how many images were made.
    """

    def __init__(self, draw: Draw, on_images: Callable[[int], None] = lambda count: None) -> None:
        self._draw = draw
        self._on_images = on_images

    def batches(self, size: int, stream: torch.Generator) -> Iterator[Batch]:
        while True:
            images = self._draw(size, stream)
            self._on_images(size)
            yield Batch(images)

    def validation(self, count: int, stream: torch.Generator) -> Tensor:
        return self._draw(count, stream)


class MixedSource(SampleSource):
    """Two sources in one: every batch holds the same share of each.

    Args:
        first: where ``share`` of every batch comes from, to the nearest whole image.
        second: where the rest comes from.
        share: in [0, 1].
    """

    def __init__(self, first: SampleSource, second: SampleSource, share: float) -> None:
        self.parts = (first, second)
        self.share = share

    def _counts(self, size: int) -> tuple[int, int]:
        from_first = round(self.share * size)
        return from_first, size - from_first

    def batches(self, size: int, stream: torch.Generator) -> Iterator[Batch]:
        """Yield batches of ``size``.

        Raises:
            ValueError: when a bank has too few images for its share of a single batch.
        """
        wanted = [
            (part.batches(count, stream), count)
            for part, count in zip(self.parts, self._counts(size), strict=True)
            if count
        ]
        while True:
            found = [next(batches) for batches, _ in wanted]
            for batch, (_, count) in zip(found, wanted, strict=True):
                if len(batch.images) < count:
                    raise ValueError(
                        f"a batch needs {count} images of a source that has {len(batch.images)}; "
                        "change the share, or the budget's student_batch"
                    )
            yield _joined(found)

    def validation(self, count: int, stream: torch.Generator) -> Tensor:
        shares = zip(self.parts, self._counts(count), strict=True)
        return torch.cat([part.validation(n, stream) for part, n in shares if n])

    def label(self, teacher: nn.Module) -> MixedSource:
        """Both sources, labelled where they can be."""
        first, second = (part.label(teacher) for part in self.parts)
        return MixedSource(first, second, self.share)


def _joined(batches: list[Batch]) -> Batch:
    """One batch of several; a field that one of them lacks is lacking."""
    fields = {
        name: torch.cat(parts)
        for name, parts in zip(Batch._fields, zip(*batches, strict=True), strict=True)
        if all(part is not None for part in parts)
    }
    return Batch(**fields)


def bank_of(
    draw: Draw, count: int, held_out: int, batch: int, stream: torch.Generator, device: torch.device
) -> ImageBank:
    """Draw a bank of ``count`` training and ``held_out`` validation images, ``batch`` at a time.

    Images are stored as float16: half the memory, and the same bits whether the bank is fresh
    or read back from a cache.
    """
    total = count + held_out
    sizes = [batch] * (total // batch) + ([total % batch] if total % batch else [])
    images = torch.cat([draw(size, stream).to("cpu", torch.float16) for size in sizes])
    return ImageBank(images, held_out, device=device)
