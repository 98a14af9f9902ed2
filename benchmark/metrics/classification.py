"""Accuracy, agreement and the chance level."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from benchmark.data.labelled import LabelledImages
    from methods.base import Normalization

CHUNK = 250
CHUNK_PIXELS = CHUNK * 32 * 32
"""Most that goes through a network at once: so many images, and of large ones so many pixels."""


def chunk_size(height: int, width: int) -> int:
    """How many images of so many pixels may go through a network at once."""
    return max(1, min(CHUNK, CHUNK_PIXELS // (height * width)))


def chunks(images: Tensor) -> tuple[Tensor, ...]:
    """Images in parts that may go through a network at once."""
    parts: tuple[Tensor, ...] = images.split(chunk_size(*images.shape[2:]))
    return parts


@torch.no_grad()
def predictions(network: nn.Module, images: Tensor) -> Tensor:
    """Arg-max class of every image, N, or pixel, N×H×W; the network's mode is left as it was."""
    training = network.training
    network.eval()
    out = torch.cat([network(part).argmax(dim=1) for part in chunks(images)])
    network.train(training)
    return out


def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of images classified correctly, in [0, 1]."""
    return float((predictions(network, images) == labels).double().mean())


def accuracies(
    networks: Mapping[str, nn.Module],
    data: LabelledImages,
    image_shape: tuple[int, int, int],
    normalization: Normalization,
    device: torch.device,
) -> dict[str, float]:
    """Share of labelled images that each network classifies correctly, in [0, 1]."""
    correct = dict.fromkeys(networks, 0)
    for start in range(0, len(data.files), CHUNK):
        pixels, labels = data.read(start, start + CHUNK, image_shape)
        images = normalization.normalize(pixels.to(device).float() / 255)
        for name, network in networks.items():
            answers = predictions(network.to(device), images).cpu()
            correct[name] += int((answers == labels).sum())
    return {name: count / len(data.files) for name, count in correct.items()}


def constant_share(labels: Tensor) -> float:
    """What a constant prediction scores: the share of the most frequent class.

    Not 1/K: a student that always answers "1" has 0.1135 on MNIST's test set.
    """
    return float(labels.bincount().max()) / len(labels)


def collapse_threshold(labels: Tensor) -> float:
    """An accuracy of at most this is chance: a constant prediction's plus two standard errors."""
    share = constant_share(labels)
    return min(1.0, share + 2 * math.sqrt(share * (1 - share) / len(labels)))
