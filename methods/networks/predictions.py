"""Which class a network gives each image or pixel, asked part by part."""

from __future__ import annotations

import torch
from torch import Tensor, nn

CHUNK = 250
CHUNK_PIXELS = CHUNK * 32 * 32
"""Most that goes through a network at once: so many images, and of large ones so many pixels."""


def chunk_size(height: int, width: int) -> int:
    """How many images of this size may go through a network at once."""
    return max(1, min(CHUNK, CHUNK_PIXELS // (height * width)))


@torch.no_grad()
def predictions(network: nn.Module, images: Tensor) -> Tensor:
    """Arg-max class of every image, N, or pixel, N×H×W; the network's mode is left as it was."""
    training = network.training
    network.eval()
    parts = images.split(chunk_size(*images.shape[2:]))
    out = torch.cat([network(part).argmax(dim=1) for part in parts])
    network.train(training)
    return out


def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of images, or pixels, that a network labels right, in [0, 1].

    With `predictions` of its teacher in the place of true labels, it is their agreement.

    Args:
        network: left in the mode it is in.
        images: N×C×H×W.
        labels: N, or N×H×W.
    """
    return float((predictions(network, images) == labels).double().mean())
