"""Accuracy, agreement and the chance level."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

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


def constant_share(labels: Tensor) -> float:
    """What a constant prediction scores: the share of the most frequent class.

    Not 1/K: a student that always answers "1" has 0.1135 on MNIST's test set.
    """
    return float(labels.bincount().max()) / len(labels)


def collapse_threshold(labels: Tensor) -> float:
    """An accuracy of at most this is chance: a constant prediction's plus two standard errors."""
    share = constant_share(labels)
    return min(1.0, share + 2 * math.sqrt(share * (1 - share) / len(labels)))


@torch.no_grad()
def sample_statistics(teacher: nn.Module, images: Tensor) -> dict[str, float]:
    """What the teacher's predictions p on images, N×C×H×W, tell of them; both in [0, 1].

    ``class_balance`` is the entropy of the mean prediction, H(p̄) / log K: 1 when the classes are
    equally frequent, 0 when there is one. ``confidence`` is the mean of max p. Of logits
    N×K×H×W every pixel is a prediction.
    """
    logits = torch.cat([teacher(part).float() for part in chunks(images)])
    probs = logits.double().movedim(1, -1).flatten(0, -2).softmax(dim=1)
    mean = probs.mean(dim=0)
    entropy = -torch.special.xlogy(mean, mean).sum()
    return {
        "class_balance": float(entropy / torch.tensor(float(len(mean))).log()),
        "confidence": float(probs.amax(dim=1).mean()),
    }
