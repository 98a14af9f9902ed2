"""Many runs: what is missing, in what order, and what became of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from benchmark.grid.executors.base import Executor
from benchmark.machine import stopping
from benchmark.machine.checkpoints import forget
from benchmark.machine.tensors import Corrupted, load_tensors
from benchmark.records.locks import POLL_SECONDS, Locks
from benchmark.records.record import FAILED, SCORED, Record, Spec
from benchmark.records.store import Store
from benchmark.runs.job import Context, Job, proxy_checksum
from benchmark.suites.plan import PlannedRun
from benchmark.tasks.data.base import Dataset
from benchmark.tasks.loaded import dataset
from benchmark.teachers.metadata import ship_metadata
from benchmark.teachers.teacher import (
    SHIPPED_LIMIT,
    TrainedTeacher,
    find_teacher,
    keep_teacher,
    obtain_teacher,
    teacher_file,
    weight_bytes,
)
from methods.base.problem import Access

Overwrite = Literal["never", "failed", "always"]
OVERWRITE: tuple[Overwrite, ...] = ("never", "failed", "always")


class Display(Protocol):
    """What a grid tells whoever watches it."""

    def say(self, message: str) -> None:
        """A sentence worth keeping."""

    def teacher(self, phase: str, step: int, total: int, loss: float) -> None:
        """Progress of a teacher's training."""

    def report(self, run_id: str, phase: str, step: int, total: int, loss: float) -> None:
        """Progress of one run."""

    def finished(self, record: Record) -> None:
        """A run has its record."""


@dataclass
class Agenda:
    """What a grid would do: the jobs to run, and the records that are already there.

    ``replaced`` are records that will be made again, by run id.
    """

    jobs: list[Job] = field(default_factory=list)
    kept: list[Record] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    replaced: dict[str, Record] = field(default_factory=dict)


def prepare(
    planned: Sequence[PlannedRun],
    store: Store,
    context: Context,
    overwrite: Overwrite,
    display: Display,
) -> Agenda:
    """Read the data, find or train the teachers, and see which records are missing.

    A teacher small enough is kept beside the records, as part of the evidence, and so are its
    metadata, which are collected only where a planned method may see them. Missing data and proxy
    images are noticed before any teacher is trained. Another grid on the folder waits meanwhile, so
    that both have the same teacher.
    """
    locks = Locks(store.root)
    with locks.holding("teachers", lambda: display.say("waiting for another grid's teacher")):
        return _prepare(planned, store, context, overwrite, display)


def _prepare(
    planned: Sequence[PlannedRun],
    store: Store,
    context: Context,
    overwrite: Overwrite,
    display: Display,
) -> Agenda:
    teachers: dict[str, TrainedTeacher] = {}
    described: set[str] = set()
    agenda = Agenda()
    tasks = dict.fromkeys(run.task.name for run in planned)
    loaded = {task: dataset(task, context.data_dir) for task in tasks}
    proxies = [proxy_checksum(run.method, run.task.name, context) for run in planned]
    for run, proxy in zip(planned, proxies, strict=True):
        data = loaded[run.task.name]
        name = teacher_file(run.task, data.checksum(), run.budget.name)
        if name not in teachers:
            teachers[name] = obtain_teacher(
                run.task,
                data,
                context.teacher_folders,
                display.say,
                display.teacher,
                run.budget.name,
                context.device,
                context.precision,
                context.checkpoint_seconds,
            )
            _keep_beside_records(teachers[name], store.root / "teachers" / name)
        if Access.METADATA in run.method.access and name not in described:
            network = teachers[name].build(run.task).to(context.device)
            ship_metadata(run.task, data, network, store.root, context.teacher_folders, display.say)
            described.add(name)
        spec = run.spec(data.checksum(), proxy)
        add(agenda, run, spec, data, teachers[name], store, overwrite)
    return agenda


def preview(
    planned: Sequence[PlannedRun], store: Store, context: Context, overwrite: Overwrite
) -> tuple[Agenda, list[str]]:
    """What `prepare` would find, training nothing; and the tasks whose teacher is still missing."""
    teachers: dict[str, TrainedTeacher | None] = {}
    agenda = Agenda()
    for run in planned:
        data = dataset(run.task.name, context.data_dir)
        proxy = proxy_checksum(run.method, run.task.name, context)
        if run.task.name not in teachers:
            teachers[run.task.name] = find_teacher(
                run.task, data.checksum(), context.teacher_folders, preset=run.budget.name
            )
        teacher = teachers[run.task.name]
        if teacher is not None:
            spec = run.spec(data.checksum(), proxy)
            add(agenda, run, spec, data, teacher, store, overwrite)
    return agenda, [name for name, teacher in teachers.items() if teacher is None]


