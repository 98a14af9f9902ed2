"""Attention transfer at the end of every stage, beside a loss of the logits."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from methods.base.objective import LogitObjective, Objective
from methods.base.problem import Problem
from methods.base.run import Run
from methods.base.samples import Batch
from methods.losses.features import attention_loss
from methods.networks.pre_activations import listening
from methods.networks.stages import stages, unlike_stages


class StageAttention(Objective):
    """A loss of the logits + β·Σ_l the distance of the attention maps of the stages l.

    The teacher gives logits and maps in one pass, and only one for images that come again.

    Args:
        own: the loss of the logits.
        beta: β > 0.
    """

    needs_teacher = False  # the loop would ask for the logits alone

    def __init__(self, own: LogitObjective, beta: float) -> None:
        self.own, self.beta = own, beta
        self._images: Tensor | None = None

    def attach(self, student: nn.Module, problem: Problem, run: Run) -> None:
        """Find the stages.

        Raises:
            ValueError: when student and teacher have other stages.
        """
        self.teacher = problem.teacher
        found = [stages(n, problem.image_shape) for n in (problem.teacher.network, student)]
        if reason := unlike_stages(*found):
            raise ValueError(reason)
        self._theirs, self._mine = (list(names.values()) for names in found)

    def __call__(self, student: nn.Module, batch: Batch) -> Tensor:
        if batch.images is not self._images:
            self._ask(batch.images)
        with listening(student, self._mine) as maps:
            logits = student(batch.images).float()
        loss = self.own.of_logits(logits, batch._replace(teacher_logits=self._logits))
        for name, theirs in zip(self._mine, self._maps, strict=True):
            loss = loss + self.beta * attention_loss(maps[name].float(), theirs)
        return loss

    @torch.no_grad()
    def _ask(self, images: Tensor) -> None:
        with listening(self.teacher.network, self._theirs) as maps:
            self._logits = self.teacher(images).float()
        self._maps = [maps[name].float() for name in self._theirs]
        self._images = images
