"""Steps and images of a student are counted whatever trains it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from benchmark.tasks.registry import get_task
from methods.base.counting import unwatch, watch
from methods.base.ledger import Ledger, OverBudget
from methods.networks.calls import untold
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


def test_the_steps_of_a_copy_count_where_several_optimisers_share_it() -> None:
    ledger = Ledger()
    student = copy.deepcopy(tiny_problem(ledger=ledger).make_student())
    first, *others = student.parameters()
    halves = [torch.optim.SGD([first], lr=0.1), torch.optim.SGD(others, lr=0.1)]
    student(IMAGES).sum().backward()
    for _ in range(4):
        for half in halves:
            half.step()
    assert ledger.student_steps == 4


def test_every_copy_takes_its_own_steps() -> None:
    ledger = Ledger()
    student = tiny_problem(ledger=ledger).make_student()
    for _ in range(3):
        twin = copy.deepcopy(student)
        learn(twin, torch.optim.SGD(twin.parameters(), lr=0.1))
    assert ledger.student_steps == 3


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


def test_a_student_that_is_watched_no_more_is_as_it_was() -> None:
    ledger = Ledger()
    student = tiny_problem(ledger=ledger).make_student()
    attributes = set(unwatch(student).__dict__)
    assert not {"forward", "forward_features"} & attributes
    student(IMAGES)
    assert ledger.student_images == 0


def test_images_are_counted_however_they_enter_a_student() -> None:
    ledger = Ledger()
    student: Any = tiny_problem(ledger=ledger).make_student()
    student.forward_head(student.forward_features(IMAGES))
    assert ledger.student_images == 5
    student(IMAGES)
    student.forward(IMAGES)
    assert ledger.student_images == 15


def test_a_step_that_looks_often_is_seen_by_its_images() -> None:
    ledger = Ledger(limits={"student_images": 50})
    student = tiny_problem(ledger=ledger).make_student()
    optimizer = torch.optim.LBFGS(student.parameters(), max_iter=100, tolerance_change=0.0)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (student(IMAGES) - 1).square().sum()
        loss.backward()
        return loss

    def go_on() -> None:
        for _ in range(50):
            optimizer.step(closure)

    with pytest.raises(OverBudget, match="student images"):
        go_on()


class Lookahead(torch.optim.Optimizer):
    """An optimiser that takes its steps by another's."""

    def __init__(self, inner: torch.optim.Optimizer) -> None:
        self.inner = inner
        super().__init__(inner.param_groups, {})

    def step(self, closure: Any = None) -> None:
        self.inner.step()


def test_an_optimiser_around_another_takes_one_step() -> None:
    ledger = Ledger()
    student = tiny_problem(ledger=ledger).make_student()
    optimizer = Lookahead(torch.optim.SGD(student.parameters(), lr=0.1))
    for _ in range(3):
        learn(student, optimizer)
    assert ledger.student_steps == 3


def test_a_step_that_fails_leaves_the_count_right() -> None:
    ledger = Ledger()
    student = tiny_problem(ledger=ledger).make_student()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)

    def fails() -> torch.Tensor:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        optimizer.step(fails)
    learn(student, optimizer)
    assert ledger.student_steps == 1


def test_a_run_that_goes_on_counts_as_if_it_had_not_stopped() -> None:
    whole, first, second = Ledger(), Ledger(), Ledger()

    def halves(ledger: Ledger) -> list[torch.optim.Optimizer]:
        student = tiny_problem(ledger=ledger).make_student()
        student(IMAGES).sum().backward()
        body, *head = student.parameters()
        return [torch.optim.SGD([body], lr=0.1), torch.optim.SGD(head, lr=0.1)]

    for optimizer in halves(whole):
        for _ in range(4):
            optimizer.step()
    body, head = halves(first)
    for _ in range(4):
        body.step()
    head.step()
    _, head = halves(second)
    second.go_on(first.spent())
    for _ in range(3):
        head.step()
    assert second.student_steps == whole.student_steps == 4


def test_the_teachers_own_network_counts_too() -> None:
    problem = tiny_problem(ledger=(ledger := Ledger()))
    images = IMAGES.clone().requires_grad_()
    problem.teacher.network(images).sum().backward()
    copy.deepcopy(problem.teacher)(IMAGES)
    assert (ledger.teacher_forward, ledger.teacher_backward) == (10, 5)
    with untold():
        problem.teacher(IMAGES)
    assert ledger.teacher_forward == 10


def test_a_bare_ledger_has_no_limits() -> None:
    ledger = Ledger()
    ledger.add({"student_steps": 10**9})
    ledger.check()
