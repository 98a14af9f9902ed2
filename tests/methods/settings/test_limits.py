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


def test_nothing_is_allowed_beyond_that() -> None:
    """The limits of MNIST at `cpu`, worked out by hand from the rule of `Budget.limits`."""
    cpu = all_tasks()["mnist"].budgets["cpu"]
    # 400 steps of 128 images are made, 4,000 steps of 256 learnt, 20,480 and 2,048 banked.
    assert cpu.of_method(inverts_pixels=False).limits() == {
        "teacher_backward": 102_400,
        "teacher_forward": 2 * (51_200 + 1_024_000) + 22_528,
        "synthetic_images": 51_200 + 2_048_000 + 22_528,
        "student_steps": 4_000,
        "student_images": 1_075_200,
    }
    # 8,192 images have 100 steps each, and are a bank too.
    assert cpu.of_method(inverts_pixels=True).limits() == {
        "teacher_backward": 1_638_400,
        "teacher_forward": 2 * (819_200 + 1_024_000) + 30_720,
        "synthetic_images": 819_200 + 2_048_000 + 30_720,
        "student_steps": 4_000,
        "student_images": 1_843_200,
    }


def test_real_images_may_be_labelled_once() -> None:
    budget = next(iter(all_tasks()["mnist"].budgets.values()))
    more = budget.limits(real_images=500)["teacher_forward"] - budget.limits()["teacher_forward"]
    assert more == 500
