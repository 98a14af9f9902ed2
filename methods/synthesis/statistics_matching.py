"""The term of the teacher's BatchNorm statistics, smoothed over the batches that are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from methods.losses.images import LayerStatistics, batch_norm_statistics_loss
from methods.networks.batch_norm import batch_norm_layers


def refuse_without_batch_norm(network: nn.Module, weight: float, parameter: str) -> str | None:
    """Why a term of BatchNorm statistics has nothing to match; None where it has, or is off.

    Args:
        network: the teacher.
        weight: the term's weight.
        parameter: the name of the weight, for the message.
    """
    if not weight or batch_norm_layers(network):
        return None
    return (
        "it needs BatchNorm statistics, and this teacher has no BatchNorm layer; "
        f"{parameter}=0 does without"
    )


class StatisticsMatching:
    """Matches the statistics of the present batch and of those before it to the teacher's.

    With the momentum m, the mean and the variance of the layer's input that are compared are
    (1−m)·present + m·running, so that no batch has to show every class. Gradients reach the present
    batch with the factor 1−m. The first turn has no batch before it, and compares the present
    one alone.
    Source: Fast (Fang et al. 2022), as released; NAYER.

    Args:
        momentum: m, in [0, 1); 0 compares the present batch alone.
    """

    def __init__(self, momentum: float) -> None:
        self.momentum = momentum
        self._running: list[tuple[Tensor, Tensor]] = []

    def loss(self, layers: Sequence[LayerStatistics]) -> Tensor:
        """Σ_l ‖μ_l − μ̂_l‖₂ + ‖σ²_l − σ̂²_l‖₂ of the smoothed statistics, in [0, ∞)."""
        if not self._running:
            return batch_norm_statistics_loss(layers)
        m = self.momentum
        return batch_norm_statistics_loss(
            [
                layer._replace(
                    mean=(1 - m) * layer.mean + m * mean,
                    variance=(1 - m) * layer.variance + m * variance,
                )
                for layer, (mean, variance) in zip(layers, self._before(layers), strict=True)
            ]
        )

    @torch.no_grad()
    def update(self, layers: Sequence[LayerStatistics]) -> None:
        """Add a batch to the running statistics, once in a turn."""
        if not self.momentum:
            return
        m = self.momentum
        present = [(layer.mean.detach(), layer.variance.detach()) for layer in layers]
        if self._running:
            present = [
                (m * mean + (1 - m) * new_mean, m * variance + (1 - m) * new_variance)
                for (mean, variance), (new_mean, new_variance) in zip(
                    self._before(layers), present, strict=True
                )
            ]
        self._running = present

    def state_dict(self) -> dict[str, Any]:
        """The running statistics."""
        return {"running": [list(pair) for pair in self._running]}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Restore ``state``."""
        self._running = [(mean, variance) for mean, variance in state["running"]]

    def _before(self, layers: Sequence[LayerStatistics]) -> list[tuple[Tensor, Tensor]]:
        """The running statistics, on the device of the layers."""
        return [
            (mean.to(layer.mean.device), variance.to(layer.mean.device))
            for layer, (mean, variance) in zip(layers, self._running, strict=True)
        ]
