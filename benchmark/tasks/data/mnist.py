"""MNIST from torchvision's folder layout: the four unpacked files in ``MNIST/raw``."""

from __future__ import annotations

from pathlib import Path

from benchmark.tasks.data.base import DataError, Dataset, Split, check_labels, missing, search_paths
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
    from torchvision.datasets import MNIST  # takes seconds, which prepared data need not wait for

    raw = root / "MNIST" / "raw"
    splits = []
    for train, names in ((True, FILES[:2]), (False, FILES[2:])):
        try:
            source = MNIST(str(root), train=train, download=False)
        except Exception as error:  # torchvision raises whatever the bytes happen to trip over
            raise DataError(
                f"MNIST is damaged: '{raw / names[0]}' or '{names[1]}' cannot be read "
                f"({type(error).__name__}: {_one_line(error)}); fetch it again with: {FETCH}"
            ) from None
        if len(source.data) != len(source.targets):
            raise DataError(
                f"MNIST is damaged: '{raw / names[0]}' has {len(source.data)} images but "
                f"'{names[1]}' has {len(source.targets)} labels; fetch it again with: {FETCH}"
            )
        splits.append(Split(source.data[:, None], source.targets.long()))
    return Dataset(*splits)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or "unexpected end of file"
