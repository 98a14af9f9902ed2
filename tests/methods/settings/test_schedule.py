"""The schedules of papers."""

from __future__ import annotations

import pytest

from benchmark.tasks.registry import all_tasks, get_task
from methods.base.registry import discover
from methods.settings.params import ParameterError
from methods.settings.schedule import PAPER, PaperSchedule
from tests.helpers import tiny_budget


def test_a_schedule_completes_itself_from_the_preset_and_is_named() -> None:
    preset = tiny_budget(name="paper", evaluations=7)
    budget = PaperSchedule("Us", "paper", student_steps=33, student_lr=0.5).on(preset)
    assert (budget.student_steps, budget.student_lr, budget.evaluations) == (33, 0.5, 7)
    assert budget.title == "paper (Us)"
    assert budget.varied(images=9).title == "paper (Us), images=9"


def test_the_paper_that_is_followed_is_no_part_of_a_runs_identity() -> None:
    preset = tiny_budget(name="paper")
    assert PaperSchedule("Us", "paper").on(preset).identity() == preset.identity()
    assert "schedule" not in preset.model_dump()


def test_mistakes_are_answered_in_one_line() -> None:
    with pytest.raises(ParameterError, match=r"Us's schedule: .* 'student_step'; did you mean"):
        PaperSchedule("Us", "paper", student_step=3)
    with pytest.raises(ParameterError, match="Us's schedule: student_lr is 0, but input should"):
        PaperSchedule("Us", "paper", student_lr=0).on(tiny_budget())


@pytest.mark.parametrize("name", sorted(discover()))
def test_every_shipped_schedule_is_a_budget_and_says_its_source(name: str) -> None:
    method = discover()[name]
    for task in map(get_task, all_tasks()):
        schedule = method.schedule_of(method.build_params({}, task.family), task.family)
        if PAPER in task.budgets and schedule is not None:
            budget = schedule.on(task.budgets[PAPER])
            assert budget.name == PAPER
            assert schedule.source
            assert budget.limits()["student_steps"] == schedule.numbers["student_steps"]


def test_fasts_generator_takes_its_inner_steps_for_each_of_220_batches() -> None:
    fast = discover()["fast"]
    for inner in (2, 5, 10):
        schedule = fast.schedule_of(fast.build_params({"inner_steps": inner}), "cifar10")
        assert schedule is not None
        assert schedule.numbers["synthesis_steps"] == 220 * inner
        assert schedule.numbers["student_steps"] * schedule.numbers["student_batch"] == 20_480_000
