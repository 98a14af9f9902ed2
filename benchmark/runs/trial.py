"""One specification in, one record out.

    teacher ─▶ synthesize ─▶ samples ─▶ distill ─▶ student ─▶ metrics

`execute` tells it in that order. The method sees a `Problem` and a `Run` only. Test data are read
with the rest of their dataset, but nothing that the method is given leads to them: checkpoints are
kept, and scored when the method has returned.
"""

from __future__ import annotations

import datetime
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from benchmark.machine import stopping
from benchmark.machine.cache import picture_path
from benchmark.machine.device import (
    environment,
    forget_peak_memory,
    keep_freed_memory,
    peak_memory_mib,
)
from benchmark.machine.fingerprint import fingerprint, sources
from benchmark.machine.process import process_as_before
from benchmark.machine.tensors import checksum
from benchmark.metrics.exam import Scores, exam_of
from benchmark.records.record import (
    FAILED,
    LedgerInfo,
    MethodInfo,
    Record,
    Status,
)
from benchmark.records.spec import Spec
from benchmark.runs.evaluation import Checkpoints, evaluate
from benchmark.runs.failures import failure
from benchmark.runs.job import Context, Job
from benchmark.runs.pictures import keep_picture
from benchmark.runs.samples import SampleCache
from benchmark.runs.states import RunKeeper
from benchmark.tasks.base import Task
from benchmark.tasks.data.base import Split
from benchmark.tasks.data.class_text import class_text
from benchmark.tasks.data.proxy import proxy_name
from benchmark.tasks.registry import get_task, look_in
from benchmark.teachers.metadata import obtain_metadata
from methods.base.counting import unwatch
from methods.base.errors import described_with_place
from methods.base.ledger import Ledger, OverBudget
from methods.base.method import Method
from methods.base.problem import Access, Problem
from methods.base.registry import discover
from methods.base.run import Progress, Run, derive_seed
from methods.base.states import Diverged
from methods.base.teacher import Teacher
from methods.networks.calls import untold
from methods.objectives.registry import discover_objectives

Result = TypeVar("Result")

HARNESS = Path(__file__).resolve().parents[1]
SCORING = tuple(
    HARNESS / file
    for file in (
        "runs/trial.py",
        "runs/evaluation.py",
        "metrics/exam.py",
        "metrics/classification.py",
        "metrics/segmentation.py",
        "tasks/data/base.py",
    )
)
"""Of the harness, the files that decide what a run's score is."""

REST = "rest"
"""The phase of everything that a method does outside of phases of its own."""


def execute(job: Job, context: Context, progress: Progress = lambda *_: None) -> Record:
    """Run one specification; whatever happens becomes a record with a status."""
    prepare_process(context)
    trial = Trial(job, get_task(job.spec.task), context, progress)
    with process_as_before():
        try:
            trial.set_up()
            if context.checkpoint_seconds is not None:
                trial.go_on()
            status, reason, student = attempt(trial.fit, trial)
            return trial.conclude(status, reason, student)
        except (Exception, SystemExit) as error:
            # The method's constructor, or a student that cannot be evaluated.
            return trial.record(failure(error), described_with_place(error))
        finally:
            trial.run.ledger.limits = {}


def prepare_process(context: Context) -> None:
    """Set what belongs to the process and not to a run: task folders, threads and allocator."""
    look_in(context.task_folders)
    if context.threads is not None:
        torch.set_num_threads(context.threads)
    keep_freed_memory()
    forget_peak_memory()


