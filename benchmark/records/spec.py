"""The specification of a run, of which its identity is made.

This module imports no torch, so a table of ten thousand records starts at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import StringConstraints, TypeAdapter

from benchmark.records.canonical import digest
from benchmark.records.schema import OmitsDefaults, Strict
from methods.settings.budget import Budget
from methods.settings.names import NAME

Purpose = Literal["table", "sweep", "draw", "tune"]
"""What a run is for: a row of the leaderboard, one value of a swept setting, one random setting
from a method's tuning ranges, for its robustness score, or one trial of a choice of settings."""


TUNING_SEEDS_FROM = 100
"""Seeds from here on are for tuning and random draws, those below for tables and sweeps. No student
is in both."""


class ObjectiveSpec(Strict):
    """The objective that replaces a method's own."""

    name: str
    version: int
    params: dict[str, Any]


@lru_cache(1024)
def _budget_identity(budget: Budget) -> Mapping[str, Any]:
    """The identity of a budget, kept because many records have the same budget."""
    return budget.identity()


FileName = Annotated[str, StringConstraints(pattern=f"^{NAME.pattern}$")]
"""A text that becomes the name of a folder, and can lead to no other folder."""


NOT_IDENTITY = frozenset({"suite", "budget", "purpose", "tuned"})
"""The fields that do not count for identity as they are: who asked and why; and the budget,
which has an identity of its own."""


class _Experiment(OmitsDefaults):
    """What decides the result of a run, but for its teacher and the version of its method."""

    later = frozenset({"proxy", "objective", "purpose", "tuned"})

    task: FileName
    task_version: int
    data: str
    method: FileName
    params: dict[str, Any]
    budget: Budget
    seed: int
    proxy: str = ""
    objective: ObjectiveSpec | None = None
    purpose: Purpose = "table"
    tuned: str = ""
    """How the parameters were chosen, such as ``16 trials, by agreement``; empty: as published."""

    @property
    def misplaced(self) -> bool:
        """Whether it would be in a table or sweep with a seed that is for tuning."""
        return self.purpose in ("table", "sweep") and self.seed >= TUNING_SEEDS_FROM


class Spec(_Experiment):
    """What was asked for. Runs with equal specifications and teachers are the same experiment.

    ``proxy`` is the checksum of the proxy images, empty for methods that see none. ``objective`` is
    None if the student minimises the method's own.
    """

    suite: FileName
    method_version: int

    def run_id(self, teacher_checksum: str) -> str:
        """The identity of the experiment, of which the suite and its purpose are no part."""
        # The result of `model_dump`, sooner: a table asks for the ids of ten thousand records.
        identity = {name: v for name, v in vars(self).items() if name not in NOT_IDENTITY}
        for name in self.later & identity.keys():
            if identity[name] == type(self).model_fields[name].default:
                del identity[name]
        if self.objective is not None:
            identity["objective"] = self.objective.model_dump(mode="json")
        budget = _budget_identity(self.budget)
        return digest({**identity, "budget": budget, "teacher": teacher_checksum})


class PlannedEntry(_Experiment):
    """A run that a suite planned, as ``plan.json`` keeps it under the run's id."""

    teacher: str
    version: int

    @classmethod
    def of(cls, spec: Spec, teacher: str) -> PlannedEntry:
        """The entry of a specification and its teacher's checksum."""
        same = {name: getattr(spec, name) for name in _Experiment.model_fields}
        return cls(teacher=teacher, version=spec.method_version, **same)


Plan = TypeAdapter(dict[str, PlannedEntry])
