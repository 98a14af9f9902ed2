"""Random changes of images that keep their class, or change their label map with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.base.problem import Normalization, Problem
from methods.base.run import Run
from methods.base.samples import Batch, Batches, Counted, ImageBank, SampleSource
from methods.losses.predictions import IGNORE_INDEX

SCALE, DEGREES, SHIFT, NOISE = 0.2, 15.0, 0.15, 0.1
"""Largest scaling, rotation and shift (in image sizes) of a view; deviation of its noise."""

CHUNK = 4096

PADDING = 4
SCALES = (0.5, 2.0)
"""Least and largest random scale of a crop, as in the segmentation literature."""

AREAS, ASPECTS = (0.25, 1.0), (3 / 4, 4 / 3)
"""Least and largest area of a resized crop, as a share of the image's, and width by height."""

Augmentation = Literal["none", "crop-flip", "scale-crop-flip"]
"""`crop_flip` is for images with one class, `scale_crop_flip` for images with a label map."""

SUITABLE: Mapping[str, Augmentation] = {
    "classification": "crop-flip",
    "segmentation": "scale-crop-flip",
}
"""The augmentation for each type of task."""


def crop_flip(images: Tensor, stream: torch.Generator) -> Tensor:
    """Pad by 4 black pixels, crop back at a random place, and mirror half of the images.

    This is the augmentation of the CIFAR literature. Each image has its own random change.

    Args:
        images: B×C×H×W in which black is 0, as stored or in [0, 1], on any device.
        stream: a CPU generator, so that the crops are the same on every device.

    Returns:
        B×C×H×W of the same dtype, in channels-last layout.
    """
    batch, _, height, width = images.shape
    top = torch.randint(0, 2 * PADDING + 1, (batch, 1), generator=stream)
    left = torch.randint(0, 2 * PADDING + 1, (batch, 1), generator=stream)
    mirrored = torch.rand(batch, 1, generator=stream) < 0.5
    rows = top + torch.arange(height)
    columns = left + torch.arange(width)
    columns = torch.where(mirrored, columns.flip(1), columns)
    padded = F.pad(images, (PADDING,) * 4).permute(0, 2, 3, 1)
    device = images.device
    crops = padded[
        torch.arange(batch, device=device)[:, None, None],
        rows.to(device)[:, :, None],
        columns.to(device)[:, None, :],
    ]
    return crops.permute(0, 3, 1, 2)


