"""Hooks, and the layer that gives the logits."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def noise(image_shape: tuple[int, int, int]) -> Tensor:
    """Two images, 2×C×H×W, always the same: of a black one several layers may say the same."""
    return torch.randn(2, *image_shape, generator=torch.Generator().manual_seed(0))


def final_layer(network: nn.Module, image_shape: tuple[int, int, int]) -> nn.Module | None:
    """The layer that gives the logits: timm's ``get_classifier``, else found by a forward pass.

    The order in which layers are defined does not tell, nor which of them are used at all.

    Args:
        network: in eval mode.
        image_shape: (C, H, W) of its input.

    Returns:
        The layer; None, where no linear layer's output is the network's.
    """
    if hasattr(network, "get_classifier"):
        layer: nn.Module | None = network.get_classifier()  # type: ignore[operator]
        return layer
    images = noise(image_shape).to(next(network.parameters()))
    name, _, _ = _last_linear(network, images)
    return None if name is None else network.get_submodule(name)


@torch.no_grad()
def _last_linear(network: nn.Module, images: Tensor) -> tuple[str | None, Tensor, Tensor]:
    """Name of the linear layer whose output is the network's, logits, and the layer's input."""
    linear = {name for name, layer in network.named_modules() if isinstance(layer, nn.Linear)}
    seen, logits = _inputs_of(network, linear, images)
    # An auxiliary head may be called after it; of a layer called twice the last call is asked.
    for name, features in reversed(dict(seen).items()):
        if features.dim() == 2 and torch.equal(network.get_submodule(name)(features), logits):
            return name, logits, features
    return None, logits, logits[:, :0]


def _inputs_of(
    network: nn.Module, names: set[str], images: Tensor
) -> tuple[list[tuple[str, Tensor]], Tensor]:
    """What some layers are given while the network looks at images, in order; and its answer."""
    seen: list[tuple[str, Tensor]] = []

    def record(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda layer, inputs: seen.append((name, inputs[0]))

    handles = [
        network.get_submodule(name).register_forward_pre_hook(record(name)) for name in names
    ]
    try:
        return seen, network(images)
    finally:
        for handle in handles:
            handle.remove()


def has_hooks(network: nn.Module) -> bool:
    """Whether somebody listens to a layer: then the layers themselves must be called."""
    return any(
        layer._forward_hooks
        or layer._forward_pre_hooks
        or layer._backward_hooks
        or layer._backward_pre_hooks
        for layer in network.modules()
    )