def add(
    agenda: Agenda,
    run: PlannedRun,
    spec: Spec,
    data: Dataset,
    teacher: TrainedTeacher,
    store: Store,
    overwrite: Overwrite,
) -> None:
    """Sort one planned run into what is to do and what is already there."""
    run_id = spec.run_id(teacher.info.checksum)
    if run_id in agenda.ids:
        return  # two entries of a suite that mean the same experiment
    agenda.ids.add(run_id)
    record = store.get(spec, run_id)
    if record is not None and not repeat(record, overwrite):
        agenda.kept.append(record)
    else:
        agenda.jobs.append(Job(spec, run_id, dict(run.changed), teacher, data.note))
        if record is not None:
            agenda.replaced[run_id] = record


def repeat(record: Record, overwrite: Overwrite) -> bool:
    """Whether a record that is there is made again. An interrupted run always is."""
    if overwrite == "always" or record.status == "interrupted":
        return True
    return overwrite == "failed" and record.status in FAILED


def run_grid(
    agenda: Agenda, store: Store, context: Context, executor: Executor, display: Display
) -> list[Record]:
    """Execute what is missing; every record is written the moment it exists.

    What another grid on the same folder is executing is left to it, and waited for at the end;
    what that one could not finish is executed here.

    Returns:
        The new records, in the order in which they finished.

    Raises:
        KeyboardInterrupt: after the records of finished runs are safe, when some are missing.
    """
    specs = [(job.spec, job.teacher.info.checksum) for job in agenda.jobs]
    specs += [(record.spec, record.teacher.checksum) for record in agenda.kept]
    locks = Locks(store.root)
    with locks.holding("plans"):
        for suite in sorted({spec.suite for spec, _ in specs}):
            mine = [(spec, teacher) for spec, teacher in specs if spec.suite == suite]
            store.add_plan(suite, mine)
    division = Division(store, locks, agenda.replaced, display.finished)
    records: list[Record] = []
    jobs, told = agenda.jobs, False
    try:
        while jobs:
            for record in executor.run(jobs, context, display.report, division.claim):
                before = agenda.replaced.get(record.run_id)
                # What was asked to be made again and was not made is worth no finished record.
                if not (record.status == "interrupted" and before and before.status in SCORED):
                    store.put(record)
                if record.status != "interrupted":
                    forget(context.cache, record.run_id)
                locks.release(record.run_id)
                records.append(record)
                display.finished(record)
            if division.left and not told:
                told = True
                display.say(f"waiting for {len(division.left)} runs that another grid is executing")
            jobs = division.wait()
    finally:
        locks.release_all()
    return records


def _keep_beside_records(teacher: TrainedTeacher, path: Path) -> None:
    if weight_bytes(teacher) > SHIPPED_LIMIT:
        return
    try:
        load_tensors(path)
    except (FileNotFoundError, Corrupted):
        keep_teacher(teacher, path)


class Division:
    """What a grid does itself, and what it leaves to others on the same folder.

    Args:
        store: the folder's records.
        locks: of the same folder; a job is locked from its claim until its record is written.
        replaced: records that were there when the grid was prepared and are to be made again, by
            run id.
        found: told of records that others have made since.
    """

    def __init__(
        self,
        store: Store,
        locks: Locks,
        replaced: Mapping[str, Record],
        found: Callable[[Record], None],
    ) -> None:
        self._store = store
        self._locks = locks
        self._replaced = replaced
        self._found = found
        self.left: list[Job] = []
        """Jobs that others are executing."""
        self._taken_over: set[str] = set()

    def claim(self, job: Job) -> bool:
        """Lock a job, unless somebody else is executing it or has made its record meanwhile."""
        if job.run_id in self._taken_over:
            self._taken_over.remove(job.run_id)
            return True
        if not self._locks.take(job.run_id):
            self.left.append(job)
            return False
        record = self._store.get(job.spec, job.run_id)
        untouched = record is None or record == self._replaced.get(job.run_id)
        if record is None or untouched or record.status == "interrupted":
            return True
        self._locks.release(job.run_id)
        self._found(record)
        return False

    def wait(self) -> list[Job]:
        """Wait for the others, and give what they could not finish, to be claimed once more.

        Returns:
            Nothing when they have finished all; else the jobs that are left, the first of which
            nobody is executing any more. Or all of them, when a stop was requested.
        """
        while self.left:
            jobs, self.left = self.left, []
            for i, job in enumerate(jobs):
                if self.claim(job):
                    self._taken_over.add(job.run_id)
                    others, self.left = self.left, []
                    return [job, *others, *jobs[i + 1 :]]
            if stopping.requested():
                break
            if self.left:
                time.sleep(POLL_SECONDS)
        jobs, self.left = self.left, []
        return jobs
