"""SVHN, cropped digits: torchvision's .mat files, or parquet, in the folder ``svhn``."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from benchmark.tasks.data.base import Dataset, Split, check_labels, damaged, missing, search_paths
from benchmark.tasks.data.parquet import parquet_files, read_parquet_splits
from benchmark.tasks.data.prepared import Tick, prepared

FILES = {"train": "train_32x32.mat", "test": "test_32x32.mat"}
NUM_CLASSES = 10
FETCH = (
    'python -c "from torchvision.datasets import SVHN; '
    "[SVHN('data/svhn', split, download=True) for split in ('train', 'test')]\""
)


def read_svhn(data_dir: Path | None = None) -> Dataset:
    """73,257 training and 26,032 test images, 32×32 in colour; the ``extra`` split is not used.

    Raises:
        DataError: when it is missing or damaged, or a label is no class.
    """
    places = search_paths(data_dir)
    for place in places:
        folder = place / "svhn"
        matlab = [folder / name for name in FILES.values()]
        if all(path.is_file() for path in matlab):
            decode = partial(_from_torchvision, folder)
            return _checked(folder, prepared("SVHN", matlab, decode))
        train, test = (parquet_files(folder, split, "cropped_digits") for split in FILES)
        if train and test:
            decode = partial(read_parquet_splits, "SVHN", train, test, NUM_CLASSES, FETCH)
            return _checked(folder, prepared("SVHN", [*train, *test], decode))
    wanted = [*(f"svhn/{name}" for name in FILES.values()), "svhn/train*.parquet and test*.parquet"]
    raise missing("SVHN", wanted, places, FETCH)


def _checked(folder: Path, data: Dataset) -> Dataset:
    remedy = f"fetch it again with: {FETCH}"
    return check_labels(f"SVHN in '{folder}'", data, NUM_CLASSES, remedy)


def _from_torchvision(folder: Path, _: Tick) -> Dataset:
    from torchvision.datasets import SVHN  # takes seconds, which prepared data need not wait for

    splits = []
    for split, name in FILES.items():
        try:
            source = SVHN(str(folder), split=split, download=False)
        except Exception as error:  # torchvision raises whatever the bytes happen to trip over
            raise damaged("SVHN", folder / name, error, FETCH) from None
        images = torch.from_numpy(source.data).contiguous()
        splits.append(Split(images, torch.from_numpy(source.labels)))
    return Dataset(*splits)
