"""What the student minimises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from methods.losses import IGNORE_INDEX, kd_loss
from methods.sources import Batch


class Diverged(RuntimeError):
    """A logged scalar is NaN or infinite; the run is stopped at once."""


class Objective(ABC):
    """A loss of the student on one batch."""

    needs_teacher: ClassVar[bool] = True
    """Whether the loop must fill in ``batch.teacher_logits``."""

    @abstractmethod
    def __call__(self, student: nn.Module, batch: Batch) -> Tensor:
        """The loss of ``batch``, a scalar with a gradient to the student's parameters."""


class Distillation(Objective):
    """Hinton's KD: τ²·KL between softened teacher and student (see `methods.losses.kd_loss`)."""

    def __init__(self, temperature: float) -> None:
        self.temperature = temperature

    def __call__(self, student: nn.Module, batch: Batch) -> Tensor:
        assert batch.teacher_logits is not None
        return kd_loss(student(batch.images).float(), batch.teacher_logits, self.temperature)


class Supervised(Objective):
    """Cross-entropy with the true labels, void pixels left out; the teacher is not asked."""

    needs_teacher = False

    def __call__(self, student: nn.Module, batch: Batch) -> Tensor:
        assert batch.labels is not None
        logits = student(batch.images).float()
        return F.cross_entropy(logits, batch.labels, ignore_index=IGNORE_INDEX)
