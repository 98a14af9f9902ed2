"""The contract between a method and the program that runs it.

A method turns a frozen teacher into a trained student. It sees a `Problem` (the teacher, a
student factory, shapes, and only the data it declared) and a `Run` (budget, randomness,
logging). Nothing here knows about the benchmark: a method can be used on anybody's teacher.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import nn

from methods.base.objective import Distillation, Objective, TransferObjective
from methods.base.problem import DATA_FREE, Access, Problem
from methods.base.run import Run
from methods.base.samples import SampleSource
from methods.base.student import train_student
from methods.settings.params import MethodParams
from methods.settings.schedule import PaperSchedule


class Method(ABC):
    """One approach to data-free knowledge distillation: one class, one file.

    Class attributes:
        name: identifier in commands and records, kebab-case.
        title: name in tables.
        paper: citation, or what the baseline stands for.
        access: what it may see in addition to the teacher.
        version: raise it when the same parameters start to mean something else.
        revised: the version from which a value of a parameter means what it does now, by parameter
            and value, where that is later than `version`. Runs with other values keep their
            identity, which a raised `version` would take from them.
        inverts_pixels: whether it optimises the pixels of every image. Such a method spends the
            budget's ``inversion_images`` and ``inversion_steps`` instead of training a generator.
        Params: its hyper-parameters; defaults are the paper's.
        settings: the paper's settings by task family, where they differ from the defaults.
        schedules: how long the method's own paper trained, by task family, for the budget
            ``paper``. A family that is left out has no published schedule.
        baseline: whether it is a ceiling or a control, which no paper proposes; at the budget
            ``paper`` it takes the task's numbers.

    Attributes:
        transfer: an objective that the caller puts on the method; with None the student
            minimises the method's own `objective`.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[str]
    access: ClassVar[Access] = DATA_FREE
    version: ClassVar[int] = 1
    revised: ClassVar[Mapping[str, Mapping[Any, int]]] = {}
    inverts_pixels: ClassVar[bool] = False
    Params: ClassVar[type[MethodParams]] = MethodParams
    settings: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    schedules: ClassVar[Mapping[str, PaperSchedule]] = {}
    baseline: ClassVar[bool] = False

    transfer: TransferObjective | None = None

    def __init__(self, params: MethodParams | None = None) -> None:
        self.params: Any = params if params is not None else self.Params()

    @classmethod
    def build_params(cls, overrides: Mapping[str, Any], family: str = "") -> MethodParams:
        """Parameters for a task family: its paper settings, then ``overrides``.

        Raises:
            ParameterError: for an unknown, invalid or ineffective parameter.
        """
        return cls.Params.build(cls.name, overrides, cls.settings.get(family))

    @classmethod
    def version_of(cls, params: MethodParams) -> int:
        """The version of runs with these parameters: the latest of all that their values mean."""
        values = params.model_dump()
        later = [versions.get(values[name], 0) for name, versions in cls.revised.items()]
        return max(cls.version, *later, 0)

    @classmethod
    def schedule_of(cls, params: MethodParams, family: str) -> PaperSchedule | None:
        """Its paper's schedule on a task family; None where none is known.

        A method whose schedule depends on its parameters overrides this.
        """
        return cls.schedules.get(family)

    @classmethod
    def versions(cls) -> set[int]:
        """Every version that a run of the method can have now."""
        return {cls.version, *(v for versions in cls.revised.values() for v in versions.values())}

    def supports(self, problem: Problem) -> str | None:
        """None, or one sentence on why the method cannot run on this problem."""
        return None

    def note(self, problem: Problem) -> str:
        """A few words on what is special about runs on this problem, shown after the title."""
        return ""

    @property
    def alternating(self) -> bool:
        """Whether generator and student are trained in turn, so that images need the whole run.

        A method whose `fit` does so only with some parameters says here with which.
        """
        return type(self).fit is not Method.fit

    @abstractmethod
    def synthesize(self, problem: Problem, run: Run) -> SampleSource:
        """Make, or train, the source of the images that the student learns from."""

    def objective(self, problem: Problem) -> Objective:
        """What the student minimises by default; Hinton's KD at the parameter ``temperature``."""
        return Distillation(self.params.temperature)

    def student_objective(self, problem: Problem) -> Objective:
        """What the student minimises: the method's own objective, or `transfer` put on it.

        A method with a student loop of its own trains its student on this.
        """
        own = self.objective(problem)
        return own if self.transfer is None else self.transfer.on(own)

    def refuse_unprepared(self, setting: str) -> str | None:
        """Why images and student cannot be made in turn, where `transfer` needs all images first.

        Args:
            setting: the parameter that asks for it, for the message.
        """
        if self.transfer is None or not self.transfer.needs_samples_first:
            return None
        return (
            f"objective '{self.transfer.name}' is prepared on finished samples, and with {setting} "
            "there are none before the student learns"
        )

    def student_samples(self, problem: Problem, samples: SampleSource, run: Run) -> SampleSource:
        """What the student learns from: ``samples``, unless a method adds to them."""
        return samples

    def distill(self, problem: Problem, samples: SampleSource, run: Run) -> nn.Module:
        """Train a student on ``samples``; the shared loop unless a method needs another."""
        seen = self.student_samples(problem, samples, run)
        return train_student(problem, seen, self.student_objective(problem), run)

    def fit(self, problem: Problem, run: Run) -> nn.Module:
        """The whole method. Override it when generator and student are trained together."""
        samples = run.reuse(lambda: self.synthesize(problem, run))
        with run.phase("distillation"):
            return self.distill(problem, samples, run)
