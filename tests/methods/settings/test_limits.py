"""What a budget allows: enough for every way to spend it, and no more."""

from __future__ import annotations

import pytest

from benchmark.tasks.registry import all_tasks
from methods.settings.budget import Budget

BUDGETS = [
    pytest.param(budget.of_method(inverts), id=f"{task.name}-{name}-{inverts}")
    for task in all_tasks().values()
    for name, budget in task.budgets.items()
    for inverts in (False, True)
]


@pytest.mark.parametrize("budget", BUDGETS)
def test_every_way_to_spend_a_budget_is_within_its_limits(budget: Budget) -> None:
    limits = budget.limits()
    pixels = budget.inversion_images * budget.inversion_steps
    made = pixels or budget.synthesis_steps * budget.synthesis_batch
    learnt = budget.student_steps * budget.student_batch
    bank = budget.images + budget.validation_images + budget.inversion_images
    # Two views of every image that is made against the student; fresh images, labelled one by one.
    assert 2 * made + learnt <= limits["teacher_forward"]
    assert 2 * made <= limits["teacher_backward"]
    assert made + learnt <= limits["student_images"]
    # A bank labelled once, and its features compared at every step.
    assert made + bank + learnt <= limits["teacher_forward"]
    # An objective that is prepared on a tenth as many fresh images as the student learns from.
    assert made + 1.1 * learnt + budget.validation_images <= limits["synthetic_images"]


def test_real_images_may_be_labelled_once() -> None:
    budget = next(iter(all_tasks()["mnist"].budgets.values()))
    more = budget.limits(real_images=500)["teacher_forward"] - budget.limits()["teacher_forward"]
    assert more == 500
