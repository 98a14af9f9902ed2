"""A second network that follows the first slowly."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


class MovingAverage(Generic[Network]):
    """A copy of a network whose parameters are the moving average of the network's own.

    After every step of the network, θ̃ ← m·θ̃ + (1−m)·θ, in place. Buffers are copied: BatchNorm's
    statistics are averages already.

    Args:
        network: as it is at the beginning.
        momentum: m, in [0, 1); 0 repeats the network.

    Attributes:
        network: the copy, whose parameters need no gradient.
    """

    network: Network

    def __init__(self, network: Network, momentum: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.momentum = momentum

    @torch.no_grad()
    def update(self, network: Network) -> None:
        """Move towards ``network``, which has just taken a step."""
        for average, parameter in zip(self.network.parameters(), network.parameters(), strict=True):
            average.lerp_(parameter, 1 - self.momentum)
        for copied, buffer in zip(self.network.buffers(), network.buffers(), strict=True):
            copied.copy_(buffer)
