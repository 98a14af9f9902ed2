"""Any classifier as a teacher or student: what it must have, and what it may lack."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from methods.base.errors import described
from methods.networks.inspection import _inputs_of, _last_linear

TIMM_INTERFACE = ("forward_features", "forward_head", "num_classes")


class Unsuitable(ValueError):
    """A network, method or data that cannot be used together; one line."""


@torch.no_grad()
def probe(network: nn.Module, images: Tensor, role: str) -> Tensor:
    """The logits of a network for some images; the network is put into eval mode.

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
        raise Unsuitable(
            f"the {role} does not take images of {shape}: {described(error)}"
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
    its features are B×0. Methods that need features refuse it; the others do without.

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
        """The last linear layer, under timm's name; None where there is no such layer."""
        return None if self.head is None else self.network.get_submodule(self.head)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, B×K."""
        logits: Tensor = self.network(images)
        return logits

    def forward_features(self, images: Tensor) -> Tensor:
        """The input of the last linear layer, B×D; the logits where there is no such layer."""
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
