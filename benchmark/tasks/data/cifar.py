"""CIFAR-10 and CIFAR-100 from torchvision's folders of Python pickles, or from parquet.

The folders are ``cifar-10-batches-py`` and ``cifar-100-python``, or ``cifar10`` and ``cifar100``.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from benchmark.tasks.data.base import Dataset, ImageProgress, Split, unreadable
from benchmark.tasks.data.downloaded import PublishedImages

FETCH = "python -c \"from torchvision.datasets import {0}; {0}('data', download=True)\""
CIFAR10_FILES = PublishedImages(
    name="CIFAR-10",
    folder="cifar-10-batches-py",
    files=("batches.meta", *(f"data_batch_{number}" for number in range(1, 6)), "test_batch"),
    parquet_folder="cifar10",
    parquet_subfolder="plain_text",
    num_classes=10,
    fetch=FETCH.format("CIFAR10"),
)
CIFAR100_FILES = PublishedImages(
    name="CIFAR-100",
    folder="cifar-100-python",
    files=("meta", "train", "test"),
    parquet_folder="cifar100",
    parquet_subfolder="cifar100",
    num_classes=100,
    fetch=FETCH.format("CIFAR100"),
)


def read_cifar10(data_dir: Path | None = None) -> Dataset:
    """50,000 training and 10,000 test images, 32×32 in colour.

    Raises:
        DataError: when it is missing or damaged, or a label is no class.
    """
    return CIFAR10_FILES.read(data_dir, partial(_decode, CIFAR10_FILES))


def read_cifar100(data_dir: Path | None = None) -> Dataset:
    """50,000 training and 10,000 test images, 32×32 in colour, of 100 fine classes.

    Raises:
        DataError: when it is missing or damaged, or a label is no class.
    """
    return CIFAR100_FILES.read(data_dir, partial(_decode, CIFAR100_FILES))


def _decode(files: PublishedImages, folder: Path, _: ImageProgress) -> Dataset:
    # torchvision takes seconds to import, which prepared data need not wait for.
    from torchvision.datasets import CIFAR10, CIFAR100
    from torchvision.datasets.utils import check_integrity

    reader = CIFAR10 if files is CIFAR10_FILES else CIFAR100
    for name, md5 in (*reader.train_list, *reader.test_list):
        if not check_integrity(folder / name, md5):
            raise unreadable(
                files.name, folder / name, "its md5 is not the published one", files.fetch
            )
    splits = []
    for train in (True, False):
        try:
            source = reader(str(folder.parent), train=train, download=False)
            images = torch.from_numpy(source.data).permute(0, 3, 1, 2).contiguous()
            splits.append(Split(images, torch.tensor(source.targets)))
        except Exception as error:  # torchvision raises whatever the bytes happen to trip over
            raise unreadable(files.name, folder, error, files.fetch) from None
    return Dataset(*splits)
