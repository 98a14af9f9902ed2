"""Embeddings of the classes' names, for methods that may see them.

They were made once, so that no text model is needed here, by sentence-transformers'
all-MiniLM-L6-v2 (Apache License 2.0; SHA-256 of its weights 53aa5117…28d9db), of the sentences
"a photo of airplane", "a photo of digit zero", "a photo of bright square at the top left", with the
names of `NAMES`: mean over tokens, length 1, kept in half precision.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

TABLE = Path(__file__).with_name("class_text.npz")

_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_CORNERS = ("top left", "top right", "bottom left", "bottom right")

NAMES = {
    "digits": tuple(f"digit {number}" for number in _NUMBERS),
    "cifar10": (
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ),
    "quadrants": tuple(f"bright square at the {corner}" for corner in _CORNERS),
}
"""Names of the classes, in the order of the labels, by table."""


def class_text(table: str) -> Tensor:
    """The embeddings of a table's class names, K×384 in float32, each of length 1.

    Raises:
        KeyError: for a table that is not in `NAMES`.
    """
    with np.load(TABLE) as tables:
        return torch.from_numpy(tables[table].astype(np.float32))