class Trial:
    """One job while it runs: what its method is given, and what becomes of its student.

    Args:
        job: what to run.
        task: the task that the job names.
        context: where and how.
        progress: told of every phase's steps.
    """

    method: Method
    problem: Problem
    note: str = ""
    sample_cache: SampleCache | None = None

    def __init__(self, job: Job, task: Task, context: Context, progress: Progress) -> None:
        self.job = job
        self.task = task
        self.context = context
        self.method_class = discover(context.method_folders)[job.spec.method]
        self.code = code_of(job.spec, self.method_class)
        self.run = Run(
            job.spec.budget,
            job.spec.seed,
            device=context.device,
            precision=context.precision,
            ledger=Ledger(),
            progress=progress,
            stopping=stopping.requested,
        )

    def set_up(self) -> None:
        """Build the method, pose its problem, and watch its checkpoints."""
        spec, run = self.job.spec, self.run
        self.method = self.method_class(self.method_class.Params(**spec.params))
        network = self.job.teacher.build(self.task).to(self.context.device)
        self.problem = pose(
            self.task, self.method, Teacher(network, run.ledger), spec.seed, self.context
        )
        if spec.objective is not None:
            objective = discover_objectives()[spec.objective.name]
            self.method.transfer = objective(objective.Params(**spec.objective.params))
        run.ledger.limits = spec.budget.limits(self.problem.images_given)
        # Networks of the student's shapes are counted from now on, whoever builds them.
        self.problem.make_student()
        self.note = self.method.note(self.problem)
        self.checkpoints = Checkpoints(network, run)
        run.on_checkpoint = self.checkpoints.take
        if self.context.reuse_samples:
            code = fingerprint(*sources(self.method_class, type(self.task)))
            teacher = self.job.teacher.info
            self.sample_cache = SampleCache(self.context, spec, self.method, teacher, run, code)
            run.find_samples = self.sample_cache.reuse

    def go_on(self) -> None:
        """Go on from the state of an interrupted run, and keep the states of this one."""
        self.run.keeper = RunKeeper(self.context, self.job.run_id, self.code, self.checkpoints)

    def fit(self) -> nn.Module:
        """The method's work, none of which escapes the clock."""
        with self.run.phase(REST):
            student = self.method.fit(self.problem, self.run)
        self.run.ledger.check()
        return student

    def conclude(self, status: Status, reason: str, student: object) -> Record:
        """Check teacher and student, evaluate the student, make the record."""
        scores: Scores | None = None
        weights = self.problem.teacher.network.state_dict()
        if checksum(weights) != self.job.teacher.info.checksum:
            status = "error"
            reason = "the method changed the teacher's weights or BatchNorm statistics"
        if status == "ok" and (reason := self.unfit(student)):
            status = "error"
        objective = self.method.transfer
        if status == "ok" and objective is not None and not objective.attached:
            status = "error"
            reason = (
                f"the method's own loop does not know objective '{objective.name}'; let it use "
                "student_objective"
            )
        if status == "ok" and isinstance(student, nn.Module):
            with self.run.phase("evaluation"), untold():
                data = self.context.dataset(self.task.name)
                test, student = data.test, self.examinee(student)
                verdict = evaluate(self.task, student, self.checkpoints, self.run, data)
                status, reason, scores = verdict.status, verdict.reason, verdict.scores
                scores.metrics.update(self.variant_metrics(student, test))
                if self.task.task_type == "segmentation":
                    path = picture_path(self.context.cache, self.job.run_id)
                    teacher, examples = self.checkpoints.teacher, self.checkpoints.examples
                    keep_picture(path, self.task, test, teacher, student, examples)
        return self.record(status, reason, scores)

    def unfit(self, student: object) -> str:
        """Why what came back cannot be scored; empty if it can.

        It is to be a trained network of the task's architecture: by its weights, so that nothing
        that was hung on the student, or put in its place, is scored with it.
        """
        if not isinstance(student, nn.Module):
            return f"fit returned {type(student).__name__}, not the trained student"
        if self.rebuilt:
            return ""
        fresh = self.problem.make_student()
        expected, found = fresh.state_dict(), student.state_dict()
        wrong = [
            name
            for name in {**expected, **found}
            if name not in expected
            or name not in found
            or expected[name].shape != found[name].shape
        ]
        if wrong:
            return (
                f"fit returned another network than the task's student: '{wrong[0]}' differs; "
                "return the network that problem.make_student() made"
            )
        if not self.run.ledger.student_steps and checksum(expected) != checksum(found):
            return (
                "the student changed without a step of an optimiser; train the network that "
                "problem.make_student() made, with an optimiser of torch, so that steps count"
            )
        return ""

    @property
    def rebuilt(self) -> bool:
        """Whether the objective made another network of the student."""
        return self.method.transfer is not None and self.method.transfer.rebuilds

    def examinee(self, student: nn.Module) -> nn.Module:
        """A network of the task's own making with the student's weights."""
        if self.rebuilt:
            return unwatch(student)
        own = self.task.make_student().to(self.run.device)
        own.load_state_dict(student.state_dict())
        return own

    def unsupported(self) -> str | None:
        """Why the method, or the objective put on it, cannot run on this problem."""
        objective = self.method.transfer
        reason = self.method.supports(self.problem)
        if reason is None and objective is not None:
            reason = objective.supports(self.problem)
        return reason

    def variant_metrics(self, student: nn.Module, test: Split) -> dict[str, float]:
        """The scores of the objective's other networks, such as the student in integers."""
        metrics: dict[str, float] = {}
        if self.method.transfer is None:
            return metrics
        exam = exam_of(self.task, test, "cpu")  # integer arithmetic exists on the CPU alone
        for name, network in self.method.transfer.variants(student).items():
            scores = exam.measure(network.eval()).metrics
            metrics |= {f"{metric}_{name}": value for metric, value in scores.items()}
            metrics[f"kib_{name}"] = stored_kib(network)
        sizes = self.method.transfer.sizes(student)
        return metrics | {f"kib_{name}": kib for name, kib in sizes.items()}

    def record(self, status: Status, reason: str, scores: Scores | None = None) -> Record:
        """The record of this trial."""
        return to_record(
            self.job,
            self.task,
            self.context,
            self.method_class,
            status,
            reason,
            scores,
            self.run,
            self.note,
        )


