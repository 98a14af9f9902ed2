"""Steps and images of a student are counted whatever trains it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from benchmark.tasks.registry import get_task
from methods.base.counting import unwatch, watch
from methods.base.ledger import Ledger, OverBudget
from tests.helpers import tiny_problem

IMAGES = torch.zeros(5, 1, 8, 8)


def learn(student: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    student(IMAGES).sum().backward()
    optimizer.step()


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW, torch.optim.RMSprop])
def test_every_optimiser_of_torch_is_counted(kind: type[torch.optim.Optimizer]) -> None:
    ledger = Ledger()
    student = tiny_problem(ledger=ledger).make_student()
    optimizer = kind(student.parameters(), lr=0.1)  # type: ignore[call-arg]
    for _ in range(3):
        learn(student, optimizer)
    assert (ledger.student_steps, ledger.student_images) == (3, 15)


def test_two_optimisers_that_share_a_student_take_one_step_together() -> None:
    ledger = Ledger()
    student = tiny_problem(ledger=ledger).make_student()
    first, *others = student.parameters()
    halves = [torch.optim.SGD([first], lr=0.1), torch.optim.SGD(others, lr=0.1)]
    student(IMAGES).sum().backward()
    for _ in range(4):
        for half in halves:
            half.step()
    assert ledger.student_steps == 4


def test_two_students_take_their_steps_one_after_the_other() -> None:
    ledger = Ledger()
    problem = tiny_problem(ledger=ledger)
    for student in (problem.make_student(), problem.make_student()):
        optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
        for _ in range(2):
            learn(student, optimizer)
    assert ledger.student_steps == 4


def test_the_steps_of_a_copy_are_the_students() -> None:
    ledger = Ledger()
    student = copy.deepcopy(tiny_problem(ledger=ledger).make_student())
    learn(student, torch.optim.SGD(student.parameters(), lr=0.1))
    assert (ledger.student_steps, ledger.student_images) == (1, 5)


def test_other_networks_take_no_steps_of_the_students() -> None:
    ledger = Ledger()
    tiny_problem(ledger=ledger).make_student()
    generator = nn.Linear(3, 4)
    optimizer = torch.optim.SGD(generator.parameters(), lr=0.1)
    generator(torch.zeros(2, 3)).sum().backward()
    optimizer.step()
    assert ledger.student_steps == ledger.student_images == 0


def test_images_count_only_where_the_student_may_learn_from_them() -> None:
    ledger = Ledger()
    student = tiny_problem(ledger=ledger).make_student()
    with torch.no_grad():
        student(IMAGES)
    assert ledger.student_images == 0
    student(IMAGES)
    assert ledger.student_images == 5
    student.requires_grad_(False)
    student(IMAGES)
    assert ledger.student_images == 5


@pytest.mark.parametrize("count", ["student_steps", "student_images", "teacher_forward"])
def test_a_count_over_its_limit_ends_the_work(count: str) -> None:
    ledger = Ledger(limits={count: 10})
    problem = tiny_problem(ledger=ledger)
    student = problem.make_student()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)

    def go_on() -> None:
        for _ in range(11):
            problem.teacher(IMAGES)
            learn(student, optimizer)

    with pytest.raises(OverBudget, match=f"of 10 {count.replace('_', ' ')}"):
        go_on()


@pytest.mark.parametrize("task", ["mnist", "cifar10-lite"])
def test_a_watched_student_computes_the_same_bits(task: str) -> None:
    bare = get_task(task).make_student().eval()
    watched = watch(copy.deepcopy(bare), Ledger())
    images = torch.rand(4, *get_task(task).image_shape)
    assert torch.equal(bare(images), watched(images))


def test_a_student_that_is_watched_no_more_has_no_hooks() -> None:
    student = unwatch(tiny_problem().make_student())
    assert not student._forward_pre_hooks


def test_a_bare_ledger_has_no_limits() -> None:
    ledger = Ledger()
    ledger.add({"student_steps": 10**9})
    ledger.check()
