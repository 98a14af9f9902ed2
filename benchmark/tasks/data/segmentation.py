"""Parts that the readers of segmentation datasets share: image files paired with label maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from benchmark.tasks.data.base import DataError, Dataset, ImageProgress, Split, damaged, unreadable
from benchmark.tasks.data.images import in_colours, stacked
from methods.losses.predictions import IGNORE_INDEX


class Pair(NamedTuple):
    """A photograph and the map of its pixels' classes."""

    image: Path
    labels: Path


def check_pairs(name: str, pairs: Sequence[Pair], listed_in: Path, fetch: str) -> None:
    """Make sure that a split has images and that both files of every pair exist.

    Raises:
        DataError: naming the first file that is missing, and how many more are.
    """
    if not pairs:
        raise damaged(name, listed_in, "lists nothing", fetch)
    absent = [path for pair in pairs for path in pair if not path.is_file()]
    if absent:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        raise DataError(
            f"{name} is incomplete: '{absent[0]}'{more}, listed in '{listed_in}', is not there; "
            f"fetch it again with: {fetch}"
        )


def read_pairs(
    name: str,
    pairs: Sequence[Pair],
    side: int,
    ids: Mapping[int, int],
    fetch: str,
    decoded: Callable[[int], None] = lambda count: None,
) -> Split:
    """Decode pairs; the shorter side becomes ``side`` and the middle square is kept.

    Images are resampled bilinearly, maps by the nearest pixel.

    Args:
        name: name of the dataset, for messages.
        pairs: image and map files, in the order wanted.
        side: height and width of the result.
        ids: class index, or `IGNORE_INDEX`, of every id that the maps may hold.
        fetch: the command that gets the files, for messages.
        decoded: called with the number of pairs decoded since the last call.

    Returns:
        Images N×3×side×side and maps N×side×side, uint8.

    Raises:
        DataError: naming the file that cannot be read, whose size differs from its image's, or
            that holds an unexpected id.
    """
    table = np.full(256, IGNORE_INDEX, np.uint8)
    table[list(ids)] = list(ids.values())
    images, maps = [], []
    for pair in pairs:
        image = _open(name, pair.image, fetch, "RGB")
        labels = _open(name, pair.labels, fetch)
        if labels.mode not in ("L", "P"):
            raise damaged(name, pair.labels, "is not a map of one id a pixel", fetch)
        if labels.size != image.size:
            sizes = f"{_size(labels)} pixels, its image '{pair.image.name}' {_size(image)}"
            raise damaged(name, pair.labels, f"has {sizes}", fetch)
        found = np.asarray(labels)
        if unknown := sorted(set(np.unique(found).tolist()) - set(ids)):
            shown = ", ".join(map(str, unknown[:5])) + (", …" if len(unknown) > 5 else "")
            expected = ", ".join(map(str, sorted(ids)))
            raise damaged(name, pair.labels, f"holds the ids {shown}; known are {expected}", fetch)
        images.append(np.asarray(_fit(image, side, Image.Resampling.BILINEAR)))
        known = Image.fromarray(table[found])
        maps.append(np.asarray(_fit(known, side, Image.Resampling.NEAREST)))
        decoded(1)
    return Split(stacked(images), torch.from_numpy(np.stack(maps)))


def read_pair_splits(
    name: str,
    train: Sequence[Pair],
    test: Sequence[Pair],
    side: int,
    ids: Mapping[int, int],
    fetch: str,
    tick: ImageProgress,
) -> Dataset:
    """Both splits of a dataset, each read by `read_pairs`."""
    done = 0

    def decoded(count: int) -> None:
        nonlocal done
        done += count
        tick(done, len(train) + len(test))

    return Dataset(*(read_pairs(name, pairs, side, ids, fetch, decoded) for pairs in (train, test)))


def _open(name: str, path: Path, fetch: str, mode: str = "") -> Image.Image:
    try:
        with Image.open(path) as image:
            image.load()
            return in_colours(image, mode) if mode else image
    except Exception as error:  # Pillow raises exceptions of many types on damaged bytes
        raise unreadable(name, path, error, fetch) from None


def _size(image: Image.Image) -> str:
    return f"{image.width}×{image.height}"


def _fit(image: Image.Image, side: int, resample: Any) -> Image.Image:
    scale = side / min(image.size)
    width, height = (max(side, int(length * scale)) for length in image.size)
    left, top = (width - side) // 2, (height - side) // 2
    return image.resize((width, height), resample).crop((left, top, left + side, top + side))
