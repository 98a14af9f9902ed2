"""Dropout with filters that stay: the units that are silent in each image, drawn once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from methods.networks.calls import untold

LAYERS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
"""The layers that a filter replaces; all but the first silence whole channels."""


def dropout_layers(network: nn.Module) -> dict[str, nn.Module]:
    """The layers of ``network`` that drop something in training, by name."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, LAYERS) and module.p > 0
    }


class DropoutFilters:
    """A filter of zeros and ones for every image and every dropout layer of a network.

    A unit is kept with probability 1 − p, p the layer's own. What is kept is not multiplied by
    dropout's 1 / (1 − p), as in the released code of Lopes et al., 2017.

    Args:
        network: in eval mode, with at least one dropout layer.
        image: 1×C×H×W on the network's device, to learn the layers' shapes.

    Raises:
        ValueError: when the network has no dropout layer, or an image passes none.
    """

    def __init__(self, network: nn.Module, image: Tensor) -> None:
        self.network = network
        self.layers = dropout_layers(network)
        shapes: dict[str, torch.Size] = {}

        def see(name: str, module: nn.Module, inputs: Any, output: Tensor) -> None:
            shapes[name] = output.shape[1:]

        with _hooked(self.layers, see), torch.no_grad(), untold():
            network(image)
        if not shapes:
            raise ValueError("no dropout layer is used in the teacher's forward pass")
        self.shapes = {
            name: shape if isinstance(self.layers[name], nn.Dropout) else _channels(shape)
            for name, shape in shapes.items()
        }
        self.filters: dict[str, Tensor] = {}
        self.images = slice(None)
        """The images of the batch that the next forward pass is of."""

    def draw(self, count: int, stream: torch.Generator) -> None:
        """New filters for a batch of ``count`` images."""
        self.filters = {
            name: (torch.rand(count, *shape, generator=stream) >= _rate(self.layers[name])).float()
            for name, shape in self.shapes.items()
        }

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block the layers multiply by the filters of ``images``."""

        def apply(name: str, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
            if self.filters[name].device != output.device:
                self.filters[name] = self.filters[name].to(output.device)
            return output * self.filters[name][self.images].to(output.dtype)

        with _hooked({name: self.layers[name] for name in self.shapes}, apply):
            yield


@contextmanager
def _hooked(layers: dict[str, nn.Module], hook: Any) -> Iterator[None]:
    handles = [module.register_forward_hook(partial(hook, name)) for name, module in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _rate(layer: nn.Module) -> float:
    return float(layer.p)  # type: ignore[arg-type]


def _channels(shape: torch.Size) -> torch.Size:
    return torch.Size([shape[0], *[1] * (len(shape) - 1)])
