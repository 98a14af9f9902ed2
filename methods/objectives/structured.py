"""Structured distillation: pixels, and similarities between regions (Liu et al. 2019)."""

from __future__ import annotations

from torch import Tensor, nn

from methods.base.problem import Problem
from methods.base.run import Run
from methods.base.samples import Batch
from methods.losses.features import pairwise_loss
from methods.objectives.features import FeatureObjective, Maps, refuse_without_pixels, resized
from methods.objectives.pixelwise import PixelwiseParams, pixel_terms
from methods.settings.params import param


class StructuredParams(PixelwiseParams):
    """The pixel-wise term's parameters and the pair-wise term's."""

    pair_weight: float = param(
        0.5,
        "weight λ_pa of the pair-wise loss; 0 switches it off",
        source="released script; the code's default is 1",
        phase="distillation",
        tune="weight",
        ge=0,
    )
    node_scale: float = param(
        0.5,
        "side of a node over the feature map's; a half makes four nodes of an even map and nine "
        "of an odd one",
        source="released code",
        phase="distillation",
        gt=0,
        le=1,
        needs=("pair_weight",),
    )


class Structured(FeatureObjective):
    """λ_pi·pixel-wise + λ_pa·pair-wise, plus cross-entropy where labels may be seen.

    The pair-wise term compares the maps that enter the classifier, after any pyramid of the head.
    The third term of the paper, an adversarial one, is left out.
    """

    name = "structured"
    title = "Structured distillation"
    paper = "Liu et al., CVPR 2019"
    Params = StructuredParams
    pre_logits = True

    def supports(self, problem: Problem) -> str | None:
        return refuse_without_pixels(problem, "pixels and regions")

    def attach(self, student: nn.Module, problem: Problem, run: Run) -> None:
        super().attach(student, problem, run)
        self.stride = self.params.stride(student)

    def of_maps(self, student: Maps, teacher: Maps, batch: Batch) -> Tensor:
        p: StructuredParams = self.params
        labels = batch.labels if self.sees_labels else None
        loss = pixel_terms(
            student.logits,
            teacher.logits,
            p.pixel_weight,
            self.stride,
            labels,
            self.class_weights,
        )
        if not p.pair_weight:
            return loss
        mine = resized(student.features, teacher.features)
        return loss + p.pair_weight * pairwise_loss(mine, teacher.features, p.node_scale)
