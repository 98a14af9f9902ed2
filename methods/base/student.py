"""The one loop that trains a student, whatever its images and its objective."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from methods.acceleration.cuda_graphs import Replayed, draws_random_numbers
from methods.acceleration.optimizers import SGD, Adam
from methods.base.counting import watch_images
from methods.base.objective import Objective
from methods.base.problem import Problem
from methods.base.run import Run
from methods.base.samples import Batch, Counted, SampleSource
from methods.base.teacher import Teacher
from methods.settings.budget import Budget

FALLS = {"thirds": 3.0, "fifths": 5.0, "double-fifths": 2.5}
"""Schedules that fall to a tenth twice, by how many such parts make the whole training."""


def student_optimizer(
    parameters: Iterable[nn.Parameter], budget: Budget, steps: int, rate: float = 1.0
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """The budget's optimiser and schedule, the same for every method of a table.

    Args:
        parameters: the parameters to optimise.
        budget: gives optimiser, learning rate, weight decay and schedule.
        steps: length of the schedule.
        rate: factor on the budget's learning rate.
    """
    rate, decay = rate * budget.student_lr, budget.student_weight_decay
    optimizer: torch.optim.Optimizer
    if budget.student_optimizer == "adam":
        optimizer = Adam(parameters, lr=rate, weight_decay=decay, fused=True)
    else:
        optimizer = SGD(parameters, lr=rate, weight_decay=decay, momentum=0.9, fused=True)

    def factor(step: int) -> float:
        if budget.student_schedule == "constant":
            return 1.0
        if budget.student_schedule == "step":
            return 1.0 if step < 0.8 * steps else 0.1
        if budget.student_schedule in FALLS:
            parts = FALLS[budget.student_schedule]
            return float(0.1 ** min(int(parts * step / steps), 2))
        return 0.5 * (1 + math.cos(math.pi * step / steps))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def checkpoint_steps(total: int, evaluations: int) -> set[int]:
    """``evaluations`` evenly spaced step counts, the last of them ``total``."""
    return {round(total * (i + 1) / evaluations) for i in range(evaluations)} - {0}


class Labels:
    """Adds the teacher's logits to batches that do not have them yet."""

    def __init__(self, teacher: Teacher, device: torch.device) -> None:
        @torch.no_grad()
        def logits(images: Tensor) -> dict[str, Tensor]:
            return {"logits": teacher(images).float()}

        self._ask = Replayed(logits, device, counters=teacher.ledger)

    def __call__(self, batch: Batch) -> Batch:
        """``batch`` with the teacher's logits."""
        if batch.teacher_logits is not None:
            return batch
        return batch._replace(teacher_logits=self._ask(batch.images)["logits"])


class StudentTraining:
    """A student in training: its optimiser, its schedule and its checkpoints.

    Args:
        problem: gives the student and the teacher.
        objective: the loss; parameters that it trains as well join the optimiser.
        run: gives budget, logging and checkpoints.
        steps: total number of steps.
        student: the student to train; a fresh one when not given.
        phase: name of the curves; only the phase ``distillation`` has checkpoints.
    """

    def __init__(
        self,
        problem: Problem,
        objective: Objective,
        run: Run,
        steps: int,
        student: nn.Module | None = None,
        phase: str = "distillation",
    ) -> None:
        # An objective may have made another network of the student, which counts as the student.
        made = fresh_student(problem, run) if student is None else student
        self.student = watch_images(made, problem.teacher.ledger)
        self.steps = steps
        self.taken = 0
        self._labelled = Labels(problem.teacher, run.device)
        self._objective = objective
        self._run = run
        self._phase = phase
        objective.attach(self.student, problem, run)
        self._parameters = [*self.student.parameters(), *objective.parameters()]
        self._optimizer, self._schedule = student_optimizer(
            self._parameters, run.budget, steps, objective.rate
        )
        self._gradients = Replayed(
            self._differentiate,
            run.device,
            parameters=self._parameters,
            counters=run.ledger,
            replay=self._replayable(problem),
        )
        shown = phase == "distillation"
        self._shown_at = checkpoint_steps(steps, run.budget.evaluations) if shown else set()

    def step(self, batch: Batch, samples: SampleSource) -> None:
        """One optimisation step on ``batch``, which came from ``samples``.

        Raises:
            Diverged: when the loss is NaN or infinite.
        """
        if self._objective.needs_teacher:
            batch = self._labelled(batch)
        self._run.log(self._phase, self.taken, self.steps, **self._gradients(*batch))
        self._optimizer.step()
        self._schedule.step()
        self.taken += 1
        if self.taken in self._shown_at:
            self._run.checkpoint(self.student, self.taken, samples)

    def _replayable(self, problem: Problem) -> bool:
        """Whether a GPU may record a step: a recorded one would draw other random numbers."""
        if self._run.device.type != "cuda" or not self._objective.replayable:
            return False
        return not draws_random_numbers(self.student, problem.image_shape)

    def _differentiate(
        self, images: Tensor, labels: Tensor | None, teacher_logits: Tensor | None
    ) -> dict[str, Tensor]:
        """The loss of a batch, whose gradients are left in the parameters' ``grad``."""
        for parameter in self._parameters:
            parameter.grad = None
        with self._run.autocast():
            loss = self._objective(self.student, Batch(images, labels, teacher_logits))
        loss.backward()
        return {"loss": loss.detach()}

    def state_dict(self) -> dict[str, Any]:
        """The states of student, objective, optimiser and schedule, and the steps taken."""
        return {
            "student": self.student.state_dict(),
            "objective": [parameter.detach() for parameter in self._objective.parameters()],
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "taken": self.taken,
        }

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Restore ``state``."""
        self.student.load_state_dict(state["student"])
        with torch.no_grad():
            for parameter, value in zip(
                self._objective.parameters(), state["objective"], strict=True
            ):
                parameter.copy_(value)
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        self.taken = state["taken"]

    def learn_from(self, samples: SampleSource) -> None:
        """Take all steps, on batches of ``samples``.

        Raises:
            Diverged: when the loss is NaN or infinite.
            Stopped: after a step, when the run was asked to stop.
        """
        name = "student-batches" if self._phase == "distillation" else f"{self._phase}-batches"
        stream = self._run.stream(name)
        batches = Counted.of(samples.batches(self._run.budget.student_batch, stream))
        with self._run.seeded(f"{self._phase}-dropout"):
            for _ in self._run.steps(self._phase, self.steps, training=self, batches=batches):
                self.step(next(batches), samples)


def fresh_student(problem: Problem, run: Run) -> nn.Module:
    """A student at its initialisation, in train mode on the run's device."""
    return problem.make_student().to(run.device).train()


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
    if objective.needs_teacher:
        samples = samples.label(problem.teacher)
    student, steps = objective.prepare(fresh_student(problem, run), problem, samples, run)
    training = StudentTraining(problem, objective, run, steps, student)
    training.learn_from(samples)
    return training.student
