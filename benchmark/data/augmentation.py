"""Random changes of training images that keep their class, or change their map with them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.losses import IGNORE_INDEX

PADDING = 4
SCALES = (0.5, 2.0)
"""Least and largest random scale, as in the segmentation literature."""


def crop_flip(images: Tensor, stream: torch.Generator) -> Tensor:
    """Pad by 4 black pixels, crop back at a random place, mirror every other image or so.

    The augmentation of the CIFAR literature, drawn for each image on its own.

    Args:
        images: B×C×H×W as stored (before normalisation), on any device.
        stream: a CPU generator, so that every device sees the same crops.

    Returns:
        B×C×H×W of the same dtype, in channels-last layout.
    """
    batch, _, height, width = images.shape
    top = torch.randint(0, 2 * PADDING + 1, (batch, 1), generator=stream)
    left = torch.randint(0, 2 * PADDING + 1, (batch, 1), generator=stream)
    mirrored = torch.rand(batch, 1, generator=stream) < 0.5
    rows = top + torch.arange(height)
    columns = left + torch.arange(width)
    columns = torch.where(mirrored, columns.flip(1), columns)
    padded = F.pad(images, (PADDING,) * 4).permute(0, 2, 3, 1)
    device = images.device
    crops = padded[
        torch.arange(batch, device=device)[:, None, None],
        rows.to(device)[:, :, None],
        columns.to(device)[:, None, :],
    ]
    return crops.permute(0, 3, 1, 2)


def scale_crop_flip(
    images: Tensor, labels: Tensor, stream: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Scale every image and its map by the same random factor, crop or pad, mirror half of them.

    The augmentation of the segmentation literature, drawn for each image on its own. What lies
    beyond an image is black, and void in its map.

    Args:
        images: B×C×H×W as stored, on any device; resampled bilinearly.
        labels: B×H×W uint8 maps; the nearest label is taken, so that no class is made up.
        stream: a CPU generator, so that every device sees the same crops.

    Returns:
        Images and labels of the same shapes and types.
    """
    draw = torch.rand(4, len(images), generator=stream)
    scale = SCALES[0] + (SCALES[1] - SCALES[0]) * draw[0]
    mirror = torch.where(draw[1] < 0.5, -1.0, 1.0)
    # In grid_sample's coordinates an image spans 2 and the window 2 / scale: its centre may move
    # by what one is larger than the other.
    right, down = (2 * draw[2:] - 1) * (1 - 1 / scale).abs()
    zero = torch.zeros_like(scale)
    affine = torch.stack([mirror / scale, zero, right, zero, 1 / scale, down], dim=1)
    grid = F.affine_grid(
        affine.view(-1, 2, 3).to(images.device), list(images.shape), align_corners=False
    )
    pixels = F.grid_sample(images.float(), grid, align_corners=False)
    # Outside is zero; so class k travels as k + 1, and void as zero.
    shifted = torch.where(labels == IGNORE_INDEX, 0, labels.float() + 1)
    moved = F.grid_sample(shifted[:, None], grid, mode="nearest", align_corners=False)[:, 0]
    maps = torch.where(moved == 0, IGNORE_INDEX, moved - 1)
    return pixels.round().to(images.dtype), maps.to(labels.dtype)
