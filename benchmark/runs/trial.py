"""One specification in, one record out.

    teacher ─▶ synthesize ─▶ samples ─▶ distill ─▶ student ─▶ metrics

`execute` tells it in that order. The method sees a `Problem` and a `Run` only. Test data are read
with the rest of their dataset, but nothing that the method is given leads to them: checkpoints are
kept, and scored when the method has returned.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from benchmark.machine import stopping
from benchmark.machine.cache import picture_path
from benchmark.machine.children import children_as_before
from benchmark.machine.device import forget_peak_memory, keep_freed_memory
from benchmark.machine.fingerprint import fingerprint, sources
from benchmark.machine.process import process_as_before
from benchmark.machine.tensors import checksum
from benchmark.metrics.exam import Scores
from benchmark.records.record import Record, Status
from benchmark.runs.code import code_of
from benchmark.runs.evaluation import Checkpoints, evaluate
from benchmark.runs.failures import account, failure, message
from benchmark.runs.job import Context, Job
from benchmark.runs.pictures import keep_picture
from benchmark.runs.posing import pose
from benchmark.runs.recording import Left, to_record
from benchmark.runs.returned import Returned
from benchmark.runs.samples import SampleCache
from benchmark.runs.states import RunKeeper
from benchmark.tasks.base import Task
from benchmark.tasks.registry import get_task, look_in
from methods.base.ledger import Ledger, OverBudget
from methods.base.method import Method
from methods.base.problem import Problem
from methods.base.registry import discover
from methods.base.run import Progress, Run
from methods.base.states import Diverged
from methods.base.teacher import Teacher
from methods.networks.calls import untold
from methods.objectives.registry import discover_objectives

Result = TypeVar("Result")

REST = "rest"
"""The phase of everything that a method does outside of phases of its own."""


def execute(job: Job, context: Context, progress: Progress = lambda *_: None) -> Record:
    """Run one specification; whatever a method does becomes a record with a status.

    Raises:
        KeyboardInterrupt: when somebody asked to stop at once, outside of the method's own work.
    """
    prepare_process(context)
    trial = Trial(job, get_task(job.spec.task), context, progress)
    with children_as_before(), process_as_before():
        try:
            trial.set_up()
            if context.checkpoint_seconds is not None:
                trial.go_on()
            status, reason, student = attempt(trial.fit, trial)
            return trial.conclude(status, reason, student)
        except BaseException as error:
            # The method's constructor, or a student that cannot be evaluated. What a method raises
            # is nobody else's: neither the generator that yields records nor an event loop.
            if isinstance(error, KeyboardInterrupt) and stopping.asked():
                raise
            return trial.record(failure(error), account(error))
        finally:
            trial.ledger.limits = {}


def prepare_process(context: Context) -> None:
    """Set what belongs to the process and not to a run: task folders, threads and allocator."""
    # The first step would import it, and a method may have patched by then what it is made with.
    importlib.import_module("torch._dynamo")
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
        self.ledger = Ledger()
        self.run = Run(
            job.spec.budget,
            job.spec.seed,
            device=context.device,
            precision=context.precision,
            ledger=self.ledger,
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
        returned = Returned(student, self.method, self.problem, self.run)
        if status == "ok" and (reason := returned.unfit()):
            status = "error"
        if status == "ok":
            with self.run.phase("evaluation"), untold():
                data = self.context.dataset(self.task.name)
                examinee = returned.examinee(self.task)
                verdict = evaluate(self.task, examinee, self.checkpoints, self.run, data)
                status, reason, scores = verdict.status, verdict.reason, verdict.scores
                scores.metrics.update(returned.variant_metrics(examinee, self.task, data.test))
                if self.task.task_type == "segmentation":
                    path = picture_path(self.context.cache, self.job.run_id)
                    teacher, examples = self.checkpoints.teacher, self.checkpoints.examples
                    keep_picture(path, self.task, data.test, teacher, examinee, examples)
        return self.record(status, reason, scores)

    def unwritable(self) -> bool:
        """Whether no record can hold what the method says of itself; known before the work."""
        left = Left()
        left.texts(self.method_class, self.note)
        return bool(left.out)

    def unsupported(self) -> str | None:
        """Why the method, or the objective put on it, cannot run on this problem."""
        objective = self.method.transfer
        reason = self.method.supports(self.problem)
        if reason is None and objective is not None:
            reason = objective.supports(self.problem)
        return reason

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


def attempt(work: Callable[[], Result], trial: Trial) -> tuple[Status, str, Result | None]:
    """Do a method's work and turn whatever happens into a status and a reason."""
    with process_as_before():
        try:
            if trial.unwritable():
                return "error", "", None  # the record says why
            if reason := trial.unsupported():
                return "skipped", reason, None
            return "ok", "", work()
        except Diverged as error:
            return "diverged", message(error), None
        except OverBudget as error:
            return "over_budget", message(error), None
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and stopping.asked():
                return "interrupted", stopping.requested() or stopping.USER, None
            return failure(error), account(error), None
