"""scikit-learn's handwritten digits: 1,797 grey 8×8 images that ship with the package."""

from __future__ import annotations

import numpy as np
import torch

from benchmark.tasks.data.base import Dataset, Split


def read_digits() -> Dataset:
    """1,437 training and 360 test images, 16 grey levels stretched to 0-255, stratified."""
    # They take a second to import, which no other task should wait for.
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    source = load_digits()
    images = np.round(source.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = source.target.astype(np.int64)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=0.2, random_state=0, stratify=labels
    )
    train, test = np.sort(train), np.sort(test)

    def split(rows: np.ndarray) -> Split:
        return Split(torch.from_numpy(images[rows]), torch.from_numpy(labels[rows]))

    return Dataset(split(train), split(test))
