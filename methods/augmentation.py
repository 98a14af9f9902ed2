"""Random views of images: more to learn from than the images themselves."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.base import Run
from methods.sources import ImageBank

SCALE, DEGREES, SHIFT, NOISE = 0.2, 15.0, 0.15, 0.1
"""Most by which a view is scaled, rotated and moved (in image sizes); the noise's deviation."""

CHUNK = 4096


def random_views(images: Tensor, stream: torch.Generator, flip: bool = False) -> Tensor:
    """Every image scaled, rotated and moved at random, with a little normal noise.

    Args:
        images: B×C×H×W in the teacher's input space; what a view sees beyond the border is the
            mirrored image.
        stream: of the random numbers, on the images' device.
        flip: mirror half of them at random, left to right.

    Returns:
        B×C×H×W.
    """
    scale, turn, right, down = 2 * torch.rand(4, len(images), generator=stream) - 1
    # In grid_sample's coordinates an image is 2 wide and high.
    angle, right, down = turn * math.radians(DEGREES), 2 * SHIFT * right, 2 * SHIFT * down
    cos, sin = angle.cos() / (1 + SCALE * scale), angle.sin() / (1 + SCALE * scale)
    affine = torch.stack([cos, -sin, right, sin, cos, down], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(affine, list(images.shape), align_corners=False)
    if flip:
        mirrored = torch.rand(len(images), generator=stream) < 0.5
        images = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(3), images)
    views = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    return views + NOISE * torch.randn(views.shape, generator=stream)


def with_views(bank: ImageBank, count: int, run: Run, flip: bool = False) -> ImageBank:
    """The bank with ``count`` random views of every training image; validation images stay alone.

    The views are made once, so that the teacher labels them once.
    """
    if not count:
        return bank
    stream = run.stream("augmentation")
    train, held_out = bank.images.split([len(bank), bank.held_out])
    views = [
        random_views(part.float(), stream, flip).to(train.dtype)
        for _ in range(count)
        for part in train.split(CHUNK)
    ]
    run.ledger.synthetic_images += count * len(train)
    return ImageBank(torch.cat([train, *views, held_out]), bank.held_out, device=bank.device)