def scale_crop_flip(
    images: Tensor, labels: Tensor, stream: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Scale every image and its map by the same random factor, crop or pad, mirror half of them.

    This is the augmentation of the segmentation literature. Each image has its own random change.
    Pixels beyond an image are black, and void in its map.

    Args:
        images: B×C×H×W in which black is 0, on any device; resampled bilinearly, and rounded where
            they are integers.
        labels: B×H×W maps; the nearest label is taken, so that no class is made up.
        stream: a CPU generator, so that every device sees the same crops.

    Returns:
        Images and labels of the same shapes and types.
    """
    grid = _windows(images, stream)
    return _seen_through(grid, images), _labels_through(grid, labels)


def _windows(images: Tensor, stream: torch.Generator) -> Tensor:
    """A random window on every image, B×H×W×2 in `grid_sample`'s coordinates."""
    draw = torch.rand(4, len(images), generator=stream)
    scale = SCALES[0] + (SCALES[1] - SCALES[0]) * draw[0]
    mirror = torch.where(draw[1] < 0.5, -1.0, 1.0)
    # In grid_sample's coordinates an image spans 2 and the window 2 / scale. The window's centre
    # may move by the difference of half of each.
    right, down = (2 * draw[2:] - 1) * (1 - 1 / scale).abs()
    zero = torch.zeros_like(scale)
    affine = torch.stack([mirror / scale, zero, right, zero, 1 / scale, down], dim=1)
    return F.affine_grid(
        affine.view(-1, 2, 3).to(images.device), list(images.shape), align_corners=False
    )


def _seen_through(grid: Tensor, images: Tensor) -> Tensor:
    pixels = F.grid_sample(images.float(), grid, align_corners=False)
    return pixels if images.is_floating_point() else pixels.round().to(images.dtype)


def _labels_through(grid: Tensor, labels: Tensor) -> Tensor:
    # grid_sample fills with zeros, so class k is sampled as k + 1, and void as zero.
    shifted = torch.where(labels == IGNORE_INDEX, 0, labels.float() + 1)
    moved = F.grid_sample(shifted[:, None], grid, mode="nearest", align_corners=False)[:, 0]
    return torch.where(moved == 0, IGNORE_INDEX, moved - 1).to(labels.dtype)


def resized_crop(images: Tensor, stream: torch.Generator, flip: bool = True) -> Tensor:
    """A random part of every image, enlarged to the size of the image, with gradients.

    The part has an area of `AREAS` of the image's and sides that are to each other as `ASPECTS`,
    as in Inception's training. No part is larger than the image.

    Args:
        images: B×C×H×W, on any device; resampled bilinearly.
        stream: a CPU generator, so that every device sees the same parts.
        flip: whether half of them are mirrored, left to right.

    Returns:
        B×C×H×W.
    """
    area, aspect, mirror, right, down = torch.rand(5, len(images), generator=stream)
    area = AREAS[0] + (AREAS[1] - AREAS[0]) * area
    low, high = (math.log(end) for end in ASPECTS)
    aspect = torch.exp(low + (high - low) * aspect)
    wide, tall = ((area * ratio).sqrt().clamp(max=1) for ratio in (aspect, 1 / aspect))
    # In grid_sample's coordinates an image spans 2, and the part's centre has the rest to move in.
    right, down = (2 * right - 1) * (1 - wide), (2 * down - 1) * (1 - tall)
    sign = torch.where(mirror < 0.5, -1.0, 1.0) if flip else torch.ones(len(images))
    zero = torch.zeros_like(wide)
    affine = torch.stack([sign * wide, zero, right, zero, tall, down], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(affine.to(images.device), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def unsuitable(augmentation: Augmentation, problem: Problem) -> str | None:
    """Why a problem's images cannot be augmented like this; None where they can."""
    suitable = SUITABLE[problem.task_type]
    if augmentation in ("none", suitable):
        return None
    return f"augmentation={augmentation} is not for {problem.task_type}; set {suitable} or none"


def changed(
    images: Tensor,
    augmentation: Augmentation,
    normalization: Normalization,
    stream: torch.Generator,
) -> Tensor:
    """Images changed at random, each in its own way, with gradients to the images.

    Args:
        images: B×C×H×W in the teacher's input space; pixels beyond an image are black.
        augmentation: how; ``none`` gives the images back.
        normalization: that of the teacher's input.
        stream: a CPU generator.
    """
    if augmentation == "none":
        return images
    pixels = normalization.denormalize(images)
    if augmentation == "crop-flip":
        pixels = crop_flip(pixels, stream)
    else:
        pixels = _seen_through(_windows(pixels, stream), pixels)
    return normalization.normalize(pixels)


class Augmented(SampleSource):
    """A source whose batches are changed at random; its validation images stay as they are.

    It never attaches the teacher's logits, because no image is seen twice: the student's loop asks
    the teacher about the changed images.

    Args:
        source: where images, and their labels if any, come from.
        augmentation: how images are changed.
        normalization: normalisation of the images; pixels beyond an image are black, normalised.
        make_stream: makes the stream of the random changes; called once for every sequence of
            batches, so that the batches' own order stays what it is without changes.
    """

    def __init__(
        self,
        source: SampleSource,
        augmentation: Augmentation,
        normalization: Normalization,
        make_stream: Callable[[], torch.Generator],
    ) -> None:
        self.source = source
        self.augmentation = augmentation
        self.normalization = normalization
        self._make_stream = make_stream

    def batches(self, size: int, stream: torch.Generator) -> Batches:
        return _AugmentedBatches(self, self.source.batches(size, stream), self._make_stream())

    def change(self, batch: Batch, stream: torch.Generator) -> Batch:
        """The batch with changed images and changed label maps, without teacher logits."""
        pixels = self.normalization.denormalize(batch.images)
        labels = batch.labels
        if self.augmentation == "crop-flip":
            pixels = crop_flip(pixels, stream)
        elif self.augmentation == "scale-crop-flip":
            grid = _windows(pixels, stream)
            pixels = _seen_through(grid, pixels)
            labels = None if labels is None else _labels_through(grid, labels)
        return Batch(self.normalization.normalize(pixels), labels)

    def validation(self, count: int, stream: torch.Generator) -> Tensor:
        return self.source.validation(count, stream)

    def label(self, teacher: nn.Module) -> Augmented:
        """This source as it is: logits of the unchanged images would be wrong."""
        return self


class _AugmentedBatches(Batches):
    """Batches of an `Augmented` source."""

    def __init__(
        self, source: Augmented, batches: Iterator[Batch], stream: torch.Generator
    ) -> None:
        self._source = source
        self._batches = Counted.of(batches)
        self._stream = stream

    def __next__(self) -> Batch:
        return self._source.change(next(self._batches), self._stream)

    def state_dict(self) -> dict[str, Any]:
        return {"batches": self._batches.state_dict(), "stream": self._stream.get_state()}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        self._batches.load_state_dict(state["batches"])
        self._stream.set_state(state["stream"])


def augmented(
    samples: SampleSource, augmentation: Augmentation, problem: Problem, run: Run
) -> SampleSource:
    """The samples, changed at random in every batch unless ``augmentation`` is ``none``."""
    if augmentation == "none":
        return samples

    def crops() -> torch.Generator:
        return run.stream("student-augmentation")

    return Augmented(samples, augmentation, problem.normalization, crops)


def random_views(images: Tensor, stream: torch.Generator, flip: bool = False) -> Tensor:
    """Scale, rotate and move every image at random, and add a little normal noise.

    Args:
        images: B×C×H×W in the teacher's input space; beyond its border an image goes on mirrored.
        stream: random stream on the images' device.
        flip: whether half of the images are mirrored, left to right.

    Returns:
        B×C×H×W.
    """
    scale, turn, right, down = 2 * torch.rand(4, len(images), generator=stream) - 1
    # In grid_sample's coordinates an image is 2 wide and high.
    angle, right, down = turn * math.radians(DEGREES), 2 * SHIFT * right, 2 * SHIFT * down
    cos, sin = angle.cos() / (1 + SCALE * scale), angle.sin() / (1 + SCALE * scale)
    affine = torch.stack([cos, -sin, right, sin, cos, down], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(affine, list(images.shape), align_corners=False)
    if flip:
        mirrored = torch.rand(len(images), generator=stream) < 0.5
        images = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(3), images)
    views = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    return views + NOISE * torch.randn(views.shape, generator=stream)


def with_views(bank: ImageBank, count: int, run: Run, flip: bool = False) -> ImageBank:
    """The bank with ``count`` random views of every training image, but of no validation image.

    The views are made once, so that the teacher labels them once. No more are made than the student
    has steps to look at.
    """
    count = min(count, -(-run.budget.student_steps * run.budget.student_batch // len(bank)))
    if not count:
        return bank
    stream = run.stream("augmentation")
    train, held_out = bank.images.split([len(bank), bank.held_out])
    views = [
        random_views(part.float(), stream, flip).to(train.dtype)
        for _ in range(count)
        for part in train.split(CHUNK)
    ]
    run.ledger.synthetic_images += count * len(train)
    return ImageBank(torch.cat([train, *views, held_out]), bank.held_out, device=bank.device)
