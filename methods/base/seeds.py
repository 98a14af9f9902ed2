"""Students of several seeds, each as it would be alone, in the time of fewer."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from methods.acceleration.cuda_graphs import Gradients, draws_random_numbers
from methods.base.objective import Objective
from methods.base.samples import Batch, SampleSource
from methods.base.states import Diverged
from methods.base.student import (
    Labels,
    checkpoint_steps,
    fresh_student,
    student_optimizer,
    train_student,
)

if TYPE_CHECKING:
    from methods.base.problem import Problem
    from methods.base.run import Run


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
