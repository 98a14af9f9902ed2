"""Where the student's batches come from: a bank of images, or fresh images at every step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from methods.base.batch_order import RandomOrder


class Batch(NamedTuple):
    """What the student sees in one step."""

    images: Tensor
    labels: Tensor | None = None
    teacher_logits: Tensor | None = None


class Batches(ABC, Iterator[Batch]):
    """Endless batches whose position can be saved and restored."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Where they are."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Go on from there."""


class Counted(Batches):
    """Batches of any iterator; their position is restored by drawing them again.

    Args:
        batches: they may depend on nothing but their stream.
    """

    def __init__(self, batches: Iterator[Batch]) -> None:
        self._batches = batches
        self._taken = 0

    @classmethod
    def of(cls, batches: Iterator[Batch]) -> Batches:
        """``batches`` themselves if they are `Batches`, else counted ones."""
        return batches if isinstance(batches, Batches) else cls(batches)

    def __next__(self) -> Batch:
        self._taken += 1
        return next(self._batches)

    def state_dict(self) -> dict[str, Any]:
        return {"taken": self._taken}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        while self._taken < state["taken"]:
            next(self)


class SampleSource(ABC):
    """An endless supply of training images, and a few kept apart for validation."""

    @abstractmethod
    def batches(self, size: int, stream: torch.Generator) -> Iterator[Batch]:
        """Yield batches without end; their order depends on ``size``, ``stream`` and how many
        images there are, and on nothing else."""

    @abstractmethod
    def validation(self, count: int, stream: torch.Generator) -> Tensor:
        """At most ``count`` images that the student does not train on, N×C×H×W."""

    def label(self, teacher: nn.Module) -> SampleSource:
        """This source with the teacher's logits attached, where each can be computed once."""
        return self


