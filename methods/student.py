"""The one loop that trains a student, whatever its images and its objective."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from methods.cuda_graphs import Gradients, Replayed, has_dropout
from methods.objectives import Diverged, Objective
from methods.optimizers import SGD, Adam
from methods.sources import Batch, Counted, SampleSource
from methods.teacher import Teacher

if TYPE_CHECKING:
    from methods.base import Problem, Run
    from methods.budget import Budget


def student_optimizer(
    parameters: Iterable[nn.Parameter], budget: Budget, steps: int, rate: float = 1.0
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """The budget's optimiser and schedule, the same for every method of a table.

    Args:
        parameters: what is optimised.
        budget: names the optimiser.
        steps: over which the schedule runs.
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
        if budget.student_schedule == "thirds":
            return float(0.1 ** min(3 * step // steps, 2))
        return 0.5 * (1 + math.cos(math.pi * step / steps))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def checkpoint_steps(total: int, evaluations: int) -> set[int]:
    """``evaluations`` evenly spaced step counts, the last of them ``total``."""
    return {round(total * (i + 1) / evaluations) for i in range(evaluations)} - {0}


class Labels:
    """Batches with the teacher's logits, which is asked unless the bank already knew them."""

    def __init__(self, teacher: Teacher, device: torch.device) -> None:
        @torch.no_grad()
        def logits(images: Tensor) -> list[Tensor]:
            return [teacher(images).float()]

        self._ask = Replayed(logits, device, teacher.ledger)

    def __call__(self, batch: Batch) -> Batch:
        """The batch, labelled."""
        if batch.teacher_logits is not None:
            return batch
        (logits,) = self._ask(batch.images)
        return batch._replace(teacher_logits=logits)


class StudentTraining:
    """A student in training: its optimiser, its schedule and where it is shown.

    Args:
        problem: gives the student and the teacher.
        objective: what is minimised; what it trains beside the student joins the optimiser.
        run: budget, logging, checkpoints.
        steps: how many steps there will be.
        student: a fresh one unless given.
        phase: name of the curves; only students of the phase ``distillation`` are shown.
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
        self.student = student if student is not None else fresh_student(problem, run)
        self.steps = steps
        self.taken = 0
        self._labelled = Labels(problem.teacher, run.device)
        self._objective = objective
        self._run = run
        self._phase = phase
        objective.attach(self.student, problem, run)
        self._optimizer, self._schedule = student_optimizer(
            [*self.student.parameters(), *objective.parameters()],
            run.budget,
            steps,
            objective.rate,
        )
        self._gradients = Gradients(
            [self._loss],
            [*self.student.parameters(), *objective.parameters()],
            run.device,
            objective.replayable and not has_dropout(self.student),
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
        (loss,) = self._gradients([batch])
        self._run.log(self._phase, self.taken, self.steps, loss=loss)
        self._optimizer.step()
        self._schedule.step()
        self._run.ledger.student_steps += 1
        self.taken += 1
        if self.taken in self._shown_at:
            self._run.checkpoint(self.student, self.taken, samples)

    def _loss(self, batch: Batch) -> Tensor:
        with self._run.autocast():
            return self._objective(self.student, batch)

    def state_dict(self) -> dict[str, Any]:
        """Student, objective, optimiser, schedule and position."""
        return {
            "student": self.student.state_dict(),
            "objective": [parameter.detach() for parameter in self._objective.parameters()],
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "taken": self.taken,
        }

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Be as when ``state`` was taken."""
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
        """All steps, on batches of ``samples``.

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


def train_students(
    problems: Sequence[Problem],
    samples: Sequence[SampleSource],
    objective: Objective,
    runs: Sequence[Run],
) -> list[nn.Module | Diverged]:
    """Train the students of several seeds as one batched program.

    Each sees the batches, the initialisation and the schedule it would have had alone. On a CPU
    their weights are stacked: what is summed is summed in another order, so that losses agree to
    rounding and not to the bit. On a GPU they are trained side by side, with the kernels each would
    have had alone. Students that draw random numbers of their own, as dropout does, are trained one
    after the other, to the bit as alone: torch has one generator, whose numbers belong to one seed.

    Args:
        problems: one per seed, alike but for it.
        samples: one source per seed.
        objective: what each student minimises.
        runs: one per seed, on one device and with one budget.

    Returns:
        The trained student of each seed, or why it diverged; the others are none the worse.
    """
    run, steps = runs[0], runs[0].budget.student_steps
    students = [fresh_student(problem, run) for problem in problems]
    if draws_random_numbers(students[0], problems[0].image_shape):
        everything = zip(problems, samples, runs, strict=True)
        return [_train_alone(problem, own, objective, run) for problem, own, run in everything]
    if run.device.type == "cuda":
        return _train_side_by_side(problems, samples, objective, runs, students)
    skeleton = copy.deepcopy(students[0]).to("meta")
    parameters, buffers = stack_module_state(students)
    optimizer, schedule = student_optimizer(parameters.values(), run.budget, steps)
    shown_at = checkpoint_steps(steps, run.budget.evaluations)
    sources, streams = _labelled_streams(problems, samples, objective, runs)

    def loss_of(
        weights: dict[str, Tensor], state: dict[str, Tensor], fields: dict[str, Tensor]
    ) -> Tensor:
        student = _Stateless(skeleton, weights, state)
        return objective(student, Batch(**fields))

    stopped: dict[int, Diverged] = {}
    for step in range(steps):
        batches = [next(stream) for stream in streams]
        with run.autocast():
            losses = torch.vmap(loss_of)(parameters, buffers, _stacked(batches))
        optimizer.zero_grad(set_to_none=True)
        losses.sum().backward()
        optimizer.step()
        schedule.step()
        for i in _log_step(runs, losses.detach(), step, steps, stopped):
            if step + 1 in shown_at:
                _take_out(students[i], parameters, buffers, i)
                runs[i].checkpoint(students[i], step + 1, sources[i])
        if len(stopped) == len(runs):
            break
    for i, student in enumerate(students):
        _take_out(student, parameters, buffers, i)
    return [stopped.get(i, student) for i, student in enumerate(students)]


@torch.no_grad()
def draws_random_numbers(network: nn.Module, image_shape: tuple[int, int, int]) -> bool:
    """Whether a network, in the mode it is in, draws from torch's own generators when it is called.

    Not every layer that does so is a dropout module: some call functions, or drop whole branches.

    Args:
        network: stays as it is, and so do the generators.
        image_shape: (C, H, W) of its input.
    """
    device = next(network.parameters()).device
    on_gpu = device.type == "cuda"

    def states() -> list[Tensor]:
        return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if on_gpu else [])]

    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        before = states()
        copy.deepcopy(network)(torch.zeros(2, *image_shape, device=device))
        return not all(map(torch.equal, before, states()))


def _train_alone(
    problem: Problem, samples: SampleSource, objective: Objective, run: Run
) -> nn.Module | Diverged:
    try:
        return train_student(problem, samples, objective, run)
    except Diverged as error:
        return error


def _labelled_streams(
    problems: Sequence[Problem],
    samples: Sequence[SampleSource],
    objective: Objective,
    runs: Sequence[Run],
) -> tuple[list[SampleSource], list[Iterator[Batch]]]:
    sources = [
        source.label(problem.teacher) if objective.needs_teacher else source
        for source, problem in zip(samples, problems, strict=True)
    ]
    streams: list[Iterator[Batch]] = [
        source.batches(own.budget.student_batch, own.stream("student-batches"))
        for source, own in zip(sources, runs, strict=True)
    ]
    if objective.needs_teacher:
        streams = [
            map(Labels(problem.teacher, own.device), stream)
            for stream, problem, own in zip(streams, problems, runs, strict=True)
        ]
    return sources, streams


def _log_step(
    runs: Sequence[Run],
    losses: Sequence[Tensor] | Tensor,
    step: int,
    steps: int,
    stopped: dict[int, Diverged],
) -> Iterator[int]:
    """Log a step of every seed that has not diverged; yield those that still have not."""
    for i, own in enumerate(runs):
        if i in stopped:
            continue
        try:
            own.log("distillation", step, steps, loss=losses[i])
        except Diverged as error:
            stopped[i] = error
            continue
        own.ledger.student_steps += 1
        yield i


def _train_side_by_side(
    problems: Sequence[Problem],
    samples: Sequence[SampleSource],
    objective: Objective,
    runs: Sequence[Run],
    students: Sequence[nn.Module],
) -> list[nn.Module | Diverged]:
    """`train_students` on a GPU, which runs the kernels of several small networks at once.

    One optimiser has all their parameters, of which it treats each alone.
    """
    steps = runs[0].budget.student_steps
    parameters = [parameter for student in students for parameter in student.parameters()]
    optimizer, schedule = student_optimizer(parameters, runs[0].budget, steps)
    shown_at = checkpoint_steps(steps, runs[0].budget.evaluations)
    sources, streams = _labelled_streams(problems, samples, objective, runs)

    def loss_of(student: nn.Module, batch: Batch) -> Tensor:
        with runs[0].autocast():
            return objective(student, batch)

    gradients = Gradients(
        [partial(loss_of, student) for student in students],
        parameters,
        runs[0].device,
        objective.replayable,
    )
    stopped: dict[int, Diverged] = {}
    for step in range(steps):
        losses = gradients([next(stream) for stream in streams])
        optimizer.step()
        schedule.step()
        for i in _log_step(runs, losses, step, steps, stopped):
            if step + 1 in shown_at:
                runs[i].checkpoint(students[i], step + 1, sources[i])
        if len(stopped) == len(runs):
            break
    return [stopped.get(i, student) for i, student in enumerate(students)]


class _Stateless(nn.Module):
    """A network that is called with given weights, so that an objective can take it for one."""

    def __init__(
        self, skeleton: nn.Module, weights: dict[str, Tensor], state: dict[str, Tensor]
    ) -> None:
        super().__init__()
        object.__setattr__(self, "call", lambda *x: functional_call(skeleton, (weights, state), x))

    def forward(self, *inputs: Tensor) -> Tensor:
        out: Tensor = self.call(*inputs)  # type: ignore[operator]
        return out


def _stacked(batches: Sequence[Batch]) -> dict[str, Tensor]:
    """The fields that the batches have, with the seed as a new first dimension."""
    present = [name for name, value in batches[0]._asdict().items() if value is not None]
    return {name: torch.stack([getattr(batch, name) for batch in batches]) for name in present}


@torch.no_grad()
def _take_out(
    student: nn.Module, parameters: dict[str, Tensor], buffers: dict[str, Tensor], index: int
) -> None:
    """Copy one seed's weights out of the stack."""
    for name, value in student.state_dict(keep_vars=True).items():
        value.copy_({**parameters, **buffers}[name][index])
