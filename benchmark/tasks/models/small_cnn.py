"""A small convolutional network with BatchNorm, for the embedded tasks."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class SmallCNN(nn.Module):
    """conv3×3 w, max-pool, conv3×3 2w, max-pool, conv3×3 4w, linear K; BatchNorm and ReLU.

    Args:
        num_classes: K.
        image_shape: (C, H, W); H and W divisible by 4.
        width: channels w of the first convolution.
    """

    def __init__(
        self, num_classes: int, image_shape: tuple[int, int, int], width: int = 16
    ) -> None:
        super().__init__()
        in_channels, height, image_width = image_shape
        self.num_classes = num_classes
        self.conv1 = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(2 * width)
        self.conv3 = nn.Conv2d(2 * width, 4 * width, 3, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(4 * width)
        self.classifier = nn.Linear(4 * width * (height // 4) * (image_width // 4), num_classes)

    def forward_features(self, images: Tensor) -> Tensor:
        """B×C×H×W to B×4w×H/4×W/4."""
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(images))), 2)
        x = F.max_pool2d(F.relu(self.norm2(self.conv2(x))), 2)
        return F.relu(self.norm3(self.conv3(x)))

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """B×4w×h×w to logits B×K, or to the flattened features with ``pre_logits``."""
        x = features.flatten(1)
        if pre_logits:
            return x
        out: Tensor = self.classifier(x)
        return out

    def forward(self, images: Tensor) -> Tensor:
        """Logits, B×K."""
        return self.forward_head(self.forward_features(images))
