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
    budget = run.budget
    student = problem.make_student().to(run.device)
    optimizer, schedule = student_optimizer(student.parameters(), budget, budget.student_steps)
    if objective.needs_teacher:
        samples = samples.label(problem.teacher)
    batches = samples.batches(budget.student_batch, run.stream("student-batches"))
    evaluate_at = checkpoint_steps(budget.student_steps, budget.evaluations)
    student.train()
    for step, batch in zip(range(budget.student_steps), batches, strict=False):
        if objective.needs_teacher:
            batch = with_teacher(batch, problem.teacher)
        loss = objective(student, batch)
        run.log("distillation", step, budget.student_steps, loss=loss.detach())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        run.ledger.student_steps += 1
        if step + 1 in evaluate_at:
            run.checkpoint(student, step + 1, samples)
    return student
