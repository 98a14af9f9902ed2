"""ResNets for 32×32 images: timm's, with the stem the CIFAR literature uses.

Convolutions start as in timm and He et al. 2015: normal, with variance 2 / fan-out. The released
code of DAFL, RDSKD and DeepInversion keeps torch's default, uniform with variance 1 / (3 fan-in).
"""

from __future__ import annotations

from typing import Any

import torch
from timm.models.resnet import BasicBlock, ResNet
from torch import nn


def cifar_resnet(layers: tuple[int, int, int, int], num_classes: int = 10) -> nn.Module:
    """timm's ResNet of basic blocks behind a 3×3 convolution of stride 1 without max-pooling.

    Args:
        layers: blocks in each of the four stages of 64, 128, 256 and 512 channels.
        num_classes: K.

    Returns:
        The network in channels-last layout.
    """
    block: Any = BasicBlock
    # The last BatchNorm of a branch starts at one, as in the implementations the published numbers
    # come from; timm would start it at zero.
    network: Any = ResNet(block, layers, num_classes, zero_init_last=False)
    network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    network.maxpool = nn.Identity()
    out: nn.Module = network.to(memory_format=torch.channels_last)
    return out


def resnet34(num_classes: int = 10) -> nn.Module:
    """ResNet-34: at K = 10, 21,299,146 parameters and BatchNorm statistics."""
    return cifar_resnet((3, 4, 6, 3), num_classes)


def resnet18(num_classes: int = 10) -> nn.Module:
    """ResNet-18: at K = 10, 11,183,562 parameters and BatchNorm statistics."""
    return cifar_resnet((2, 2, 2, 2), num_classes)