def to_record(
    job: Job,
    task: Task,
    context: Context,
    method: type[Method],
    status: Status,
    reason: str,
    scores: Scores | None = None,
    run: Run | None = None,
    note: str = "",
) -> Record:
    """The record of a run, finished or not."""
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
            proxy=proxy_name(task.proxy, context.proxy_dir) if job.spec.proxy else "",
            note=note,
        ),
        metrics=scores.metrics if scores else {},
        segmentation=scores.segmentation if scores else None,
        ledger=ledger_info(run.ledger) if run is not None else LedgerInfo(),
        curves=rounded(run.curves) if run is not None and keep_curves else {},
        teacher=job.teacher.info,
        data_note=job.data_note,
        environment=environment(
            torch.device(context.device), context.precision, code_of(job.spec, method)
        ),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
    )


def code_of(spec: Spec, method: type[Method]) -> str:
    """The fingerprint of all that makes a run and its scores.

    These are its method, its networks and its objective, and of the harness what is trained on, who
    sees what, and how a student is scored.
    """
    classes: list[type] = [method, type(get_task(spec.task))]
    if spec.objective is not None:
        classes.append(discover_objectives()[spec.objective.name])
    return fingerprint(*sources(*classes), *SCORING)


def pose(task: Task, method: Method, teacher: Teacher, seed: int, context: Context) -> Problem:
    """The problem as the method may see it; data that it did not declare are not even loaded."""
    granted: dict[Access, Any] = {}
    if method.access & (Access.TRAIN_IMAGES | Access.TRAIN_LABELS):
        train = context.dataset(task.name).learnable
        if Access.TRAIN_IMAGES in method.access:
            granted[Access.TRAIN_IMAGES] = task.preprocess(train.images)
        if Access.TRAIN_LABELS in method.access:
            granted[Access.TRAIN_LABELS] = train.labels.long()
    if Access.METADATA in method.access:
        handed = context.handed and context.handed.metadata
        # Damage is said where a grid or a replay is prepared, not from within a worker.
        with untold():
            granted[Access.METADATA] = handed or obtain_metadata(
                task,
                context.dataset(task.name),
                teacher.network,
                context.teacher_folders,
                lambda message: None,
            )
    if Access.CLASS_TEXT in method.access and task.class_text:
        granted[Access.CLASS_TEXT] = class_text(task.class_text)
    if Access.PROXY_IMAGES in method.access:
        proxy = context.proxy(task.name)
        granted[Access.PROXY_IMAGES] = task.preprocess(proxy.images)

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
        task_type=task.task_type,
        access=method.access,
        method=method.name,
        granted=granted,
    )


def attempt(work: Callable[[], Result], trial: Trial) -> tuple[Status, str, Result | None]:
    """Do a method's work and turn whatever happens into a status and a reason."""
    try:
        with process_as_before():
            if reason := trial.unsupported():
                return "skipped", reason, None
            return "ok", "", work()
    except Diverged as error:
        return "diverged", str(error), None
    except OverBudget as error:
        return "over_budget", str(error), None
    except KeyboardInterrupt:
        return "interrupted", stopping.requested() or stopping.USER, None
    except (Exception, SystemExit) as error:
        return failure(error), described_with_place(error), None


def stored_kib(network: nn.Module) -> float:
    """The size of a network's weights and buffers as torch stores them, in KiB."""
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    return len(file.getbuffer()) / 1024


def ledger_info(ledger: Ledger) -> LedgerInfo:
    """The ledger as a record keeps it, seconds to the millisecond."""
    return LedgerInfo(
        teacher_forward=ledger.teacher_forward,
        teacher_backward=ledger.teacher_backward,
        synthetic_images=ledger.synthetic_images,
        student_steps=ledger.student_steps,
        student_images=ledger.student_images,
        seconds=to_milliseconds(ledger.seconds),
        processor_seconds=to_milliseconds(ledger.processor_seconds),
        work=dict(sorted(ledger.work.items())),
        peak_memory_mib=peak_memory_mib(),
    )


def to_milliseconds(seconds: dict[str, float]) -> dict[str, float]:
    """Seconds by phase, rounded to the millisecond."""
    return {phase: round(value, 3) for phase, value in sorted(seconds.items())}


def rounded(curves: dict[str, dict[str, list[float]]]) -> dict[str, dict[str, list[float]]]:
    """Curves rounded to seven significant digits, which is what float32 holds."""
    return {
        name: {axis: [float(f"{value:.7g}") for value in values] for axis, values in curve.items()}
        for name, curve in curves.items()
    }
