"""CIFAR-10 from torchvision's folder ``cifar-10-batches-py``, or from parquet in ``cifar10``."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from benchmark.tasks.data.base import Dataset, Split, check_labels, damaged, missing, search_paths
from benchmark.tasks.data.parquet import parquet_files, read_parquet_splits
from benchmark.tasks.data.prepared import Tick, prepared

FOLDER = "cifar-10-batches-py"
FILES = (
    "batches.meta",
    *(f"data_batch_{number}" for number in range(1, 6)),
    "test_batch",
)
NUM_CLASSES = 10
FETCH = "python -c \"from torchvision.datasets import CIFAR10; CIFAR10('data', download=True)\""


def read_cifar10(data_dir: Path | None = None) -> Dataset:
    """50,000 training and 10,000 test images, 32×32 in colour.

    Raises:
        DataError: when it is missing or damaged, or a label is no class.
    """
    places = search_paths(data_dir)
    for place in places:
        pickled = [place / FOLDER / name for name in FILES]
        if all(path.is_file() for path in pickled):
            decode = partial(_from_torchvision, place)
            return _checked(place / FOLDER, prepared("CIFAR-10", pickled, decode))
        folder = place / "cifar10"
        train, test = (parquet_files(folder, split, "plain_text") for split in ("train", "test"))
        if train and test:
            decode = partial(read_parquet_splits, "CIFAR-10", train, test, NUM_CLASSES, FETCH)
            return _checked(folder, prepared("CIFAR-10", [*train, *test], decode))
    wanted = [f"{FOLDER}/data_batch_1 …", "cifar10/train*.parquet and test*.parquet"]
    raise missing("CIFAR-10", wanted, places, FETCH)


def _checked(folder: Path, data: Dataset) -> Dataset:
    remedy = f"fetch it again with: {FETCH}"
    return check_labels(f"CIFAR-10 in '{folder}'", data, NUM_CLASSES, remedy)


def _from_torchvision(root: Path, _: Tick) -> Dataset:
    # It takes seconds to import, which prepared data need not wait for.
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import check_integrity

    for name, md5 in (*CIFAR10.train_list, *CIFAR10.test_list):
        path = root / FOLDER / name
        if not check_integrity(path, md5):
            raise damaged("CIFAR-10", path, "its md5 is not the published one", FETCH)
    splits = []
    for train in (True, False):
        try:
            source = CIFAR10(str(root), train=train, download=False)
            images = torch.from_numpy(source.data).permute(0, 3, 1, 2).contiguous()
            splits.append(Split(images, torch.tensor(source.targets)))
        except Exception as error:  # torchvision raises whatever the bytes happen to trip over
            raise damaged("CIFAR-10", root / FOLDER, error, FETCH) from None
    return Dataset(*splits)
