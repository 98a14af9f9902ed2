"""Rounds: a generator's turn, then the student's, until both have spent their budget.

    for every round    make:   the generator takes its steps, perhaps against the present student
                       learn:  the student takes its share of its own steps

An alternating method is an `AlternatingMethod`: it builds a `Game`, which says what a turn of the
generator is and where the student's batches come from. Everything else is here: budget, order,
checkpoints, resume at the border of every round, ledger, log and divergence.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

from torch import Tensor, nn

from methods.base.method import Method
from methods.base.problem import Problem
from methods.base.run import Run
from methods.base.samples import Counted, SampleSource
from methods.base.states import Part
from methods.base.student import StudentTraining
from methods.settings.budget import Budget

Terms = Mapping[str, Tensor]
"""Named scalars of one turn, detached; ``loss``, the last step's total, comes first. There are none
where the turn logs each of its steps itself."""


class Game(ABC):
    """The generator's side of an alternating method, for one run.

    Attributes:
        samples: what the student learns from. It may grow or change with every turn.
        steps: optimiser steps of the generator in one turn, inner steps counted; the budget's
            ``synthesis_steps`` are divided by it.
        warm_up: the share of the rounds, in [0, 1), before the student begins.
        student_mode: mode of the student's layers during the generator's turn.
    """

    samples: SampleSource
    steps: int = 1
    warm_up: float = 0.0
    student_mode: Literal["train", "eval"] = "eval"

    def rounds(self, budget: Budget) -> int:
        """How many rounds the budget has steps for, at least one."""
        return max(1, budget.synthesis_steps // self.steps)

    @abstractmethod
    def make(self, student: nn.Module, stage: float) -> Terms:
        """One turn of the generator: take its steps, and renew `samples`.

        Args:
            student: the present student, in `student_mode`; its weights are not to be changed.
            stage: share of the rounds that are over, in [0, 1).
        """

    @abstractmethod
    def parts(self) -> dict[str, Part]:
        """What turns change and read again, by name, as for `Run.steps`."""


class AlternatingMethod(Method):
    """A method in which generator and student play in turn; it overrides `game`."""

    @property
    def alternating(self) -> bool:
        return True

    @abstractmethod
    def game(self, problem: Problem, run: Run) -> Game:
        """The generator's side, at its beginning."""

    def supports(self, problem: Problem) -> str | None:
        return self.refuse_unprepared("rounds of generator and student")

    def synthesize(self, problem: Problem, run: Run) -> SampleSource:
        """The images at the end of the whole game, which needs the student too."""
        game = self.game(problem, run)
        play(self, game, problem, run)
        return game.samples

    def fit(self, problem: Problem, run: Run) -> nn.Module:
        return play(self, self.game(problem, run), problem, run)


def play(method: Method, game: Game, problem: Problem, run: Run) -> nn.Module:
    """Play all rounds that the budget has steps for, and return the student.

    Raises:
        Diverged: when a loss is NaN or infinite.
        Stopped: after a round, when the run was asked to stop.
    """
    budget = run.budget
    rounds = game.rounds(budget)
    objective = method.student_objective(problem)
    training = StudentTraining(problem, objective, run, budget.student_steps)
    seen = method.student_samples(problem, game.samples, run)
    if objective.needs_teacher:
        seen = seen.label(problem.teacher)
    batches = Counted.of(seen.batches(budget.student_batch, run.stream("student-batches")))
    parts = {**game.parts(), "student": training, "batches": batches}
    with run.seeded("rounds"):
        for number in run.steps("rounds", rounds, **parts):
            with run.phase("synthesis"), mode_of(training.student, game.student_mode):
                if terms := game.make(training.student, number / rounds):
                    run.log("synthesis", number, rounds, **terms)
            with run.phase("distillation"):
                due = steps_due(number + 1, rounds, budget.student_steps, game.warm_up)
                while training.taken < due:
                    training.step(next(batches), seen)
    return training.student


def steps_of_a_turn(wanted: int, run: Run) -> int:
    """``wanted`` optimiser steps, or as many as leave the budget two turns at least."""
    return min(wanted, max(1, run.budget.synthesis_steps // 2))


def steps_due(over: int, rounds: int, steps: int, warm_up: float = 0.0) -> int:
    """How many steps the student has taken when so many rounds are over.

    They are spread evenly over the rounds after the warm-up; the last round ends with all of them.

    Args:
        over: rounds that are over.
        rounds: all rounds.
        steps: all steps of the student.
        warm_up: share of the rounds without steps, in [0, 1); the last round always has some.
    """
    idle = min(math.ceil(warm_up * rounds), rounds - 1)
    return steps * max(0, over - idle) // (rounds - idle)


@contextmanager
def mode_of(network: nn.Module, mode: Literal["train", "eval"]) -> Iterator[None]:
    """Within the block the network's layers are in ``mode``, then in train mode again."""
    network.train(mode == "train")
    try:
        yield
    finally:
        network.train()
