"""What a run has spent, and the exception of one that spends more than its budget."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


class OverBudget(RuntimeError):
    """A run has spent more than its budget allows; it ends at once, and has no rank."""


COUNTS = (
    "teacher_forward",
    "teacher_backward",
    "synthetic_images",
    "student_steps",
    "student_images",
)
"""The names of the counts of a `Ledger`."""


@dataclass
class Ledger:
    """What a run has spent so far.

    The teacher counts its own passes, and the student its steps and images
    (`methods.base.counting`), whatever a method's own loop does. The parts that make images count
    them.

    Attributes:
        teacher_forward: images that passed forward through the teacher.
        teacher_backward: images to which gradients passed back through the teacher.
        synthetic_images: images that were made.
        student_steps: optimisation steps of the student.
        student_images: images that passed through the student with gradients.
        seconds: seconds of a clock, by phase.
        processor_seconds: seconds of all threads on a processor, by phase.
        work: floating-point operations as written, by phase (`methods.base.work`).
        steps_by_parameter: of every student that was made, the steps of each of its parameters.
        limits: the most that each count may reach; a count without one is not limited.
    """

    teacher_forward: int = 0
    teacher_backward: int = 0
    synthetic_images: int = 0
    student_steps: int = 0
    student_images: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    processor_seconds: dict[str, float] = field(default_factory=dict)
    work: dict[str, float] = field(default_factory=dict)
    steps_by_parameter: list[list[int]] = field(default_factory=list)
    limits: Mapping[str, int] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """All counts by name."""
        return {name: getattr(self, name) for name in COUNTS}

    def spent(self) -> dict[str, Any]:
        """Everything spent so far, without the limits; `go_on` takes it."""
        spent = asdict(self)
        del spent["limits"]
        return spent

    def go_on(self, spent: Mapping[str, Any]) -> None:
        """Go on from what was `spent`; students that were made since keep their places."""
        made = self.steps_by_parameter
        for name, value in spent.items():
            setattr(self, name, copy.deepcopy(value))
        self.steps_by_parameter += made[len(self.steps_by_parameter) :]

    def add(self, counts: Mapping[str, int]) -> None:
        """Add to the named counts.

        Raises:
            OverBudget: when a count goes over its limit.
        """
        for name, value in counts.items():
            setattr(self, name, getattr(self, name) + value)
        if self.limits:
            self.check(counts)

    def check(self, names: Mapping[str, int] | tuple[str, ...] = COUNTS) -> None:
        """Compare the named counts with their limits.

        Raises:
            OverBudget: naming the first count over its limit.
        """
        for name in names:
            spent, limit = getattr(self, name), self.limits.get(name)
            if limit is not None and spent > limit:
                what = name.replace("_", " ")
                raise OverBudget(f"it spent {spent:,} of {limit:,} {what}")
