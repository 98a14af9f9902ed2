"""Weights that make rare classes count as much as common ones."""

from __future__ import annotations

import torch
from torch import Tensor

from methods.losses import IGNORE_INDEX


def median_frequency_weights(labels: Tensor, num_classes: int) -> Tensor:
    """Class weights that make rare classes count: median frequency over a class's frequency.

    A class's frequency is its share of the pixels of those images that show it; void is left out.
    A class that never occurs weighs nothing.
    Source: Eigen and Fergus 2015, Section 4; SegNet (Badrinarayanan et al. 2017), Section 4.

    Args:
        labels: N×H×W maps.
        num_classes: K.

    Returns:
        K float32, on the labels' device.
    """
    maps = [image[image != IGNORE_INDEX].long() for image in labels]
    counts = torch.stack([known.bincount(minlength=num_classes) for known in maps]).double()
    shown = (counts > 0).double() * counts.sum(dim=1, keepdim=True)
    frequency = counts.sum(dim=0) / shown.sum(dim=0).clamp(min=1)
    occurs = frequency > 0
    weights = torch.zeros_like(frequency)
    # The even median of numpy, not torch's lower one.
    weights[occurs] = frequency[occurs].quantile(0.5) / frequency[occurs]
    return weights.float()
