"""The chance level, and statistics of the images a student learns from."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from methods.networks.predictions import chunk_size


def constant_share(labels: Tensor) -> float:
    """The score of a constant prediction: the share of the most frequent class.

    It is not 1/K: a student that always answers "1" has 0.1135 on MNIST's test set.
    """
    return float(labels.bincount().max()) / len(labels)


def collapse_threshold(labels: Tensor) -> float:
    """The highest accuracy at chance: that of a constant prediction plus two standard errors."""
    share = constant_share(labels)
    return min(1.0, share + 2 * math.sqrt(share * (1 - share) / len(labels)))


@torch.no_grad()
def sample_statistics(teacher: nn.Module, images: Tensor) -> dict[str, float]:
    """Two statistics of the teacher's predictions p on images, N×C×H×W; both are in [0, 1].

    ``class_balance`` is the entropy of the mean prediction, H(p̄) / log K: 1 when the classes are
    equally frequent, 0 when there is only one. ``confidence`` is the mean of max p. In logits
    N×K×H×W, every pixel is a prediction.
    """
    parts = images.split(chunk_size(*images.shape[2:]))
    logits = torch.cat([teacher(part).float() for part in parts])
    probs = logits.double().movedim(1, -1).flatten(0, -2).softmax(dim=1)
    mean = probs.mean(dim=0)
    entropy = -torch.special.xlogy(mean, mean).sum()
    return {
        "class_balance": float(entropy / torch.tensor(float(len(mean))).log()),
        "confidence": float(probs.amax(dim=1).mean()),
    }
