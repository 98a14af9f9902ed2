"""The contract of an objective, and the two that methods have of their own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING

from torch import Tensor, nn

from methods.losses import kd_loss, label_loss
from methods.sources import Batch, SampleSource

if TYPE_CHECKING:
    from methods.base import Problem, Run


class Diverged(RuntimeError):
    """A logged scalar is NaN or infinite; the run is stopped at once."""


class Objective(ABC):
    """A loss of the student on one batch, with what has to be trained before or beside it."""

    needs_teacher: bool = True
    """Whether the loop must fill in ``batch.teacher_logits``."""

    rate: float = 1.0
    """Factor on the budget's student learning rate."""

    replayable: bool = False
    """Whether a step is nothing but its tensors, so that a GPU may record and replay it."""

    @abstractmethod
    def __call__(self, student: nn.Module, batch: Batch) -> Tensor:
        """The loss of ``batch``, a scalar with a gradient to the student's parameters."""

    def prepare(
        self, student: nn.Module, problem: Problem, samples: SampleSource, run: Run
    ) -> tuple[nn.Module, int]:
        """What has to happen on the samples before the student's training proper.

        Returns:
            The student to train, and how many of the budget's student steps are left for it.
        """
        return student, run.budget.student_steps

    def attach(self, student: nn.Module, problem: Problem, run: Run) -> None:
        """Make what is trained beside ``student``; called once, before its first step."""

    def parameters(self) -> Iterable[nn.Parameter]:
        """What joins the student's parameters in the optimiser, once attached."""
        return ()


class LogitObjective(Objective):
    """An objective that looks at nothing of the student but its logits."""

    @abstractmethod
    def of_logits(self, logits: Tensor, batch: Batch) -> Tensor:
        """The loss of the student's logits on ``batch``, in float32."""

    def __call__(self, student: nn.Module, batch: Batch) -> Tensor:
        return self.of_logits(student(batch.images).float(), batch)


class Distillation(LogitObjective):
    """Hinton's KD: τ²·KL between softened teacher and student (see `methods.losses.kd_loss`)."""

    replayable = True

    def __init__(self, temperature: float) -> None:
        self.temperature = temperature

    def of_logits(self, logits: Tensor, batch: Batch) -> Tensor:
        assert batch.teacher_logits is not None
        return kd_loss(logits, batch.teacher_logits, self.temperature)


class Supervised(LogitObjective):
    """Cross-entropy with the true labels; the teacher is not asked.

    Args:
        class_weights: K, on the student's device; None for equal ones.
    """

    needs_teacher = False
    replayable = True

    def __init__(self, class_weights: Tensor | None = None) -> None:
        self.class_weights = class_weights

    def of_logits(self, logits: Tensor, batch: Batch) -> Tensor:
        assert batch.labels is not None
        return label_loss(logits, batch.labels, self.class_weights)
