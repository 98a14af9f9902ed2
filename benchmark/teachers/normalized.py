"""Networks whose input is normalised otherwise than the task's images are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from methods.base.problem import Normalization

PREFIX = "network."
OWN = ("own_mean", "own_std")
"""Names of a network's own mean and standard deviation among its weights."""


class Renormalized(nn.Module):
    """A network behind its own normalisation, for images that are normalised by another one.

    It sees exactly the images that it was trained on: what the layers pad with zeros is its own
    mean colour. Its own normalisation is part of its weights, so that the same network behind
    another normalisation is another teacher. Everything else is asked of the network itself.

    Args:
        network: a network in timm's convention, whose input is normalised by ``own``.
        given: the normalisation of the images that this module is given.
        own: the network's normalisation, whose standard deviations are above zero.
    """

    own_mean: Tensor
    own_std: Tensor
    given_mean: Tensor
    given_std: Tensor

    def __init__(self, network: nn.Module, given: Normalization, own: Normalization) -> None:
        super().__init__()
        self.network = network
        for name, normalization in (("own", own), ("given", given)):
            for what in ("mean", "std"):
                values = torch.tensor(getattr(normalization, what)).view(1, -1, 1, 1)
                # What the task says of its images is no weight of the network.
                self.register_buffer(f"{name}_{what}", values, persistent=name == "own")

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "network":  # while the module is made or copied
                raise
            return getattr(self.network, name)

    def _renormalized(self, images: Tensor) -> Tensor:
        pixels = images * self.given_std + self.given_mean
        return (pixels - self.own_mean) / self.own_std

    def forward(self, images: Tensor) -> Tensor:
        """Images normalised as given, B×C×H×W, to logits."""
        logits: Tensor = self.network(self._renormalized(images))
        return logits

    def forward_features(self, images: Tensor) -> Tensor:
        """Images normalised as given, B×C×H×W, to feature maps."""
        features: Tensor = self.network.forward_features(self._renormalized(images))  # type: ignore[operator]
        return features


def network_for(network: nn.Module, given: Normalization, weights: dict[str, Tensor]) -> nn.Module:
    """The network that weights belong to: as it is, or behind a normalisation of its own."""
    if not all(name in weights for name in OWN):
        return network
    mean, std = (tuple(weights[name].flatten().tolist()) for name in OWN)
    return Renormalized(network, given, Normalization(mean, std))
