"""A network's stages: where its feature maps have one size, before they become smaller."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from methods.networks.calls import untold

Size = tuple[int, int]
"""Height and width of a feature map."""


@torch.no_grad()
def stages(network: nn.Module, image_shape: tuple[int, int, int]) -> dict[Size, str]:
    """The module that gives the last feature map of every size, in the order of the forward pass.

    Blocks, that is modules made of others, are looked at; single layers only in a network without
    any. So a stage of a ResNet ends with its last block, whose first layers may already look ahead.
    Maps of one position are left out.

    Args:
        network: left in its mode.
        image_shape: (C, H, W) of its input.

    Returns:
        Names for `methods.networks.pre_activations.listening`, by size.
    """
    blocks: dict[Size, str] = {}
    layers: dict[Size, str] = {}

    def note(name: str, module: nn.Module, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output[0, 0].numel() > 1:
            height, width = output.shape[2:]
            found = blocks if next(module.children(), None) is not None else layers
            found[height, width] = name

    handles = [
        module.register_forward_hook(
            lambda module, inputs, output, name=name: note(name, module, output)
        )
        for name, module in network.named_modules()
        if name  # a map that the network itself returns is no hidden one
    ]
    training = network.training
    try:
        device = next(network.parameters()).device
        with untold():
            network.eval()(torch.zeros(1, *image_shape, device=device))
    finally:
        network.train(training)
        for handle in handles:
            handle.remove()
    return blocks or layers


def unlike_stages(teacher: dict[Size, str], student: dict[Size, str]) -> str | None:
    """Why two networks' stages cannot be compared one by one; None where they can."""
    if not teacher:
        return "the teacher has no feature maps to compare attention with"
    if list(teacher) == list(student):
        return None
    return (
        "attention is compared stage by stage, and the teacher's maps are "
        f"{_listed(teacher)}, the student's {_listed(student)}"
    )


def _listed(sizes: dict[Size, str]) -> str:
    return ", ".join(f"{height}×{width}" for height, width in sizes) or "none"
