"""Looking inside a network: its hooks, and the layer that gives the logits."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from methods.networks.calls import untold


def noise(image_shape: tuple[int, int, int]) -> Tensor:
    """Two images, 2×C×H×W, always the same; for black ones several layers could answer alike."""
    return torch.randn(2, *image_shape, generator=torch.Generator().manual_seed(0))


def final_layer(network: nn.Module, image_shape: tuple[int, int, int]) -> nn.Module | None:
    """The layer that gives the logits: timm's ``get_classifier``, else found by a forward pass.

    The order of definition does not tell which layer it is: a layer may be defined and not used.

    Args:
        network: in eval mode.
        image_shape: (C, H, W) of its input.

    Returns:
        The layer; None where the network does not end in a linear layer.
    """
    if hasattr(network, "get_classifier"):
        layer: nn.Module | None = network.get_classifier()  # type: ignore[operator]
        return layer
    images = noise(image_shape).to(next(network.parameters()))
    name, _, _ = _last_linear(network, images)
    return None if name is None else network.get_submodule(name)


@torch.no_grad()
def _last_linear(network: nn.Module, images: Tensor) -> tuple[str | None, Tensor, Tensor]:
    """The name of the linear layer that gives the logits, the logits, and the layer's input."""
    linear = {name for name, layer in network.named_modules() if isinstance(layer, nn.Linear)}
    seen, logits = _inputs_of(network, linear, images)
    # An auxiliary head may be called after it; a layer called twice is judged by its last call.
    for name, features in reversed(dict(seen).items()):
        if features.dim() == 2 and torch.equal(network.get_submodule(name)(features), logits):
            return name, logits, features
    return None, logits, logits[:, :0]


def _inputs_of(
    network: nn.Module, names: set[str], images: Tensor
) -> tuple[list[tuple[str, Tensor]], Tensor]:
    """The inputs of some layers during a forward pass, in order of the calls, and the logits."""
    seen: list[tuple[str, Tensor]] = []

    def record(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda layer, inputs: seen.append((name, inputs[0]))

    handles = [
        network.get_submodule(name).register_forward_pre_hook(record(name)) for name in names
    ]
    try:
        with untold():
            return seen, network(images)
    finally:
        for handle in handles:
            handle.remove()


def has_hooks(network: nn.Module) -> bool:
    """Whether any layer has hooks, so that the layers themselves must be called."""
    return any(
        layer._forward_hooks
        or layer._forward_pre_hooks
        or layer._backward_hooks
        or layer._backward_pre_hooks
        for layer in network.modules()
    )
