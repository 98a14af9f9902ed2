"""SVHN, cropped digits: torchvision's .mat files, or parquet, in the folder ``svhn``."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmark.tasks.data.base import Dataset, ImageProgress, Split, unreadable
from benchmark.tasks.data.downloaded import PublishedImages

FILES = {"train": "train_32x32.mat", "test": "test_32x32.mat"}
FETCH = (
    'python -c "from torchvision.datasets import SVHN; '
    "[SVHN('data/svhn', split, download=True) for split in ('train', 'test')]\""
)
SVHN_FILES = PublishedImages(
    name="SVHN",
    folder="svhn",
    files=tuple(FILES.values()),
    parquet_folder="svhn",
    parquet_subfolder="cropped_digits",
    num_classes=10,
    fetch=FETCH,
)


def read_svhn(data_dir: Path | None = None) -> Dataset:
    """73,257 training and 26,032 test images, 32×32 in colour; the ``extra`` split is not used.

    Raises:
        DataError: when it is missing or damaged, or a label is no class.
    """
    return SVHN_FILES.read(data_dir, _decode)


def _decode(folder: Path, _: ImageProgress) -> Dataset:
    # torchvision takes seconds to import, which prepared data need not wait for.
    from torchvision.datasets import SVHN

    splits = []
    for split, name in FILES.items():
        try:
            source = SVHN(str(folder), split=split, download=False)
        except Exception as error:  # torchvision raises exceptions of many types on damaged bytes
            raise unreadable("SVHN", folder / name, error, FETCH) from None
        images = torch.from_numpy(source.data).contiguous()
        splits.append(Split(images, torch.from_numpy(source.labels)))
    return Dataset(*splits)
