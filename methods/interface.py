"""Anybody's classifier as a teacher or student: what it must do, and what it may lack."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

TIMM_INTERFACE = ("forward_features", "forward_head", "num_classes")


class Unsuitable(ValueError):
    """A network, method or data that cannot be used together; one line."""


def noise(image_shape: tuple[int, int, int]) -> Tensor:
    """Two images, 2×C×H×W, always the same: of a black one several layers may say the same."""
    return torch.randn(2, *image_shape, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def probe(network: nn.Module, images: Tensor, role: str) -> Tensor:
    """What a network in eval mode answers; it stays in eval mode.

    Args:
        network: any classifier.
        images: B×C×H×W on the network's device.
        role: teacher or student, for messages.

    Returns:
        Logits, B×K.

    Raises:
        Unsuitable: when it does not take such images, or does not answer with finite logits.
    """
    shape = "×".join(map(str, images.shape[1:]))
    try:
        logits = network.eval()(images)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise Unsuitable(
            f"the {role} does not take images of {shape}: {type(error).__name__}: {reason}"
        ) from None
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != len(images):
        kind = (
            f"a tensor of {'×'.join(map(str, logits.shape))}"
            if isinstance(logits, Tensor)
            else type(logits).__name__
        )
        raise Unsuitable(
            f"the {role} answers {len(images)} images of {shape} with {kind}; a classifier must "
            f"return its logits, {len(images)}×classes"
        )
    if not logits.isfinite().all():
        raise Unsuitable(f"the {role} answers with NaN or infinity; are its weights right?")
    return logits


def with_timm_interface(network: nn.Module, images: Tensor) -> nn.Module:
    """The network itself where it follows timm's convention, else a `PlainNetwork` around it.

    Args:
        network: in eval mode.
        images: an example, B×C×H×W.
    """
    if all(hasattr(network, name) for name in TIMM_INTERFACE):
        return network
    return PlainNetwork(network, images)


class PlainNetwork(nn.Module):
    """A classifier with nothing but ``forward``, cut before its last linear layer.

    A network that does not end in a linear layer cannot be cut: its ``num_features`` is 0, and
    its features are B×0. Methods that need features say so; the others get on without.

    Args:
        network: in eval mode.
        images: an example, B×C×H×W, by which the last layer is found.
    """

    def __init__(self, network: nn.Module, images: Tensor) -> None:
        super().__init__()
        self.network = network
        self.head, logits, features = _last_linear(network, images)
        self.num_classes = logits.shape[1]
        self.num_features = features.shape[1]

    def get_classifier(self) -> nn.Module | None:
        """The last linear layer, as timm calls it; None, where there is no such layer."""
        return None if self.head is None else self.network.get_submodule(self.head)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, B×K."""
        logits: Tensor = self.network(images)
        return logits

    def forward_features(self, images: Tensor) -> Tensor:
        """What the last layer is given, B×D; the logits, where there is no such layer."""
        if self.head is None:
            return self.forward(images)
        return _inputs_of(self.network, {self.head}, images)[0][-1][1]

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits, B×K, of what `forward_features` returned; B×D with ``pre_logits``."""
        if self.head is None:
            return features[:, :0] if pre_logits else features
        if pre_logits:
            return features
        logits: Tensor = self.network.get_submodule(self.head)(features)
        return logits


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
