"""PASCAL VOC 2012's segmentation part in torchvision's folder ``VOCdevkit/VOC2012``."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from benchmark.tasks.data.base import Dataset, ImageProgress, missing, search_paths
from benchmark.tasks.data.prepared import prepared
from benchmark.tasks.data.segmentation import Pair, check_pairs, read_pair_splits
from methods.losses.predictions import IGNORE_INDEX

FOLDER = Path("VOCdevkit") / "VOC2012"
LISTS = tuple(Path("ImageSets") / "Segmentation" / f"{split}.txt" for split in ("train", "val"))
CLASSES: tuple[str, ...] = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "dining table",
    "dog",
    "horse",
    "motorbike",
    "person",
    "potted plant",
    "sheep",
    "sofa",
    "train",
    "tv",
)
FETCH = (
    'python -c "from torchvision.datasets import VOCSegmentation; '
    "VOCSegmentation('data', download=True)\""
)


def read_voc(data_dir: Path | None, side: int) -> Dataset:
    """1,464 training images and the 1,449 of ``val`` as test images, middle squares of ``side``.

    Raises:
        DataError: when files are missing, damaged, or do not belong together.
    """
    places = search_paths(data_dir)
    for place in places:
        root = place / FOLDER
        if all((root / name).is_file() for name in LISTS):
            train, test = (_listed(root, root / name) for name in LISTS)
            sources = [root / name for name in LISTS]
            sources += [path for pair in (*train, *test) for path in pair]
            decode = partial(_decode, train, test, side)
            return prepared("VOC-2012", sources, decode, variant=side)
    raise missing("PASCAL VOC 2012", [str(FOLDER / name) for name in LISTS], places, FETCH)


def voc_palette(count: int = len(CLASSES)) -> tuple[tuple[int, int, int], ...]:
    """The dataset's colours: the bits of a class's index, dealt out to red, green and blue."""
    colours = []
    for index in range(count):
        red, green, blue = (
            sum((index >> (3 * place + channel) & 1) << (7 - place) for place in range(3))
            for channel in range(3)
        )
        colours.append((red, green, blue))
    return tuple(colours)


def _listed(root: Path, listing: Path) -> list[Pair]:
    names = listing.read_text(encoding="utf-8").split()
    pairs = [
        Pair(root / "JPEGImages" / f"{name}.jpg", root / "SegmentationClass" / f"{name}.png")
        for name in names
    ]
    check_pairs("PASCAL VOC 2012", pairs, listing, FETCH)
    return pairs


def _decode(train: list[Pair], test: list[Pair], side: int, tick: ImageProgress) -> Dataset:
    ids = {index: index for index in range(len(CLASSES))} | {IGNORE_INDEX: IGNORE_INDEX}
    return read_pair_splits("PASCAL VOC 2012", train, test, side, ids, FETCH, tick)
