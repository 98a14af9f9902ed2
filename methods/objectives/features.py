"""Objectives that compare feature maps of student and teacher."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.base.objective import TransferObjective
from methods.base.problem import Problem
from methods.base.samples import Batch
from methods.networks.calls import untold


class Maps(NamedTuple):
    """A network's output on a batch, in float32: a feature map, B×D×h×w, and the logits."""

    features: Tensor
    logits: Tensor


class FeatureObjective(TransferObjective):
    """An objective that compares feature maps, and so asks the teacher in every step."""

    needs_teacher = False  # the loop would ask the teacher for its logits alone
    pre_logits: ClassVar[bool] = False
    """Whether the maps are the classifier's input instead of the backbone's last features."""

    def __call__(self, student: nn.Module, batch: Batch) -> Tensor:
        with torch.no_grad():
            theirs = self._maps(self.teacher, batch.images)
        mine = self._maps(student, batch.images)
        batch = batch._replace(teacher_logits=theirs.logits)
        # Autocast would round products between positions, which are not layers.
        with torch.autocast(batch.images.device.type, enabled=False):
            return self.of_maps(mine, theirs, batch)

    @abstractmethod
    def of_maps(self, student: Maps, teacher: Maps, batch: Batch) -> Tensor:
        """The loss of ``batch``, in which the teacher's logits are filled in."""

    def _maps(self, network: Any, images: Tensor) -> Maps:
        features = network.forward_features(images)
        logits = network.forward_head(features)
        if self.pre_logits:
            features = network.forward_head(features, pre_logits=True)
        return Maps(features.float(), logits.float())


@torch.no_grad()
def feature_shape(network: nn.Module, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """(D, h, w) of a network's backbone features; its mode and statistics are left alone."""
    training = network.training
    device = next(network.parameters()).device
    with untold():
        features = network.eval().forward_features(torch.zeros(1, *image_shape, device=device))  # type: ignore[operator]
    network.train(training)
    depth, height, width = features.shape[1:]
    return depth, height, width


def resized(features: Tensor, like: Tensor) -> Tensor:
    """A feature map, resized bilinearly to the height and width of another."""
    if features.shape[2:] == like.shape[2:]:
        return features
    return F.interpolate(features, like.shape[2:], mode="bilinear", align_corners=False)


def refuse_without_pixels(problem: Problem, compares: str) -> str | None:
    """Why an objective that compares pixels cannot be used for labels of whole images."""
    if problem.task_type == "segmentation":
        return None
    return f"it compares {compares}, and classification has one prediction per image"
