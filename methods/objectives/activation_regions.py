"""Activation regions: the student looks where its teacher looks, at several scales."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from methods.base.objective import Distillation, LogitObjective, Objective
from methods.base.problem import Problem
from methods.base.run import Run
from methods.base.samples import Batch
from methods.losses.activation_maps import activation_region_loss
from methods.networks.activation_maps import RegionReader


class ClassMeanDistillation(Distillation):
    """τ²·KL between softened teacher and student, mean over samples and classes.

    torch's ``KLDivLoss`` divides by the number of classes too where it is told nothing else.
    """

    def of_logits(self, logits: Tensor, batch: Batch) -> Tensor:
        return super().of_logits(logits, batch) / logits.shape[1]


class ActivationRegions(Objective):
    """A loss of the logits + λ_c·MSE of class activation maps + λ_g·Σ_l MSE of Grad-CAMs.

    The Grad-CAMs of teacher and student are those of the teacher's arg-max class. They cost a
    second backward pass through the student, and one through the teacher down to its first stage.
    That one reaches no images: a ledger has it in its work, and not in its count of images to which
    the teacher passed gradients back.

    Args:
        own: the loss of the logits.
        cam: λ_c ≥ 0; 0 leaves class activation maps out.
        grad_cam: λ_g ≥ 0; 0 leaves Grad-CAMs out.
    """

    needs_teacher = False  # the loop would ask for the logits alone

    def __init__(self, own: LogitObjective, cam: float, grad_cam: float) -> None:
        self.own, self.cam, self.grad_cam = own, cam, grad_cam

    def attach(self, student: nn.Module, problem: Problem, run: Run) -> None:
        """Find classifiers and stages.

        Raises:
            ValueError: when a network has no class activation maps and they are compared.
        """
        self._theirs, self._mine = (
            RegionReader(
                network,
                problem.image_shape,
                of_classes=self.cam > 0,
                of_stages=self.grad_cam > 0,
            )
            for network in (problem.teacher.network, student)
        )

    def __call__(self, student: nn.Module, batch: Batch) -> Tensor:
        theirs = self._theirs(batch.images, lambda logits: logits.argmax(dim=1))
        best = theirs.logits.detach().argmax(dim=1)
        mine = self._mine(batch.images, lambda logits: best)
        loss = self.own.of_logits(
            mine.logits, batch._replace(teacher_logits=theirs.logits.detach())
        )
        if mine.of_classes is not None and theirs.of_classes is not None:
            loss = loss + self.cam * activation_region_loss(mine.of_classes, theirs.of_classes)
        terms = [
            activation_region_loss(own, other)
            for own, other in zip(mine.of_stages, theirs.of_stages, strict=True)
        ]
        return loss + self.grad_cam * torch.stack(terms).sum() if terms else loss
