"""The network that judges images: small, unlike any teacher here, with features at four scales."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn


class Critic(nn.Module):
    """Four times conv3×3, BatchNorm, ReLU, halving the image in between; mean pool, linear K.

    The stages have w, 2w, 4w and 8w channels; w is 16 for grey images and 32 for colour.

    Args:
        num_classes: K.
        channels: channels of the image, whose sides have at least 8 pixels.
    """

    def __init__(self, num_classes: int, channels: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        width = 16 if channels == 1 else 32
        widths = [channels, width, 2 * width, 4 * width, 8 * width]
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 3, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            )
            for before, after in pairwise(widths)
        )
        self.classifier = nn.Linear(widths[-1], num_classes)

    def stages(self, images: Tensor) -> list[Tensor]:
        """The feature map of every stage, B×w×H×W to B×8w×H/8×W/8."""
        maps: list[Tensor] = []
        for block in self.blocks:
            maps.append(block(F.max_pool2d(maps[-1], 2) if maps else images))
        return maps

    def forward_features(self, images: Tensor) -> Tensor:
        """B×C×H×W to B×8w×H/8×W/8."""
        return self.stages(images)[-1]

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """A feature map to logits B×K, or to its mean B×8w with ``pre_logits``."""
        pooled = features.mean(dim=(2, 3))
        return pooled if pre_logits else self.classifier(pooled)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, B×K."""
        return self.forward_head(self.forward_features(images))
