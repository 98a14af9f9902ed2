"""Mean intersection over union, pixel accuracy, and the score of a constant prediction.

All are read off one confusion matrix, K×K pixel counts: rows are true classes, columns predicted
ones. Void pixels are not counted. A class without a true pixel has no IoU and is left out of the
mean, whatever is predicted; its column still counts against the classes whose pixels it took. In
the released code of DeGAN for segmentation a class that is predicted but absent is a 0 in the mean.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from methods.losses.predictions import IGNORE_INDEX
from methods.networks.predictions import predictions


def count_confusion(predicted: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Confusion matrix of predicted maps and true ones, both N×H×W.

    Returns:
        K×K int64.
    """
    known = labels != IGNORE_INDEX
    pairs = labels[known].long() * num_classes + predicted[known].long()
    return pairs.bincount(minlength=num_classes**2).view(num_classes, num_classes)


def confusion_matrix(
    network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], num_classes: int
) -> Tensor:
    """Confusion matrix of a network, batch by batch.

    Args:
        network: network from images B×C×H×W to logits B×K×H×W; its mode is left as it was.
        batches: images with their labels, B×H×W.
        num_classes: number of classes, K.

    Returns:
        K×K int64, on the CPU.
    """
    total = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    for images, labels in batches:
        total += count_confusion(predictions(network, images), labels, num_classes).cpu()
    return total


def per_class_iou(confusion: Tensor) -> list[float | None]:
    """Intersection over union of every class, in [0, 1]; None for one without a true pixel."""
    hits = confusion.diagonal()
    true, predicted = confusion.sum(dim=1), confusion.sum(dim=0)
    return [
        int(hit) / int(union) if present else None
        for hit, union, present in zip(hits, true + predicted - hits, true, strict=True)
    ]


def mean_iou(confusion: Tensor) -> float:
    """Mean of `per_class_iou` over the classes that have one; 0 when none has."""
    values = [value for value in per_class_iou(confusion) if value is not None]
    return sum(values) / max(1, len(values))


def pixel_accuracy(confusion: Tensor) -> float:
    """Share of the pixels that are labelled correctly, in [0, 1]."""
    return int(confusion.diagonal().sum()) / max(1, int(confusion.sum()))


def predicted_shares(network: nn.Module, images: Tensor, num_classes: int) -> list[float]:
    """Shares of the pixels of images, N×C×H×W, that a network labels as each class; sum 1."""
    counts = predictions(network, images).flatten().bincount(minlength=num_classes)
    return [int(count) / int(counts.sum()) for count in counts]


def constant_miou(labels: Tensor, num_classes: int) -> float:
    """The score of the best constant prediction: the largest class's share of the pixels over K'.

    Only that class has a hit, and its union is every pixel; K' counts the classes that occur.
    """
    counts = _counts(labels, num_classes).sum(dim=0)
    return float(counts.max() / counts.sum()) / int((counts > 0).sum())


def collapse_threshold(labels: Tensor, num_classes: int) -> float:
    """The highest mean IoU at chance: that of a constant prediction plus two standard errors.

    The error is that of the largest class's share over the images: images are independent of each
    other, but their pixels are not.

    Args:
        labels: true maps, N×H×W.
        num_classes: number of classes, K.
    """
    counts = _counts(labels, num_classes)
    pixels = counts.sum(dim=1)
    largest = int(counts.sum(dim=0).argmax())
    shares = counts[pixels > 0, largest] / pixels[pixels > 0]
    error = float(shares.std()) / len(shares) ** 0.5 if len(shares) > 1 else 0.0
    present = int((counts.sum(dim=0) > 0).sum())
    return constant_miou(labels, num_classes) + 2 * error / present


def _counts(labels: Tensor, num_classes: int) -> Tensor:
    """Pixels of each class in each image, N×K in float64."""
    rows = [image[image != IGNORE_INDEX].long().bincount(minlength=num_classes) for image in labels]
    return torch.stack(rows).double()
