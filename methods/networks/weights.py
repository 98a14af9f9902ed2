"""Weights of a network: how they begin, and what holds their size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization


def uniform_initialize(network: nn.Module, bound: float) -> None:
    """Weights of convolutions and linear layers from U(−bound, bound), their biases 0."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.uniform_(layer.weight, -bound, bound)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def normalize_spectra(network: nn.Module) -> None:
    """Give every convolution of the network a `SpectralNorm`."""
    for layer in list(network.modules()):
        if isinstance(layer, nn.Conv2d):
            register_parametrization(layer, "weight", SpectralNorm(layer.weight))


class SpectralNorm(nn.Module):
    """A weight divided by an estimate of its largest singular value.

    In train mode every pass takes one step of the power method. It is kept in passes with gradients
    only: torch's own keeps it in all of them, so that looking at a generator's images would change
    how it is trained. It computes in float32 under autocast too.
    Source: Miyato et al. 2018, Algorithm 1.

    Args:
        weight: the layer's, O×...; a matrix with O rows.
    """

    u: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("u", F.normalize(torch.randn(len(weight)), dim=0))

    def forward(self, weight: Tensor) -> Tensor:
        with torch.autocast(weight.device.type, enabled=False):
            matrix = weight.flatten(1)
            with torch.no_grad():
                v = F.normalize(matrix.t() @ self.u, dim=0)
                u = F.normalize(matrix @ v, dim=0)
            if self.training and torch.is_grad_enabled():
                self.u.copy_(u)
            return weight / (u @ (matrix @ v))
