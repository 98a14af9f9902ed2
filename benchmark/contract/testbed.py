"""A tiny task with a trained teacher, and fits of a method on it that are watched."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.machine import stopping
from benchmark.machine.device import pick_precision
from benchmark.machine.tensors import checksum
from benchmark.records.record import Record
from benchmark.runs.job import Context, Job, proxy_checksum
from benchmark.runs.posing import pose
from benchmark.runs.trial import execute
from benchmark.tasks.loaded import dataset
from benchmark.tasks.registry import get_task
from benchmark.teachers.teacher import TrainedTeacher
from benchmark.teachers.training import train_teacher
from methods.base.ledger import Ledger
from methods.base.method import Method
from methods.base.problem import Access, Problem
from methods.base.run import Run
from methods.base.samples import SampleSource
from methods.base.teacher import Teacher

TASK, BUDGET = "tiny", "smoke"


@dataclass
class Fit:
    """The results of one fit of a method."""

    student: nn.Module
    run: Run
    problem: Problem
    samples: list[SampleSource]
    read: set[Access] = field(default_factory=set)

    @property
    def bits(self) -> str:
        """A hash of the student's weights and of every recorded curve."""
        weights = checksum(self.student.state_dict())
        return f"{weights} {sorted(self.run.curves.items())}"


class WatchedProblem(Problem):
    """A problem that records which data were read."""

    read: set[Access]

    def _get(self, flag: Access, what: str) -> Any:
        self.read.add(flag)
        return super()._get(flag, what)


@cache
def tiny_teacher() -> TrainedTeacher:
    """The tiny task's teacher, trained once per process."""
    task = get_task(TASK)
    return train_teacher(task, dataset(TASK, None), lambda *_: None)


@contextmanager
def workshop() -> Iterator[Context]:
    """A context whose cache is a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        cpu = torch.device("cpu")
        yield Context(
            cache=Path(folder),
            teacher_folders=(),
            precision=pick_precision(cpu),
        )


def fit(
    cls: type[Method], overrides: Mapping[str, Any] | None = None, seed: int = 0, noise: int = 0
) -> Fit:
    """Fit a method on the tiny task, without the harness around it.

    Args:
        cls: the method.
        overrides: parameters other than the defaults.
        seed: the seed of the run.
        noise: the seed of torch's global generator, on which nothing may depend.
    """
    task = get_task(TASK)
    method = cls(cls.build_params(overrides or {}, task.family))
    teacher = Teacher(tiny_teacher().build(task), Ledger())
    with workshop() as context:
        posed = pose(task, method, teacher, seed, context)
    problem = WatchedProblem.__new__(WatchedProblem)
    problem.__dict__.update(posed.__dict__)
    problem.read = set()
    samples: list[SampleSource] = []

    def remember(make: Callable[[], SampleSource]) -> SampleSource:
        samples.append(make())
        return samples[-1]

    run = Run(
        task.budgets[BUDGET],
        seed,
        precision=pick_precision(torch.device("cpu")),
        ledger=teacher.ledger,
        find_samples=remember,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(noise)
        student = method.fit(problem, run)
    return Fit(student, run, problem, samples, problem.read)


def job(cls: type[Method], seed: int = 0) -> Job:
    """A method's default parameters on the tiny task, as the harness would run it."""
    from benchmark.suites.plan import PlannedRun

    task = get_task(TASK)
    teacher = tiny_teacher()
    params = cls.build_params({}, task.family)
    planned = PlannedRun("contract", task, cls, params, {}, task.budgets[BUDGET], seed)
    with workshop() as context:
        proxy = proxy_checksum(cls, TASK, context)
    spec = planned.spec(dataset(TASK, None).checksum(), proxy)
    return Job(spec, spec.run_id(teacher.info.checksum), {}, teacher)


def record(
    cls: type[Method], context: Context, interrupt_at: str = "", stop_after: int = 0
) -> Record:
    """Run a method through the harness.

    Args:
        cls: the method.
        context: where and how.
        interrupt_at: the phase at whose first report Ctrl-C interrupts the run.
        stop_after: the number of the report, from 1, after which the run is asked to stop.
    """
    import inspect

    own = replace(context, method_folders=_folders_of(inspect.getfile(cls)))
    reports = 0

    def progress(phase: str, step: int, total: int, loss: float) -> None:
        nonlocal reports
        reports += 1
        if phase == interrupt_at:
            raise KeyboardInterrupt
        if reports == stop_after:
            stopping.request(stopping.USER)

    try:
        return execute(job(cls), own, progress)
    finally:
        stopping.forget()


def _folders_of(file: str) -> tuple[Path, ...]:
    import methods

    path = Path(file).resolve()
    return () if path.parent == Path(methods.__path__[0]).resolve() else (path,)


def test_tensors() -> list[Tensor]:
    """The tiny task's test images, as stored and as a network sees them."""
    task = get_task(TASK)
    raw = dataset(TASK, None).test.images
    return [raw, task.preprocess(raw)]
