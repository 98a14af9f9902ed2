"""Objectives that can be put on any method: its images, another loss of the student."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.base import Access, Problem, Run
from methods.objectives.base import LogitObjective, Objective, Supervised
from methods.params import MethodParams
from methods.sources import Batch
from methods.teacher import Teacher


class TransferObjective(Objective):
    """One published way to transfer knowledge: one class, one file.

    Class attributes:
        name: identifier in commands and records, kebab-case.
        title: as printed by `dfkd list`.
        paper: citation.
        version: raise it when the same parameters start to mean something else.
        needs_samples_first: it is prepared on finished samples, before the student's training.
        Params: its hyper-parameters; defaults are the paper's.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[str]
    version: ClassVar[int] = 1
    needs_samples_first: ClassVar[bool] = False
    Params: ClassVar[type[MethodParams]] = MethodParams

    teacher: Teacher
    own: LogitObjective

    def __init__(self, params: MethodParams | None = None) -> None:
        self.params: Any = params if params is not None else self.Params()
        self.attached = False
        self.sees_labels = False

    @classmethod
    def build_params(cls, overrides: Mapping[str, Any]) -> MethodParams:
        """Parameters with ``overrides``.

        Raises:
            ParameterError: for an unknown, invalid or ineffective parameter.
        """
        return cls.Params.build(cls.name, overrides)

    def supports(self, problem: Problem) -> str | None:
        """None, or one sentence on why it cannot be minimised on this problem."""
        return None

    def on(self, own: Objective) -> Self:
        """This objective beside, or in the place of, a method's own.

        Raises:
            TypeError: when the method's own is not a loss of the logits alone.
        """
        if not isinstance(own, LogitObjective):
            raise TypeError(
                f"objective '{self.name}' goes with losses of the student's logits, and "
                f"{type(own).__name__} is none (methods.objectives.LogitObjective)"
            )
        self.own = own
        return self

    @property
    def class_weights(self) -> Tensor | None:
        """Of the cross-entropy with labels, K; None where the method's own has equal ones."""
        return self.own.class_weights if isinstance(self.own, Supervised) else None

    def attach(self, student: nn.Module, problem: Problem, run: Run) -> None:
        self.teacher = problem.teacher
        self.sees_labels = Access.TRAIN_LABELS in problem.access
        self.attached = True

    def variants(self, student: nn.Module) -> Mapping[str, nn.Module]:
        """Networks to be judged beside the trained student, by name, on the CPU."""
        return {}

    def sizes(self, student: nn.Module) -> Mapping[str, float]:
        """KiB of what the trained student stands for but torch cannot store, by name."""
        return {}


class Maps(NamedTuple):
    """What a network made of a batch, in float32: a feature map, B×D×h×w, and the logits."""

    features: Tensor
    logits: Tensor


class FeatureObjective(TransferObjective):
    """An objective of feature maps, for which the teacher is asked in every step."""

    needs_teacher = False  # the loop would ask it for the logits alone
    pre_logits: ClassVar[bool] = False
    """Whether the maps are those before the classifier, and not the backbone's last."""

    def __call__(self, student: nn.Module, batch: Batch) -> Tensor:
        with torch.no_grad():
            theirs = self._maps(self.teacher, batch.images)
        mine = self._maps(student, batch.images)
        batch = batch._replace(teacher_logits=theirs.logits)
        # Products between positions are no layers, and autocast would round them.
        with torch.autocast(batch.images.device.type, enabled=False):
            return self.of_maps(mine, theirs, batch)

    @abstractmethod
    def of_maps(self, student: Maps, teacher: Maps, batch: Batch) -> Tensor:
        """The loss of ``batch``, whose teacher's logits are filled in."""

    def _maps(self, network: Any, images: Tensor) -> Maps:
        features = network.forward_features(images)
        logits = network.forward_head(features)
        if self.pre_logits:
            features = network.forward_head(features, pre_logits=True)
        return Maps(features.float(), logits.float())


@torch.no_grad()
def feature_shape(network: nn.Module, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """(D, h, w) of a network's backbone features; its mode and statistics stay as they were."""
    training = network.training
    device = next(network.parameters()).device
    features = network.eval().forward_features(torch.zeros(1, *image_shape, device=device))  # type: ignore[operator]
    network.train(training)
    depth, height, width = features.shape[1:]
    return depth, height, width


def resized(features: Tensor, like: Tensor) -> Tensor:
    """A map, bilinearly, at the height and width of another."""
    if features.shape[2:] == like.shape[2:]:
        return features
    return F.interpolate(features, like.shape[2:], mode="bilinear", align_corners=False)


def refuse_without_pixels(problem: Problem, compares: str) -> str | None:
    """Why an objective that compares pixels has nothing to do on whole-image labels."""
    if problem.task_type == "segmentation":
        return None
    return f"it compares {compares}, and classification has one prediction per image"
