"""Pixel-wise distillation of score maps (Liu et al. 2019)."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from methods.base.objective import TransferObjective
from methods.base.problem import Problem
from methods.base.samples import Batch
from methods.losses.predictions import label_loss, pixelwise_loss
from methods.objectives.features import refuse_without_pixels
from methods.settings.params import MethodParams, param


class PixelwiseParams(MethodParams):
    """Hyper-parameters of the pixel-wise term."""

    pixel_weight: float = param(
        10.0,
        "weight λ_pi of the pixel-wise loss, relative to the cross-entropy with labels where there "
        "are any",
        source="released code, which sums over the batch: of 8 images, its 10 are 80 here",
        phase="distillation",
        tune="weight",
        gt=0,
    )
    resolution: Literal["score-map", "image"] = param(
        "score-map",
        "where pixels are compared: at the student's own resolution, to which its upsampled "
        "logits are brought back, a little blurred; or at the image's",
        source="paper: score maps at an eighth",
        phase="distillation",
    )

    def stride(self, student: nn.Module) -> int:
        """Image pixels, along one side, for every pixel that is compared."""
        own: int = student.output_stride  # type: ignore[assignment]
        return own if self.resolution == "score-map" else 1


class Pixelwise(TransferObjective):
    """λ_pi·KL of every pixel of the score maps, plus cross-entropy where labels may be seen."""

    name = "pixelwise"
    title = "Pixel-wise distillation"
    paper = "Liu et al., CVPR 2019"
    Params = PixelwiseParams

    def supports(self, problem: Problem) -> str | None:
        return refuse_without_pixels(problem, "pixels")

    def __call__(self, student: nn.Module, batch: Batch) -> Tensor:
        assert batch.teacher_logits is not None
        labels = batch.labels if self.sees_labels else None
        return pixel_terms(
            student(batch.images).float(),
            batch.teacher_logits,
            self.params.pixel_weight,
            self.params.stride(student),
            labels,
            self.class_weights,
        )


def pixel_terms(
    student: Tensor,
    teacher: Tensor,
    weight: float,
    stride: int,
    labels: Tensor | None,
    class_weights: Tensor | None = None,
) -> Tensor:
    """λ_pi·pixel-wise loss at 1/stride, plus the cross-entropy at full resolution given labels.

    Args:
        student: logits, B×K×H×W.
        teacher: logits, B×K×H×W.
        weight: λ_pi.
        stride: of the compared score maps; not more than H or W.
        labels: B×H×W, or None.
        class_weights: K, of the cross-entropy; None for equal ones.

    Returns:
        A scalar.
    """
    loss = weight * pixelwise_loss(score_map(student, stride), score_map(teacher, stride))
    return loss if labels is None else loss + label_loss(student, labels, class_weights)


def score_map(logits: Tensor, stride: int) -> Tensor:
    """Logits at 1/stride of their resolution, but at least one pixel.

    This undoes a head's bilinear upsampling up to a blur over neighbours.
    """
    if stride == 1:
        return logits
    size = [max(1, side // stride) for side in logits.shape[2:]]
    return F.interpolate(logits, size, mode="bilinear", align_corners=False)
