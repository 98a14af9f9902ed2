"""Distillation as first published: soft targets and true labels (Hinton et al. 2015)."""

from __future__ import annotations

from torch import Tensor, nn

from methods.base.objective import TransferObjective
from methods.base.problem import Access, Problem
from methods.base.samples import Batch
from methods.losses.predictions import kd_loss, label_loss
from methods.settings.params import MethodParams, param


class Hinton(TransferObjective):
    """(1 − α)·CE with the labels + α·τ²·KL with the teacher."""

    name = "hinton"
    title = "Knowledge distillation with labels"
    paper = "Hinton et al., 2015"

    class Params(MethodParams):
        """Hyper-parameters."""

        soft_weight: float = param(
            0.9,
            "weight α of the soft targets; the labels have the rest",
            source="common practice (RepDistiller, AT)",
            phase="distillation",
            gt=0,
            lt=1,
        )
        temperature: float = param(
            4.0,
            "temperature τ of the soft targets",
            source="common practice (RepDistiller, AT)",
            phase="distillation",
            tune="temperature",
            gt=0,
        )

    def supports(self, problem: Problem) -> str | None:
        if Access.TRAIN_LABELS in problem.access:
            return None
        return "it needs true labels, which only methods such as student-supervised see"

    def __call__(self, student: nn.Module, batch: Batch) -> Tensor:
        assert batch.labels is not None
        assert batch.teacher_logits is not None
        logits = student(batch.images).float()
        soft = kd_loss(logits, batch.teacher_logits, self.params.temperature)
        hard = label_loss(logits, batch.labels, self.class_weights)
        alpha: float = self.params.soft_weight
        return (1 - alpha) * hard + alpha * soft
