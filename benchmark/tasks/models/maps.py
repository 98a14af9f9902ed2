"""Parts that the segmentation networks share."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def upsampled(logits: Tensor, scale: int) -> Tensor:
    """Logits of a map B×K×h×w enlarged bilinearly to full size, B×K×(scale·h)×(scale·w)."""
    if scale == 1:
        return logits
    return F.interpolate(logits, scale_factor=scale, mode="bilinear", align_corners=False)
