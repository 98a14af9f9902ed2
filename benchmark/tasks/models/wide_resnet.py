"""Wide residual networks for 32×32 images (Zagoruyko and Komodakis, BMVC 2016)."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PreActivationBlock(nn.Module):
    """BN, ReLU, conv3×3, BN, ReLU, conv3×3, added to the input.

    Where the shape changes, the shortcut is a 1×1 convolution of the activated input, as in the
    authors' code.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        stride: stride of the first convolution and of the shortcut.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        same = inputs == outputs and stride == 1
        self.shortcut = None if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """B×inputs×h×w to B×outputs×h/stride×w/stride."""
        activated = F.relu(self.norm1(x), inplace=True)
        skipped = x if self.shortcut is None else self.shortcut(activated)
        branch: Tensor = self.conv2(F.relu(self.norm2(self.conv1(activated)), inplace=True))
        return branch + skipped


class WideResNet(nn.Module):
    """WRN-d-k: a 3×3 stem of 16 channels and three groups of 16k, 32k and 64k channels.

    Args:
        depth: d, with d − 4 divisible by 6: (d − 4)/6 blocks a group.
        width: k.
        num_classes: K.

    Raises:
        ValueError: when there is no network of that depth.
    """

    def __init__(self, depth: int, width: int, num_classes: int = 10) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6:
            raise ValueError(
                f"there is no wide ResNet of depth {depth}: a depth is 4 more than a multiple of "
                "6, such as 10, 16, 22, 28 or 40"
            )
        self.num_classes = num_classes
        self.num_features = 64 * width
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        channels = [16, 16 * width, 32 * width, 64 * width]
        self.groups = nn.Sequential()
        for group, (inputs, outputs) in enumerate(pairwise(channels)):
            for block in range((depth - 4) // 6):
                first = block == 0
                stride = 2 if first and group > 0 else 1
                self.groups.append(
                    PreActivationBlock(inputs if first else outputs, outputs, stride)
                )
        self.norm = nn.BatchNorm2d(self.num_features)
        self.fc = nn.Linear(self.num_features, num_classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.fc.bias)

    def get_classifier(self) -> nn.Module:
        """The last linear layer."""
        return self.fc

    def forward_features(self, images: Tensor) -> Tensor:
        """B×3×32×32 to B×64k×8×8."""
        return F.relu(self.norm(self.groups(self.conv1(images))), inplace=True)

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """B×64k×h×w to logits B×K, or to the pooled B×64k with ``pre_logits``."""
        pooled = features.mean(dim=(2, 3))
        if pre_logits:
            return pooled
        out: Tensor = self.fc(pooled)
        return out

    def forward(self, images: Tensor) -> Tensor:
        """Logits, B×K."""
        return self.forward_head(self.forward_features(images))


def wide_resnet(depth: int, width: int, num_classes: int = 10) -> WideResNet:
    """WRN-``depth``-``width`` in channels-last layout.

    At K = 10 WRN-40-2 has 2,248,954 parameters and BatchNorm statistics, WRN-16-1 175,994.
    """
    return WideResNet(depth, width, num_classes).to(memory_format=torch.channels_last)
