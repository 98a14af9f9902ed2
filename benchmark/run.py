"""One specification in, one record out.

    teacher ─▶ synthesize ─▶ samples ─▶ distill ─▶ student ─▶ metrics

`execute` tells it in that order. The method sees a `Problem` and a `Run` only; test data is not
even read before the method has returned, because checkpoints are kept and evaluated afterwards.
"""

from __future__ import annotations

import datetime
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmark.artifacts import checksum
from benchmark.data.base import Dataset
from benchmark.device import (
    Precision,
    environment,
    keep_freed_memory,
    peak_memory_mib,
)
from benchmark.metrics.classification import accuracy, collapse_threshold, predictions
from benchmark.records import FAILED, LedgerInfo, MethodInfo, Record, Spec, Status
from benchmark.samples import SampleCache
from benchmark.tasks.base import Task
from benchmark.tasks.registry import get_task
from benchmark.teachers import TrainedTeacher
from methods.base import Access, Diverged, Method, Problem, Run, derive_seed
from methods.registry import discover
from methods.sources import ImageBank, SampleSource
from methods.teacher import Ledger, Teacher

RunProgress = Callable[[str, int, int, float], None]
"""Called with phase, step, total and loss."""


@dataclass(frozen=True)
class Context:
    """Where and how runs are executed; none of it is part of a run's identity."""

    cache: Path
    teacher_folders: tuple[Path, ...]
    data_dir: Path | None = None
    method_folders: tuple[Path, ...] = ()
    device: str = "cpu"
    precision: Precision = "fp32"
    threads: int | None = None
    reuse_samples: bool = True


@dataclass(frozen=True)
class Job:
    """A specification with what its record says about method and teacher."""

    spec: Spec
    run_id: str
    changed: dict[str, object]
    teacher: TrainedTeacher


def execute(job: Job, context: Context, progress: RunProgress = lambda *_: None) -> Record:
    """Run one specification. Whatever the method does becomes a record with a status."""
    if context.threads is not None:
        torch.set_num_threads(context.threads)
    keep_freed_memory()
    spec = job.spec
    task = get_task(spec.task)
    method_class = discover(context.method_folders)[spec.method]
    ledger = Ledger()
    run = Run(
        spec.budget,
        spec.seed,
        device=context.device,
        precision=context.precision,
        ledger=ledger,
        progress=progress,
    )
    metrics: dict[str, float] = {}
    note = ""
    try:
        method = method_class(method_class.Params(**spec.params))
        teacher = Teacher(job.teacher.build(task).to(context.device), ledger)
        problem = pose(task, method, teacher, spec.seed, context)
        note = method.note(problem)
        checkpoints = Checkpoints(teacher.network, run)
        run.on_checkpoint = checkpoints.take
        if context.reuse_samples:
            run.find_samples = SampleCache(context, spec, method, job.teacher.info, run).reuse
        status, reason, student = attempt(method, problem, run)
        if checksum(teacher.network.state_dict()) != job.teacher.info.checksum:
            status = "error"
            reason = "the method changed the teacher's weights or BatchNorm statistics"
        if status == "ok" and student is not None:
            with run.phase("evaluation"):
                status, reason, metrics = evaluate(task, student, checkpoints, run, context)
    except Exception as error:
        # The method's constructor, or a student that cannot be evaluated.
        status, reason, metrics = "error", one_line(error), {}
    return to_record(job, context, method_class, status, reason, metrics, run, note)


def to_record(
    job: Job,
    context: Context,
    method: type[Method],
    status: Status,
    reason: str,
    metrics: Mapping[str, float] | None = None,
    run: Run | None = None,
    note: str = "",
) -> Record:
    """What is kept of a run, whether it came to an end or not."""
    keep_curves = run is not None and status not in FAILED - {"diverged"}
    return Record(
        run_id=job.run_id,
        spec=job.spec,
        status=status,
        reason=reason,
        method=MethodInfo(
            title=method.title,
            paper=method.paper,
            access=method.access.describe(),
            changed=job.changed,
            note=note,
        ),
        metrics=dict(metrics or {}),
        ledger=ledger_info(run.ledger) if run is not None else LedgerInfo(),
        curves=rounded(run.curves) if run is not None and keep_curves else {},
        teacher=job.teacher.info,
        environment=environment(torch.device(context.device), context.precision),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def pose(task: Task, method: Method, teacher: Teacher, seed: int, context: Context) -> Problem:
    """The problem as the method may see it: only the data it declared is even loaded."""
    granted: dict[Access, Tensor] = {}
    if method.access & (Access.TRAIN_IMAGES | Access.TRAIN_LABELS):
        train = dataset(task.name, context.data_dir).train
        if Access.TRAIN_IMAGES in method.access:
            granted[Access.TRAIN_IMAGES] = task.preprocess(train.images)
        if Access.TRAIN_LABELS in method.access:
            granted[Access.TRAIN_LABELS] = train.labels

    def make_student() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, "student-initialisation"))
            return task.make_student()

    return Problem(
        teacher=teacher,
        make_student=make_student,
        image_shape=task.image_shape,
        num_classes=task.num_classes,
        normalization=task.normalization,
        access=method.access,
        method=method.name,
        granted=granted,
    )


