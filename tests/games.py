"""Playing an alternating method in tests: at once, or stopped at the border of every round."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from methods.base.method import Method
from methods.base.problem import Problem
from methods.base.run import Run
from methods.base.states import Stopped

Posed = Callable[[], tuple[Problem, Run]]


class KeptInMemory:
    """Keeps the state of the last step."""

    def __init__(self) -> None:
        self.kept: tuple[int, dict[str, Any]] | None = None

    def due(self) -> bool:
        return False

    def save(self, loop: str, step: int, state: dict[str, Any]) -> None:
        self.kept = step, copy.deepcopy(state)

    def load(self, loop: str) -> tuple[int, dict[str, Any]] | None:
        return copy.deepcopy(self.kept)


def in_pieces(method: Method, posed: Posed) -> tuple[nn.Module, Run, int]:
    """A fit that is stopped after every round: the student, the last run, and how many stops."""
    keeper, stops = KeptInMemory(), 0
    while True:
        problem, run = posed()
        run.keeper = keeper
        run._stopping = lambda: "enough"
        try:
            return method.fit(problem, run), run, stops
        except Stopped:
            stops += 1


def same_after_stops(method: Method, posed: Posed) -> int:
    """Assert that stops at every border change nothing; returns the number of rounds."""
    problem, whole = posed()
    student = method.fit(problem, whole)
    again, pieces, stops = in_pieces(method, posed)
    pairs = zip(student.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert pieces.curves == whole.curves
    assert pieces.ledger.counts() == whole.ledger.counts()
    return stops
