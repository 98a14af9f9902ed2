"""Encoded images to arrays."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from benchmark.tasks.data.base import unreadable

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
"""Image files that are looked for in a user's folder."""
MODES = {1: "L", 3: "RGB"}
"""Pillow's name of the colours, by number of channels."""
SIXTEEN = ("PNG", "PPM")
"""Formats whose grey images have at most 16 bits."""


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
        ValueError: when a pixel has no known range.
        Exception: whatever Pillow raises on bytes that are no image.
    """
    with Image.open(io.BytesIO(encoded)) as file:
        image = in_colours(file, mode)
    if size is not None:
        image = ImageOps.fit(image, size[::-1], Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def decode_to_shape(
    encoded: bytes, image_shape: tuple[int, int, int], name: str, where: str
) -> np.ndarray[Any, Any]:
    """Decode a file's bytes to H×W×C, uint8: cropped to the shape's aspect ratio and resized.

    Args:
        encoded: PNG, JPEG or whatever Pillow reads.
        image_shape: C×H×W, with C 1 or 3.
        name: name of the images, for messages.
        where: the place they come from, for messages.

    Raises:
        DataError: naming where, when the bytes are no image.
    """
    try:
        return decode_image(encoded, MODES[image_shape[0]], image_shape[1:])
    except Exception as error:  # Pillow raises whatever the bytes happen to trip over
        raise unreadable(name, where, error) from None


def stacked(images: Sequence[np.ndarray[Any, Any]]) -> Tensor:
    """Images H×W×C of one size as one tensor, N×C×H×W."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()


def in_colours(image: Image.Image, mode: str) -> Image.Image:
    """An opened image in 8 bits a channel, those of 16 bits scaled.

    Raises:
        ValueError: when its pixels are of 32 bits, whose range a file does not say.
    """
    # Pillow itself would clip what is above 255, and opens 16 bits of PGM, and of PNG before
    # version 11, as its 32 bits.
    sixteen = image.mode.startswith("I;16") or (image.mode == "I" and image.format in SIXTEEN)
    if sixteen:
        levels = (np.asarray(image).astype(np.int64) + 128) // 257
        image = Image.fromarray(levels.astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise ValueError("its pixels are of 32 bits and of no known range; store 8 or 16 bits")
    return image.convert(mode)
