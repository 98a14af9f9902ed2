"""Images as they are judged: 8-bit RGB, each with the class that the teacher gives it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.errors import UserError
from methods.base.problem import Normalization
from methods.base.samples import ImageBank, SampleSource
from methods.losses.predictions import IGNORE_INDEX
from methods.networks.predictions import chunk_size, predictions


class Unmeasurable(Exception):
    """The quality of a run's images cannot be measured; the message says why."""


CHUNKS = 16
"""Number of chunks of a set that are held as floats at once. torch draws normal noise by sixteens,
so the noise is the same whether it is drawn at once or in parts of this many chunks."""


class LabelledImages(NamedTuple):
    """Pixels, uint8, N×3×H×W, and the teacher's class of each, int64, N."""

    pixels: Tensor
    labels: Tensor


def gathered(parts: Iterable[LabelledImages]) -> LabelledImages:
    """Several sets joined into one, whose pixels lie in an unnamed file mapped into memory.

    Pairs may be of any two images, so all pixels have to be at hand. Large images would take
    gigabytes of memory.

    Raises:
        UserError: when the folder of temporary files is full.
    """
    labels, shape = [], torch.Size()
    try:
        with tempfile.TemporaryFile() as file:
            for part in parts:
                file.write(part.pixels.contiguous().numpy().data)
                labels.append(part.labels)
                shape = part.pixels.shape[1:]
            file.flush()
            found = torch.cat(labels)
            pixels = np.memmap(file, np.uint8, "c", shape=(len(found), *shape))
    except OSError as error:
        folder = tempfile.gettempdir()
        raise UserError(
            f"cannot keep pixels in '{folder}': {error.strerror}; set TMPDIR to a folder with room"
        ) from None
    return LabelledImages(torch.from_numpy(pixels), found)


def part_size(image_shape: Sequence[int]) -> int:
    """The number of images C×H×W that are held as floats at once."""
    return CHUNKS * chunk_size(*image_shape[1:])


def to_pixels(images: Tensor, normalization: Normalization) -> Tensor:
    """Images in the teacher's input space, N×C×H×W, to the pixels of a picture file.

    Intensities outside [0, 1] are clipped, never rescaled: stretching each image to the full
    range would hide a wrong contrast. A grey image becomes three equal channels.

    Returns:
        uint8, N×3×H×W.

    Raises:
        Unmeasurable: when a value is NaN or infinite.
    """
    if not torch.isfinite(images).all():
        raise Unmeasurable("the images hold NaN or infinite values")
    pixels = normalization.denormalize(images.float()).clamp(0, 1)
    return (pixels * 255).round().to(torch.uint8).expand(-1, 3, -1, -1)


def label_images(
    images: Tensor, teacher: nn.Module, normalization: Normalization
) -> LabelledImages:
    """Images to be judged, from images in the teacher's input space, N×C×H×W.

    Where the teacher labels pixels, the class of an image is that of most of its pixels.

    Raises:
        Unmeasurable: see `to_pixels`.
    """
    pixels = to_pixels(images, normalization).cpu().contiguous()
    device = next(teacher.parameters()).device
    return LabelledImages(pixels, class_of_images(predictions(teacher, images.to(device)).cpu()))


def class_of_images(labels: Tensor) -> Tensor:
    """The class of every image, N: the label itself or, for maps N×H×W, the class of most pixels.

    Void pixels do not count; an image that holds nothing else is void.
    """
    if labels.ndim == 1:
        return labels
    found = [label[label != IGNORE_INDEX] for label in labels.flatten(1)]
    return torch.tensor([int(own.mode().values) if len(own) else IGNORE_INDEX for own in found])


def draw_images(
    source: SampleSource,
    count: int,
    batch: int,
    teacher: nn.Module,
    normalization: Normalization,
    stream: torch.Generator,
) -> LabelledImages:
    """Images that the student learns from: ``count``, or all of a smaller bank, none twice.

    Args:
        source: source of images that the method made.
        count: number of images.
        batch: number of images drawn at a time where images are made anew, as the student gets
            them.
        teacher: bare network, whose queries the method's ledger does not count.
        normalization: normalisation of the teacher's input.
        stream: random numbers that choose the images.

    Raises:
        Unmeasurable: when there are no images, or one is not finite.
    """
    if isinstance(source, ImageBank):
        count = min(count, len(source))
    if count < 1:
        raise Unmeasurable("there are no images")
    return gathered(
        label_images(images, teacher, normalization)
        for images in _drawn(source, count, min(batch, count), stream)
    )


def _drawn(
    source: SampleSource, count: int, batch: int, stream: torch.Generator
) -> Iterator[Tensor]:
    if isinstance(source, ImageBank):
        order = torch.randperm(len(source), generator=stream)[:count]
        for chosen in order.split(part_size(source.images.shape[1:])):
            yield source.take(chosen).images
        return
    batches = source.batches(batch, stream)
    for left in range(count, 0, -batch):
        yield next(batches).images[:left]