class ImageBank(SampleSource):
    """A fixed set of images. The last ``held_out`` of them are never trained on.

    Args:
        images: N×C×H×W in the teacher's input space; float16 is widened batch by batch.
        held_out: how many at the end are kept for validation.
        labels: N class numbers, or N×H×W label maps; optional.
        device: the device of the batches.
    """

    LABEL_CHUNK = 256  # the activations of larger chunks would take a CPU gigabytes
    LABEL_CHUNK_PIXELS = LABEL_CHUNK * 32 * 32
    LABEL_LIMIT = 1 << 30
    """Most bytes of logits to keep; larger ones, such as those of pixels, are computed by batch."""
    RESIDENT_LIMIT = 4 << 30
    """Most bytes of images that are kept in an accelerator's memory for a whole run."""

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
        self._resident: Tensor | None = None

    def __len__(self) -> int:
        """Number of images to train on."""
        return len(self.images) - self.held_out

    def _fetch(self, images: Tensor) -> Tensor:
        return images.to(self.device, torch.float32, non_blocking=True)

    def batches(self, size: int, stream: torch.Generator) -> Batches:
        return _BankBatches(self, RandomOrder(len(self), size, stream))

    def take(self, chosen: Tensor) -> Batch:
        """The images of the given numbers, with labels and teacher logits where there are any."""
        images = self._where_used()
        return Batch(
            self._fetch(images[chosen.to(images.device)]),
            None if self.labels is None else self.labels[chosen].to(self.device),
            None
            if self.teacher_logits is None
            else self.teacher_logits[chosen.to(self.teacher_logits.device)],
        )

    def _where_used(self) -> Tensor:
        """The images, copied once to the accelerator if they fit into `RESIDENT_LIMIT`."""
        if self.device.type == "cpu" or self.images.nbytes > self.RESIDENT_LIMIT:
            return self.images
        if self._resident is None:
            self._resident = self.images.to(self.device)
        return self._resident

    def validation(self, count: int, stream: torch.Generator) -> Tensor:
        return self._fetch(self.images[len(self) :][:count])

    @torch.no_grad()
    def label(self, teacher: nn.Module) -> ImageBank:
        """Compute the teacher's logits of all training images, if they fit into `LABEL_LIMIT`."""
        chunk = max(1, min(self.LABEL_CHUNK, self.LABEL_CHUNK_PIXELS // self.images[0, 0].numel()))
        logits: list[Tensor] = []
        for part in self.images[: len(self)].split(chunk):
            logits.append(teacher(self._fetch(part)).float())
            if logits[0][0].nbytes * len(self) > self.LABEL_LIMIT:
                return self
        self.teacher_logits = torch.cat(logits)
        return self


class _BankBatches(Batches):
    """Batches of an `ImageBank`."""

    def __init__(self, bank: ImageBank, order: RandomOrder) -> None:
        self._bank = bank
        self._order = order

    def __next__(self) -> Batch:
        return self._bank.take(self._order.next())

    def state_dict(self) -> dict[str, Any]:
        return self._order.state_dict()

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        self._order.load_state_dict(state)


class Draw(Protocol):
    """A function that makes ``count`` images, B×C×H×W, from a random stream."""

    def __call__(self, count: int, stream: torch.Generator) -> Tensor: ...


class OnlineSource(SampleSource):
    """Fresh images at every step, from a generator or a noise distribution.

    Args:
        draw: makes images without gradient.
        on_images: called with the number of images made.
    """

    def __init__(self, draw: Draw, on_images: Callable[[int], None] = lambda count: None) -> None:
        self._draw = draw
        self._on_images = on_images

    def batches(self, size: int, stream: torch.Generator) -> Batches:
        return _FreshBatches(self, size, stream)

    def fresh(self, count: int, stream: torch.Generator) -> Batch:
        """``count`` images for the student, reported to ``on_images``."""
        images = self._draw(count, stream)
        self._on_images(count)
        return Batch(images)

    def validation(self, count: int, stream: torch.Generator) -> Tensor:
        return self._draw(count, stream)


class _FreshBatches(Batches):
    """Batches of an `OnlineSource`."""

    def __init__(self, source: OnlineSource, size: int, stream: torch.Generator) -> None:
        self._source = source
        self._size = size
        self._stream = stream

    def __next__(self) -> Batch:
        return self._source.fresh(self._size, self._stream)

    def state_dict(self) -> dict[str, Any]:
        return {"stream": self._stream.get_state()}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        self._stream.set_state(state["stream"])


class MixedSource(SampleSource):
    """Two sources in one: every batch holds the same share of each.

    Args:
        first: the source of ``share`` of every batch, rounded to whole images.
        second: the source of the rest.
        share: in [0, 1].
    """

    def __init__(self, first: SampleSource, second: SampleSource, share: float) -> None:
        self.parts = (first, second)
        self.share = share

    def _counts(self, size: int) -> tuple[int, int]:
        from_first = round(self.share * size)
        return from_first, size - from_first

    def batches(self, size: int, stream: torch.Generator) -> Batches:
        """Batches of ``size``.

        Raises:
            ValueError: with the first, when a bank has too few images for its share of one batch.
        """
        return _MixedBatches(
            [
                (Counted.of(part.batches(count, stream)), count)
                for part, count in zip(self.parts, self._counts(size), strict=True)
                if count
            ]
        )

    def validation(self, count: int, stream: torch.Generator) -> Tensor:
        shares = zip(self.parts, self._counts(count), strict=True)
        return torch.cat([part.validation(n, stream) for part, n in shares if n])

    def label(self, teacher: nn.Module) -> MixedSource:
        """Both sources, labelled where they can be."""
        first, second = (part.label(teacher) for part in self.parts)
        return MixedSource(first, second, self.share)


class _MixedBatches(Batches):
    """Batches joined from several sources, each with its number of images."""

    def __init__(self, parts: list[tuple[Batches, int]]) -> None:
        self._parts = parts

    def __next__(self) -> Batch:
        found = [next(batches) for batches, _ in self._parts]
        for batch, (_, count) in zip(found, self._parts, strict=True):
            if len(batch.images) < count:
                raise ValueError(
                    f"a batch needs {count} images of a source that has {len(batch.images)}; "
                    "change the share, or the budget's student_batch"
                )
        return _joined(found)

    def state_dict(self) -> dict[str, Any]:
        return {str(i): batches.state_dict() for i, (batches, _) in enumerate(self._parts)}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        for i, (batches, _) in enumerate(self._parts):
            batches.load_state_dict(state[str(i)])


def _joined(batches: list[Batch]) -> Batch:
    """Several batches as one, with the fields that all of them have."""
    fields = {
        name: torch.cat(parts)
        for name, parts in zip(Batch._fields, zip(*batches, strict=True), strict=True)
        if all(part is not None for part in parts)
    }
    return Batch(**fields)
