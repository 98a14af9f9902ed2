"""A network's pre-activations, the inputs of its activation functions, and how to read them.

Lopes et al., 2017, record activations before the ReLU. What a ReLU is applied to differs between
networks: the output of a BatchNorm (wide ResNets), of a convolution (LeNet), or a sum (ResNet). So
a forward pass is watched, and the kinds of layers do not matter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from methods.networks.calls import untold

ACTIVATIONS = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.ELU,
    nn.GELU,
    nn.SiLU,
    nn.Hardswish,
)
"""Modules whose input is a pre-activation."""

OPERATIONS = {"relu", "hardtanh", "leaky_relu", "elu", "gelu", "silu", "hardswish"}
"""The operations behind them and their functional forms; in place with a trailing underscore."""


@contextmanager
def listening(network: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Within the block the named modules' pre-activations appear in the yielded dictionary.

    They are copies, which an activation function that works in place leaves alone.

    Args:
        network: its hooks are removed at the end of the block, whatever happens there.
        names: names of modules; activation functions are read at their input, others at their
            output.
    """
    heard: dict[str, Tensor] = {}

    def hear(name: str, values: Tensor) -> Tensor:
        heard[name] = values.clone()
        return values

    handles = []
    try:
        for name in names:
            module = network.get_submodule(name)
            if isinstance(module, ACTIVATIONS):
                handle = module.register_forward_pre_hook(
                    lambda module, inputs, name=name: (hear(name, inputs[0]), *inputs[1:])
                )
            else:
                handle = module.register_forward_hook(
                    lambda module, inputs, output, name=name: hear(name, output)
                )
            handles.append(handle)
        yield heard
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def hidden_layers(network: nn.Module, image: Tensor) -> list[str]:
    """Names for `listening` of the pre-activations, in the order of the forward pass.

    A pre-activation is named after the module whose output it is. The result of plain arithmetic,
    such as the sum at the end of a ResNet's block, is named after the activation module that takes
    it. A pre-activation with neither (a sum given to `F.relu`) cannot be read and is left out, and
    so are modules called more than once.

    Args:
        network: in eval mode.
        image: 1×C×H×W.
    """
    watch = _Watch()
    calls: Counter[str] = Counter()

    def enter(name: str, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if isinstance(module, ACTIVATIONS):
            watch.name(inputs[0], name)

    def leave(name: str, module: nn.Module, output: Any) -> None:
        calls[name] += 1
        # The output of an activation is no pre-activation, even where it works in place.
        if isinstance(output, Tensor) and not isinstance(module, ACTIVATIONS):
            watch.name(output, name)

    handles = []
    for name, module in network.named_modules():
        handles += [
            module.register_forward_pre_hook(
                lambda module, inputs, name=name: enter(name, module, inputs)
            ),
            module.register_forward_hook(
                lambda module, inputs, output, name=name: leave(name, module, output)
            ),
        ]
    try:
        with watch, untold():
            network(image)
    finally:
        for handle in handles:
            handle.remove()
    return [name for name in dict.fromkeys(watch.rectified) if calls[name] == 1]


class _Watch(TorchDispatchMode):
    """Notes which of the named tensors go into an activation function."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rectified: list[str] = []
        self._names: dict[int, tuple[Tensor, int, str]] = {}

    def name(self, tensor: Tensor, name: str) -> None:
        """Name a tensor, unless it has a name and has not been written to since."""
        if not self._named(tensor):
            # The tensor is kept as well, so that no other gets its id.
            self._names[id(tensor)] = (tensor, tensor._version, name)

    def _named(self, tensor: Tensor) -> str:
        _, version, name = self._names.get(id(tensor), (tensor, -1, ""))
        return name if version == tensor._version else ""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func.overloadpacket.__name__.rstrip("_") in OPERATIONS and (
            name := self._named(args[0])
        ):
            self.rectified.append(name)
        return func(*args, **(kwargs or {}))
