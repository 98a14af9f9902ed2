"""Playing the rounds of an alternating method in one piece, or with a stop after each."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from methods.base.method import Method
from methods.base.run import Run
from methods.base.states import Stopped
from tests.helpers import tiny_run


class Kept:
    """A keeper of states that keeps the one of every step, in memory."""

    def __init__(self) -> None:
        self.states: dict[str, tuple[int, dict[str, Any]]] = {}

    def due(self) -> bool:
        """Always."""
        return True

    def save(self, loop: str, step: int, state: dict[str, Any]) -> None:
        """Keep a copy."""
        self.states[loop] = step, copy.deepcopy(state)

    def load(self, loop: str) -> tuple[int, dict[str, Any]] | None:
        """A copy of what is kept."""
        return copy.deepcopy(self.states.get(loop))


def in_one_piece(method: Method, **numbers: Any) -> tuple[nn.Module, Run]:
    """The student of an uninterrupted run on the tiny problem, and the run."""
    problem, run = tiny_run(**numbers)
    return method.fit(problem, run), run


def in_pieces(method: Method, **numbers: Any) -> tuple[nn.Module, Run, int]:
    """The same of a run that is stopped after every round; and how often it was stopped."""
    kept, stops = Kept(), 0
    while True:
        problem, run = tiny_run(keeper=kept, stopping=lambda: "asked to", **numbers)
        try:
            return method.fit(problem, run), run, stops
        except Stopped:
            stops += 1
