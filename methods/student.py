"""The one loop that trains a student, whatever its images and its objective."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import nn

from methods.objectives import Objective
from methods.sources import Batch, SampleSource

if TYPE_CHECKING:
    from methods.base import Problem, Run
    from methods.budget import Budget


def student_optimizer(
    parameters: Iterable[nn.Parameter], budget: Budget, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """The budget's optimiser and schedule, the same for every method of a table."""
    rate, decay = budget.student_lr, budget.student_weight_decay
    optimizer: torch.optim.Optimizer
    if budget.student_optimizer == "adam":
        optimizer = torch.optim.Adam(parameters, lr=rate, weight_decay=decay, fused=True)
    else:
        optimizer = torch.optim.SGD(
            parameters, lr=rate, weight_decay=decay, momentum=0.9, fused=True
        )

    def factor(step: int) -> float:
        if budget.student_schedule == "constant":
            return 1.0
        if budget.student_schedule == "step":
            return 1.0 if step < 0.8 * steps else 0.1
        return 0.5 * (1 + math.cos(math.pi * step / steps))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def checkpoint_steps(total: int, evaluations: int) -> set[int]:
    """``evaluations`` evenly spaced step counts, the last of them ``total``."""
    return {round(total * (i + 1) / evaluations) for i in range(evaluations)} - {0}


def with_teacher(batch: Batch, teacher: nn.Module) -> Batch:
    """The batch with the teacher's logits, asked now unless the bank already knew them."""
    if batch.teacher_logits is not None:
        return batch
    with torch.no_grad():
        return batch._replace(teacher_logits=teacher(batch.images).float())


class StudentTraining:
    """A student in training: its optimiser, its schedule and where it is shown.

    Args:
        problem: gives the student and the teacher.
        objective: what is minimised.
        run: budget, logging, checkpoints.
        steps: how many steps there will be.
    """

    def __init__(self, problem: Problem, objective: Objective, run: Run, steps: int) -> None:
        self.student = problem.make_student().to(run.device).train()
        self.steps = steps
        self.taken = 0
        self._teacher = problem.teacher
        self._objective = objective
        self._run = run
        self._optimizer, self._schedule = student_optimizer(
            self.student.parameters(), run.budget, steps
        )
        self._shown_at = checkpoint_steps(steps, run.budget.evaluations)

    def step(self, batch: Batch, samples: SampleSource) -> None:
        """One optimisation step on ``batch``, which came from ``samples``.

        Raises:
            Diverged: when the loss is NaN or infinite.
        """
        if self._objective.needs_teacher:
            batch = with_teacher(batch, self._teacher)
        with self._run.autocast():
            loss = self._objective(self.student, batch)
        self._run.log("distillation", self.taken, self.steps, loss=loss.detach())
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        self._schedule.step()
        self._run.ledger.student_steps += 1
        self.taken += 1
        if self.taken in self._shown_at:
            self._run.checkpoint(self.student, self.taken, samples)


def train_student(
    problem: Problem, samples: SampleSource, objective: Objective, run: Run
) -> nn.Module:
    """Train a fresh student for the budget's steps and return it after the last one.

    Args:
        problem: gives the student and the teacher.
        samples: where the images come from.
        objective: what is minimised.
        run: budget, random streams, logging.

    Raises:
        Diverged: when the loss is NaN or infinite.
    """
    steps = run.budget.student_steps
    training = StudentTraining(problem, objective, run, steps)
    if objective.needs_teacher:
        samples = samples.label(problem.teacher)
    batches = samples.batches(run.budget.student_batch, run.stream("student-batches"))
    for _, batch in zip(range(steps), batches, strict=False):
        training.step(batch, samples)
    return training.student
