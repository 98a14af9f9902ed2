"""Random changes of training images that keep their class."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

PADDING = 4


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
