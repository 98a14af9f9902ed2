"""MNIST from torchvision's folder layout: the four unpacked files in ``MNIST/raw``."""

from __future__ import annotations

from pathlib import Path

from benchmark.tasks.data.base import (
    Dataset,
    Split,
    check_labels,
    damaged,
    missing,
    search_paths,
    unreadable,
)
from benchmark.tasks.data.prepared import prepared

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
NUM_CLASSES = 10
FETCH = "python -c \"from torchvision.datasets import MNIST; MNIST('data', download=True)\""


def find_mnist(data_dir: Path | None) -> Path:
    """The folder that holds ``MNIST/raw``.

    Raises:
        DataError: naming the missing files and the places searched.
    """
    places = search_paths(data_dir)
    absent = list(FILES)
    for place in places:
        lacking = [name for name in FILES if not (place / "MNIST" / "raw" / name).is_file()]
        if not lacking:
            return place
        absent = min(absent, lacking, key=len)
    raise missing("MNIST", [f"MNIST/raw/{name}" for name in absent], places, FETCH)


def read_mnist(data_dir: Path | None = None) -> Dataset:
    """60,000 training and 10,000 test images, 28×28 grey.

    Raises:
        DataError: when a file is missing or truncated, or a label is no class.
    """
    root = find_mnist(data_dir)
    raw = root / "MNIST" / "raw"
    data = prepared("MNIST", [raw / name for name in FILES], lambda tick: _decode(root))
    return check_labels(f"MNIST in '{raw}'", data, NUM_CLASSES, f"fetch it again with: {FETCH}")


def _decode(root: Path) -> Dataset:
    # torchvision takes seconds to import, which prepared data need not wait for.
    from torchvision.datasets import MNIST

    raw = root / "MNIST" / "raw"
    splits = []
    for train, names in ((True, FILES[:2]), (False, FILES[2:])):
        try:
            source = MNIST(str(root), train=train, download=False)
        except Exception as error:  # torchvision raises whatever the bytes happen to trip over
            raise unreadable("MNIST", f"'{raw / names[0]}' or '{names[1]}'", error, FETCH) from None
        if len(source.data) != len(source.targets):
            counts = f"{len(source.data)} images but '{names[1]}' has {len(source.targets)} labels"
            raise damaged("MNIST", raw / names[0], f"has {counts}", FETCH)
        splits.append(Split(source.data[:, None], source.targets.long()))
    return Dataset(*splits)
