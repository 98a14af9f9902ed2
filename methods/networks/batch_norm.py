"""Statistics of the inputs of a network's layers, without changing the network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import Function, once_differentiable

from methods.losses.images import LayerStatistics


def batch_norm_layers(network: nn.Module) -> list[nn.BatchNorm2d]:
    """The BatchNorm2d layers that keep statistics of their training data, in order."""
    return [
        layer
        for layer in network.modules()
        if isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None
    ]


@contextmanager
def watch_batch_norms(network: nn.Module) -> Iterator[list[LayerStatistics]]:
    """Within the block every forward pass appends the statistics of each layer's input to a list.

    The caller clears the list before the pass it is interested in. Variances are biased, as in the
    released code of DeepInversion. Gradients flow to the input.
    """
    seen: list[LayerStatistics] = []

    def record(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, nn.BatchNorm2d)
        assert layer.running_mean is not None
        assert layer.running_var is not None
        variance, mean = channel_moments(inputs[0])
        seen.append(LayerStatistics(mean, variance, layer.running_mean, layer.running_var))

    handles = [layer.register_forward_pre_hook(record) for layer in batch_norm_layers(network)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def watch_instance_means(layers: Iterable[nn.Module]) -> Iterator[list[Tensor]]:
    """Within the block every forward pass appends the mean of each layer's input to a list.

    The mean is over the positions of an image's feature map: B×C for an input of B×C×H×W, in
    float32, with gradients to the input. The caller clears the list before the next pass.
    """
    seen: list[Tensor] = []

    def record(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0].float().mean(dim=(2, 3)))

    handles = [layer.register_forward_pre_hook(record) for layer in layers]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def channel_moments(activations: Tensor) -> tuple[Tensor, Tensor]:
    """Biased variance and mean of every channel, in float32 or wider.

    A CPU computes them by the kernel of BatchNorm in train mode: `torch.var_mean` of tensors whose
    channels are innermost takes longer, forward and backward.

    Args:
        activations: B×C×H×W.

    Returns:
        Two tensors of C values.
    """
    if activations.device.type == "cpu":
        variance, mean = _ChannelMoments.apply(activations)
        return variance, mean
    return torch.var_mean(activations.float(), dim=(0, 2, 3), correction=0)


class _ChannelMoments(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        dtype = torch.promote_types(x.dtype, torch.float32)
        # With running statistics of this type it also sums bfloat16 activations in float32.
        like = x.new_zeros(x.shape[1], dtype=dtype)
        mean, variance = torch.batch_norm_update_stats(x, like, like.clone(), 0.0)
        ctx.save_for_backward(x, mean)
        return variance, mean

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_variance: Tensor, of_mean: Tensor) -> Tensor:
        x, mean = ctx.saved_tensors
        count = x.numel() // x.shape[1]
        scale = 2 * of_variance / count
        shift = of_mean / count - scale * mean
        gradient = torch.addcmul(shift[:, None, None], x, scale[:, None, None])
        return gradient.to(x.dtype)
