"""Attention transfer: where the student looks (Zagoruyko & Komodakis 2017)."""

from __future__ import annotations

from torch import Tensor

from methods.base.problem import Problem
from methods.base.samples import Batch
from methods.losses.features import attention_loss
from methods.objectives.features import FeatureObjective, Maps, feature_shape
from methods.settings.params import MethodParams, param


class AttentionTransfer(FeatureObjective):
    """The method's own loss + β times the distance of the attention maps of the last features."""

    name = "attention-transfer"
    title = "Attention transfer"
    paper = "Zagoruyko & Komodakis, ICLR 2017"

    class Params(MethodParams):
        """Hyper-parameters."""

        beta: float = param(
            1000.0,
            "weight β of the attention loss",
            source="released code; ZSKT takes 250",
            phase="distillation",
            tune="weight",
            gt=0,
        )

    def supports(self, problem: Problem) -> str | None:
        for which, network in (
            ("teacher", problem.teacher.network),
            ("student", problem.make_student()),
        ):
            _, height, width = feature_shape(network, problem.image_shape)
            if height * width == 1:
                return f"the {which}'s feature map has one position, and so no attention to compare"
        return None

    def of_maps(self, student: Maps, teacher: Maps, batch: Batch) -> Tensor:
        beta: float = self.params.beta
        attention = attention_loss(student.features, teacher.features)
        return self.own.of_logits(student.logits, batch) + beta * attention
