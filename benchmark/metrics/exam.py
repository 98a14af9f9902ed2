"""Exams: how a network scores on the test data of a task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmark.metrics.classification import collapse_threshold
from benchmark.metrics.segmentation import collapse_threshold as collapse_threshold_of_maps
from benchmark.metrics.segmentation import confusion_matrix, mean_iou, per_class_iou, pixel_accuracy
from benchmark.records.record import SegmentationInfo
from benchmark.tasks.base import Task
from benchmark.tasks.data.base import Split
from methods.networks.predictions import accuracy


@dataclass(frozen=True)
class Scores:
    """The scores of a network on test data."""

    metrics: dict[str, float]
    segmentation: SegmentationInfo | None = None


class Exam(ABC):
    """The test data of a task, on which networks are scored.

    Args:
        task: task that prepares the images.
        test: test split as it is stored.
        device: device of the networks.
    """

    def __init__(self, task: Task, test: Split, device: torch.device | str) -> None:
        self.task = task
        self.test = test
        self.device = device

    @abstractmethod
    def measure(self, network: nn.Module) -> Scores:
        """The network's scores, which include the task's metric."""

    @abstractmethod
    def chance(self) -> float:
        """The highest score that is no better than a constant prediction."""


class ClassificationExam(Exam):
    """An exam in accuracy."""

    def __init__(self, task: Task, test: Split, device: torch.device | str) -> None:
        super().__init__(task, test, device)
        self.images = task.preprocess(test.images).to(device)
        self.labels = test.labels.to(device)

    def measure(self, network: nn.Module) -> Scores:
        return Scores({"accuracy": accuracy(network, self.images, self.labels)})

    def chance(self) -> float:
        return collapse_threshold(self.labels)


class SegmentationExam(Exam):
    """An exam in mean IoU, with the confusion matrix behind it.

    Images are prepared batch by batch, because they are large.
    """

    BATCH = 16

    def measure(self, network: nn.Module) -> Scores:
        confusion = confusion_matrix(network, self._batches(), self.task.num_classes)
        return Scores(
            {"miou": mean_iou(confusion), "pixel_accuracy": pixel_accuracy(confusion)},
            SegmentationInfo(
                classes=list(self.task.classes),
                per_class_iou=per_class_iou(confusion),
                confusion=confusion.tolist(),
            ),
        )

    def chance(self) -> float:
        return collapse_threshold_of_maps(self.test.labels, self.task.num_classes)

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        parts = zip(
            self.test.images.split(self.BATCH), self.test.labels.split(self.BATCH), strict=True
        )
        for images, labels in parts:
            yield self.task.preprocess(images).to(self.device), labels.to(self.device)


def exam_of(task: Task, test: Split, device: torch.device | str) -> Exam:
    """The exam for the task's type."""
    kind = ClassificationExam if task.task_type == "classification" else SegmentationExam
    return kind(task, test, device)