@lru_cache(maxsize=2)
def dataset(task: str, data_dir: Path | None) -> Dataset:
    """A task's data, read once per process."""
    return get_task(task).load(data_dir)


def attempt(method: Method, problem: Problem, run: Run) -> tuple[Status, str, nn.Module | None]:
    """Fit, and turn whatever happens into a status and a reason."""
    try:
        if reason := method.supports(problem):
            return "skipped", reason, None
        student: object = method.fit(problem, run)
        if not isinstance(student, nn.Module):
            kind = type(student).__name__
            return "error", f"fit returned {kind}, not the trained student", None
        return "ok", "", student
    except Diverged as error:
        return "diverged", str(error), None
    except KeyboardInterrupt:
        return "interrupted", "stopped by the user", None
    except (Exception, SystemExit) as error:
        status: Status = "out_of_memory" if is_out_of_memory(error) else "error"
        return status, one_line(error), None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out. torch's CPU allocator says so in the text of a RuntimeError only."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def one_line(error: BaseException) -> str:
    """Type, message and the innermost place, without any path."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    try:
        message = " ".join(str(error).split())[:300]
    except Exception:
        message = "(its message cannot be shown)"
    text = f"{type(error).__name__}: {message}{place}"
    # A file name that is not UTF-8 must not make the record unwritable.
    return text.encode("utf-8", "backslashreplace").decode()


class Checkpoints:
    """Snapshots of the student, to be evaluated when the method is done.

    Agreement with the teacher is measured at once, on images the student is not trained on; it
    needs no real data.

    Args:
        teacher: the bare network: the harness's questions are not the method's queries.
        run: gives the budget and the random stream.
    """

    def __init__(self, teacher: nn.Module, run: Run) -> None:
        self.teacher = teacher
        self.run = run
        self.steps: list[int] = []
        self.agreement: list[float] = []
        self.states: list[dict[str, Tensor]] = []
        self._reference: tuple[SampleSource, Tensor, Tensor] | None = None

    def take(self, student: nn.Module, step: int, samples: SampleSource) -> None:
        """Keep the student's weights after ``step`` steps and measure its agreement."""
        with self.run.phase("evaluation"):
            images, expected = self._validation(samples)
            self.agreement.append(float((predictions(student, images) == expected).double().mean()))
            self.steps.append(step)
            self.states.append(
                {name: value.detach().cpu().clone() for name, value in student.state_dict().items()}
            )

    def _validation(self, samples: SampleSource) -> tuple[Tensor, Tensor]:
        if self._reference is not None and self._reference[0] is samples:
            return self._reference[1:]
        count = self.run.budget.validation_images
        images = samples.validation(count, self.run.stream("validation"))
        expected = predictions(self.teacher, images)
        if isinstance(samples, ImageBank):  # an online source's generator may still be learning
            self._reference = (samples, images, expected)
        return images, expected


def evaluate(
    task: Task, student: nn.Module, checkpoints: Checkpoints, run: Run, context: Context
) -> tuple[Status, str, dict[str, float]]:
    """Test the returned student (the headline) and every snapshot of it."""
    test = dataset(task.name, context.data_dir).test
    images = task.preprocess(test.images).to(run.device)
    labels = test.labels.to(run.device)
    final = accuracy(student, images, labels)
    metrics = {"accuracy": final}
    if checkpoints.steps:
        curve = []
        snapshot = task.make_student().to(run.device)
        for state in checkpoints.states:
            snapshot.load_state_dict(state)
            curve.append(accuracy(snapshot, images, labels))
        steps = [float(step) for step in checkpoints.steps]
        run.curves["evaluation/accuracy"] = {"step": steps, "value": curve}
        run.curves["evaluation/agreement"] = {"step": steps, "value": checkpoints.agreement}
        # Of equally good checkpoints the latest, as a user without test data would choose.
        chosen = max(range(len(curve)), key=lambda i: (checkpoints.agreement[i], i))
        metrics |= {
            "agreement": checkpoints.agreement[-1],
            "accuracy_agreement": curve[chosen],
            "accuracy_oracle": max(curve),
        }
    chance = collapse_threshold(labels)
    if final <= chance:
        reason = f"accuracy {final:.4f} is not above chance ({chance:.4f})"
        return "collapsed", reason, metrics
    return "ok", "", metrics


def ledger_info(ledger: Ledger) -> LedgerInfo:
    """The ledger as a record keeps it, seconds to the millisecond."""
    return LedgerInfo(
        teacher_forward=ledger.teacher_forward,
        teacher_backward=ledger.teacher_backward,
        synthetic_images=ledger.synthetic_images,
        student_steps=ledger.student_steps,
        seconds={name: round(value, 3) for name, value in sorted(ledger.seconds.items())},
        peak_memory_mib=peak_memory_mib(),
    )


def rounded(curves: dict[str, dict[str, list[float]]]) -> dict[str, dict[str, list[float]]]:
    """Curves to seven significant digits, which is what float32 holds."""
    return {
        name: {axis: [float(f"{value:.7g}") for value in values] for axis, values in curve.items()}
        for name, curve in curves.items()
    }
