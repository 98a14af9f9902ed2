"""The schedule by which a paper trained: the numbers that a method's own budget has."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from methods.settings.budget import Budget
from methods.settings.params import ParameterError, nearest

PAPER = "paper"
"""The preset under which every method has the schedule of its own paper for the task."""

NUMBERS = [name for name in Budget.model_fields if name not in ("name", "variant", "schedule")]
"""The numbers of a budget, which a schedule may give."""


class PaperSchedule:
    """How long a paper trained on one kind of task, and with which optimiser.

    Args:
        paper: the paper's short name, the one of its file of published numbers if it has one.
        source: where the numbers were read, and what of them could not be.
        numbers: numbers of a `Budget`. The task's preset ``paper`` gives those that are left out,
            such as how often the student is evaluated.

    Raises:
        ParameterError: one line, for a name that is no number of a budget.
    """

    def __init__(self, paper: str, source: str, **numbers: Any) -> None:
        for name in numbers:
            if name not in NUMBERS:
                raise ParameterError(
                    f"{paper}'s schedule: a budget has no number '{name}'; {nearest(name, NUMBERS)}"
                )
        self.paper, self.source, self.numbers = paper, source, numbers

    def on(self, preset: Budget) -> Budget:
        """This schedule as a budget, completed with the numbers of a preset.

        Raises:
            ParameterError: one line, for a number out of range.
        """
        known = {**preset.model_dump(), "schedule": self.paper}
        try:
            return Budget.model_validate({**known, **self.numbers})
        except ValidationError as error:
            first = error.errors()[0]
            message = first["msg"][0].lower() + first["msg"][1:]
            raise ParameterError(
                f"{self.paper}'s schedule: {first['loc'][0]} is {first['input']!r}, but {message}"
            ) from None

    def __str__(self) -> str:
        numbers = ", ".join(f"{name}={value}" for name, value in self.numbers.items())
        return f"{numbers} ({self.source})"
