"""The contract of an objective, and the two objectives that methods have by default."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from methods.base.problem import Access, Problem
from methods.base.run import Run
from methods.base.samples import Batch, SampleSource
from methods.base.teacher import Teacher
from methods.losses.predictions import kd_loss, label_loss
from methods.settings.params import MethodParams


class Objective(ABC):
    """A loss of the student on one batch, and whatever else has to be trained for it."""

    needs_teacher: bool = True
    """Whether the loop must fill in ``batch.teacher_logits``."""

    rate: float = 1.0
    """Factor on the budget's student learning rate."""

    replayable: bool = False
    """Whether a step is made of tensor operations alone, so that a GPU may record and replay it."""

    @abstractmethod
    def __call__(self, student: nn.Module, batch: Batch) -> Tensor:
        """The loss of ``batch``, a scalar with a gradient to the student's parameters."""

    def prepare(
        self, student: nn.Module, problem: Problem, samples: SampleSource, run: Run
    ) -> tuple[nn.Module, int]:
        """Do what the objective needs done on the samples before the student is trained.

        Returns:
            The student to train, and how many of the budget's student steps are left for it.
        """
        return student, run.budget.student_steps

    def attach(self, student: nn.Module, problem: Problem, run: Run) -> None:
        """Make what is trained together with ``student``; called once, before its first step."""

    def parameters(self) -> Iterable[nn.Parameter]:
        """Parameters that the optimiser trains in addition to the student's, once attached."""
        return ()


class LogitObjective(Objective):
    """An objective that looks at nothing of the student but its logits."""

    @abstractmethod
    def of_logits(self, logits: Tensor, batch: Batch) -> Tensor:
        """The loss of the student's logits on ``batch``, in float32."""

    def __call__(self, student: nn.Module, batch: Batch) -> Tensor:
        return self.of_logits(student(batch.images).float(), batch)


class Distillation(LogitObjective):
    """Hinton's KD: τ²·KL between softened teacher and student (`kd_loss`)."""

    replayable = True

    def __init__(self, temperature: float) -> None:
        self.temperature = temperature

    def of_logits(self, logits: Tensor, batch: Batch) -> Tensor:
        assert batch.teacher_logits is not None
        return kd_loss(logits, batch.teacher_logits, self.temperature)


class Supervised(LogitObjective):
    """Cross-entropy with the true labels, without the teacher.

    Args:
        class_weights: K weights on the student's device; None for equal ones.
    """

    needs_teacher = False
    replayable = True

    def __init__(self, class_weights: Tensor | None = None) -> None:
        self.class_weights = class_weights

    def of_logits(self, logits: Tensor, batch: Batch) -> Tensor:
        assert batch.labels is not None
        return label_loss(logits, batch.labels, self.class_weights)


class TransferObjective(Objective):
    """One published way to transfer knowledge: one class, one file.

    Class attributes:
        name: identifier in commands and records, kebab-case.
        title: name in `dfkd list`.
        paper: citation.
        version: raise it when the same parameters start to mean something else.
        needs_samples_first: whether `prepare` needs all samples before the student is trained.
        rebuilds: whether `prepare` makes another network of the student, such as a quantised one.
        Params: its hyper-parameters; defaults are the paper's.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[str]
    version: ClassVar[int] = 1
    needs_samples_first: ClassVar[bool] = False
    rebuilds: ClassVar[bool] = False
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
        """This objective, added to a method's own or put in its place.

        Raises:
            TypeError: when the method's own objective is not a loss of the logits alone.
        """
        if not isinstance(own, LogitObjective):
            raise TypeError(
                f"objective '{self.name}' can only be put on losses of the student's logits "
                f"(methods.base.LogitObjective), and {type(own).__name__} is none"
            )
        self.own = own
        return self

    @property
    def class_weights(self) -> Tensor | None:
        """K class weights of the method's cross-entropy with labels; None where they are equal."""
        return self.own.class_weights if isinstance(self.own, Supervised) else None

    def attach(self, student: nn.Module, problem: Problem, run: Run) -> None:
        self.teacher = problem.teacher
        self.sees_labels = Access.TRAIN_LABELS in problem.access
        self.attached = True

    def variants(self, student: nn.Module) -> Mapping[str, nn.Module]:
        """Networks to be scored in addition to the trained student, by name, on the CPU."""
        return {}

    def sizes(self, student: nn.Module) -> Mapping[str, float]:
        """Sizes in KiB, by name, of forms of the student that torch itself cannot store."""
        return {}
