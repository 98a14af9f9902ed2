"""Rounds: order, shares, resume, ledger."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from methods.base.objective import Distillation, Objective
from methods.base.problem import Problem
from methods.base.run import Run
from methods.base.samples import OnlineSource
from methods.base.states import Part
from methods.synthesis.rounds import (
    AlternatingMethod,
    Game,
    Terms,
    steps_due,
    steps_of_a_turn,
)
from tests.helpers import IMAGE_SHAPE, tiny_run


class NoiseGame(Game):
    """Notes its turns; the student learns from noise."""

    def __init__(self, run: Run, steps: int, warm_up: float) -> None:
        self.steps, self.warm_up = steps, warm_up
        self.turns: list[tuple[float, bool, int]] = []
        self.stream = run.stream("noise")
        self.run = run

        def draw(count: int, stream: torch.Generator) -> Tensor:
            return torch.randn(count, *IMAGE_SHAPE, generator=stream)

        self.samples = OnlineSource(draw)

    def make(self, student: nn.Module, stage: float) -> Terms:
        self.turns.append((stage, student.training, self.run.ledger.student_steps))
        return {"loss": torch.rand((), generator=self.stream)}

    def parts(self) -> dict[str, Part]:
        return {"noise": self.stream}


class Players(AlternatingMethod):
    """An alternating method whose game is handed to it."""

    name = "players"
    title = "Players"
    paper = "none"

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options

    def game(self, problem: Problem, run: Run) -> Game:
        self.played = NoiseGame(run, **self.options)
        return self.played

    def objective(self, problem: Problem) -> Objective:
        return Distillation(1.0)


def played(steps: int = 1, warm_up: float = 0.0, **budget: Any) -> tuple[NoiseGame, Run]:
    method = Players(steps=steps, warm_up=warm_up)
    problem, run = tiny_run(synthesis_steps=6, student_steps=12, **budget)
    method.fit(problem, run)
    return method.played, run


def test_generator_and_student_take_turns_until_both_budgets_are_spent() -> None:
    game, run = played()
    assert [steps for _, _, steps in game.turns] == [0, 2, 4, 6, 8, 10]
    assert [stage for stage, _, _ in game.turns] == [n / 6 for n in range(6)]
    assert run.ledger.student_steps == 12


def test_inner_steps_are_part_of_the_budget() -> None:
    game, run = played(steps=4)
    assert len(game.turns) == 1
    assert run.ledger.student_steps == 12


def test_the_student_waits_for_the_end_of_the_warm_up() -> None:
    game, run = played(warm_up=0.5)
    assert [steps for _, _, steps in game.turns] == [0, 0, 0, 0, 4, 8]
    assert run.ledger.student_steps == 12


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_the_students_mode_is_the_games_in_a_turn_and_train_in_its_own(mode: str) -> None:
    method = Players(steps=1, warm_up=0.0)
    NoiseGame.student_mode = mode  # type: ignore[assignment]
    try:
        problem, run = tiny_run(synthesis_steps=3, student_steps=3)
        student = method.fit(problem, run)
    finally:
        NoiseGame.student_mode = "eval"
    assert {training for _, training, _ in method.played.turns} == {mode == "train"}
    assert student.training


@pytest.mark.parametrize("rounds", [1, 3, 7, 100])
@pytest.mark.parametrize("warm_up", [0.0, 0.3, 0.99])
def test_all_steps_are_due_at_the_end_and_none_in_the_warm_up(rounds: int, warm_up: float) -> None:
    due = [steps_due(over, rounds, 50, warm_up) for over in range(rounds + 1)]
    assert due[0] == 0
    assert due[-1] == 50
    assert due == sorted(due)
    assert all(steps == 0 for over, steps in enumerate(due[:-1]) if over <= warm_up * rounds)
    taken = [b - a for a, b in itertools.pairwise(due) if b]
    assert max(taken) - min(taken) <= 1, "they are spread evenly"


@pytest.mark.parametrize(("wanted", "budget", "steps"), [(5, 100, 5), (5, 6, 3), (5, 1, 1)])
def test_a_turn_leaves_the_budget_two_turns(wanted: int, budget: int, steps: int) -> None:
    _, run = tiny_run(synthesis_steps=budget)
    assert steps_of_a_turn(wanted, run) == steps
