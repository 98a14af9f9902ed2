"""The seeds of one specification as one batched program, where that is faster.

A small student leaves a GPU idle between its steps; several seeds of it fill the gaps. Images are
made one seed after the other, as alone, and the students are trained together, unless they draw
random numbers of their own (`methods.base.seeds.train_students`). Every seed gets the record it
would have had alone, but for rounding; seconds of the common phase are shared out equally.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from torch import nn

from benchmark.records.record import Record
from benchmark.runs.failures import one_line
from benchmark.runs.job import Context, Job, RunProgress
from benchmark.runs.trial import Trial, attempt, prepare_process
from methods.base.method import Method
from methods.base.samples import SampleSource
from methods.base.seeds import train_students


def can_share(method: type[Method]) -> bool:
    """Whether the method's students are trained by the common loop, after the synthesis."""
    return method.fit is Method.fit and method.distill is Method.distill


def groups(jobs: Sequence[Job], methods: Mapping[str, type[Method]]) -> list[list[Job]]:
    """Jobs that differ in nothing but the seed, in the order of their first."""
    found: dict[str, list[Job]] = {}
    for job in jobs:
        spec = job.spec
        # An objective that trains something beside the student is not batched over seeds.
        shared = can_share(methods[spec.method]) and spec.objective is None
        same = spec.model_copy(update={"seed": 0}) if shared else spec
        found.setdefault(same.run_id(job.teacher.info.checksum), []).append(job)
    return list(found.values())


def execute_together(
    jobs: Sequence[Job], context: Context, progress: Callable[[Job], RunProgress]
) -> list[Record]:
    """One record per job, in their order. A seed that fails does not hold up the others.

    Args:
        jobs: of one specification but for the seed, of a method for which `can_share` holds.
        context: where and how.
        progress: whom to tell of a job's steps.
    """
    prepare_process(context)
    records: dict[str, Record] = {}
    ready: list[tuple[Trial, SampleSource]] = []
    for job in jobs:
        trial = Trial(job, context, progress(job))
        outcome = _synthesize(trial)
        if isinstance(outcome, Record):
            records[job.run_id] = outcome
        else:
            ready.append((trial, outcome))
    if ready:
        for (trial, _), student in zip(ready, _distill(ready), strict=True):
            records[trial.job.run_id] = _conclude(trial, student)
    return [records[job.run_id] for job in jobs]


def _synthesize(trial: Trial) -> SampleSource | Record:
    def make() -> SampleSource:
        return trial.run.reuse(partial(trial.method.synthesize, trial.problem, trial.run))

    try:
        trial.set_up()
        status, reason, samples = attempt(make, trial)
    except Exception as error:
        return trial.record("error", one_line(error))
    return samples if samples is not None else trial.conclude(status, reason, None)


def _distill(ready: Sequence[tuple[Trial, SampleSource]]) -> list[nn.Module | BaseException]:
    trials = [trial for trial, _ in ready]
    runs = [trial.run for trial in trials]
    started = time.perf_counter()
    evaluating = sum(run.ledger.seconds.get("evaluation", 0.0) for run in runs)
    students: list[nn.Module | BaseException]
    try:
        objective = trials[0].method.objective(trials[0].problem)
        problems = [trial.problem for trial in trials]
        seen = [trial.method.student_samples(trial.problem, s, trial.run) for trial, s in ready]
        students = list(train_students(problems, seen, objective, runs))
    except (Exception, KeyboardInterrupt) as error:
        students = [error] * len(trials)
    spent = time.perf_counter() - started + evaluating
    spent -= sum(run.ledger.seconds.get("evaluation", 0.0) for run in runs)
    for run in runs:
        run.ledger.seconds["distillation"] = spent / len(runs)
    return students


def _conclude(trial: Trial, student: nn.Module | BaseException) -> Record:
    def fit() -> nn.Module:
        if isinstance(student, BaseException):
            raise student
        return student

    try:
        return trial.conclude(*attempt(fit, trial))
    except Exception as error:
        return trial.record("error", one_line(error))
