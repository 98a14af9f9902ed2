"""Encoded images to arrays."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, ImageOps

MODES = {1: "L", 3: "RGB"}
"""Pillow's name of the colours, by number of channels."""


def decode_image(
    encoded: bytes, mode: str, size: tuple[int, int] | None = None
) -> np.ndarray[Any, Any]:
    """Decode a file's bytes.

    Args:
        encoded: PNG, JPEG or whatever Pillow reads.
        mode: Pillow's name of the wanted colours, ``RGB`` or ``L``.
        size: height and width; the image is cropped to their ratio around its middle and resized.

    Returns:
        H×W×C, uint8.

    Raises:
        Exception: whatever Pillow raises on bytes that are no image.
    """
    with Image.open(io.BytesIO(encoded)) as file:
        image = file.convert(mode)
    if size is not None:
        image = ImageOps.fit(image, size[::-1], Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]
