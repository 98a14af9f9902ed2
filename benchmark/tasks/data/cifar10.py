"""CIFAR-10 from torchvision's folder ``cifar-10-batches-py``, or from parquet in ``cifar10``."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmark.tasks.data.base import Dataset, ImageProgress, Split, unreadable
from benchmark.tasks.data.downloaded import PublishedImages

FETCH = "python -c \"from torchvision.datasets import CIFAR10; CIFAR10('data', download=True)\""
CIFAR10_FILES = PublishedImages(
    name="CIFAR-10",
    folder="cifar-10-batches-py",
    files=("batches.meta", *(f"data_batch_{number}" for number in range(1, 6)), "test_batch"),
    parquet_folder="cifar10",
    parquet_subfolder="plain_text",
    num_classes=10,
    fetch=FETCH,
)


def read_cifar10(data_dir: Path | None = None) -> Dataset:
    """50,000 training and 10,000 test images, 32×32 in colour.

    Raises:
        DataError: when it is missing or damaged, or a label is no class.
    """
    return CIFAR10_FILES.read(data_dir, _decode)


def _decode(folder: Path, _: ImageProgress) -> Dataset:
    # torchvision takes seconds to import, which prepared data need not wait for.
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import check_integrity

    for name, md5 in (*CIFAR10.train_list, *CIFAR10.test_list):
        if not check_integrity(folder / name, md5):
            raise unreadable("CIFAR-10", folder / name, "its md5 is not the published one", FETCH)
    splits = []
    for train in (True, False):
        try:
            source = CIFAR10(str(folder.parent), train=train, download=False)
            images = torch.from_numpy(source.data).permute(0, 3, 1, 2).contiguous()
            splits.append(Split(images, torch.tensor(source.targets)))
        except Exception as error:  # torchvision raises whatever the bytes happen to trip over
            raise unreadable("CIFAR-10", folder, error, FETCH) from None
    return Dataset(*splits)
