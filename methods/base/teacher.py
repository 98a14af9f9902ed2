"""The frozen teacher, which counts its own use."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from methods.base.ledger import Ledger
from methods.networks.calls import tell_of_calls


class Teacher(nn.Module):
    """A frozen network in eval mode that counts every sample passed through it.

    The network follows timm's convention: ``forward_features``, ``forward_head(x, pre_logits=)``,
    ``num_classes``. Gradients flow to the input, never to the parameters. Samples are counted where
    they enter the network, so that its own calls count as well.

    Args:
        network: the trained network; it is frozen in place.
        ledger: where samples are counted.
    """

    def __init__(self, network: nn.Module, ledger: Ledger | None = None) -> None:
        super().__init__()
        network.eval().requires_grad_(False)
        self.network = network
        self.ledger = ledger or Ledger()
        tell_of_calls(network, self._count)
        self.num_classes: int = network.num_classes  # type: ignore[assignment]
        super().train(False)

    def train(self, mode: bool = True) -> Teacher:
        """Refuse train mode, in which forward passes overwrite the BatchNorm statistics."""
        if mode:
            raise RuntimeError("the teacher is frozen: it must stay in eval mode")
        return self

    def _count(self, network: nn.Module, images: Tensor) -> Tensor:
        self.ledger.add({"teacher_forward": len(images)})
        if images.requires_grad and torch.is_grad_enabled():
            images = images.view_as(images)
            images.register_hook(self._count_backward)
        return images

    def _count_backward(self, gradient: Tensor) -> None:
        self.ledger.add({"teacher_backward": len(gradient)})

    def forward(self, images: Tensor) -> Tensor:
        """Map images, B×C×H×W, to logits, B×K or B×K×H×W."""
        logits: Tensor = self.network(images)
        return logits

    def forward_features(self, images: Tensor) -> Tensor:
        """Map images, B×C×H×W, to the feature map before pooling and classifier, B×D×h×w."""
        features: Tensor = self.network.forward_features(images)  # type: ignore[operator]
        return features

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Map a feature map to logits, or with ``pre_logits`` to the classifier's input, B×D."""
        out: Tensor = self.network.forward_head(features, pre_logits=pre_logits)  # type: ignore[operator]
        return out
