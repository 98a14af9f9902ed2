"""Seeing what enters a network's BatchNorm layers, without changing the network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn, var_mean

from methods.losses import LayerStatistics


def batch_norm_layers(network: nn.Module) -> list[nn.BatchNorm2d]:
    """The BatchNorm2d layers that keep statistics of their training data, in order."""
    return [
        layer
        for layer in network.modules()
        if isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None
    ]


@contextmanager
def watch_batch_norms(network: nn.Module) -> Iterator[list[LayerStatistics]]:
    """Within the block a list is filled with the statistics of every layer a forward pass enters.

    The caller clears the list before the pass it is interested in. Variances are biased, as in the
    released code of DeepInversion. Gradients flow to the input.
    """
    seen: list[LayerStatistics] = []

    def record(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, nn.BatchNorm2d)
        assert layer.running_mean is not None
        assert layer.running_var is not None
        variance, mean = var_mean(inputs[0].float(), dim=(0, 2, 3), correction=0)
        seen.append(LayerStatistics(mean, variance, layer.running_mean, layer.running_var))

    handles = [layer.register_forward_pre_hook(record) for layer in batch_norm_layers(network)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
