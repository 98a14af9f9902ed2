"""What a grid has to do: the teachers it needs, and the runs that have no record yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmark.machine.tensors import Corrupted, load_tensors
from benchmark.records.locks import Locks
from benchmark.records.record import FAILED, Record
from benchmark.records.spec import Spec
from benchmark.records.store import Overwrite, Store
from benchmark.runs.code import code_of
from benchmark.runs.job import Context, Job, proxy_checksum
from benchmark.suites.choices import check_teacher
from benchmark.suites.plan import PlannedRun
from benchmark.tasks.data.base import Dataset
from benchmark.tasks.loaded import dataset
from benchmark.teachers.imported import find_imported, imported_file
from benchmark.teachers.metadata import ship_metadata
from benchmark.teachers.teacher import (
    SHIPPED_LIMIT,
    TrainedTeacher,
    find_teacher,
    keep_teacher,
    teacher_file,
    weight_bytes,
)
from benchmark.teachers.training import obtain_teacher
from methods.base.problem import Access
from methods.base.run import Progress


@dataclass
class Agenda:
    """The jobs of a grid, and the records that are there already.

    ``planned`` are all planned runs with their ids. ``replaced`` holds the records that will be
    made again, by run id. ``stale`` are the ids of the kept records that other code than the
    present made. ``broken`` are the attempts to make a finished record again that gave no verdict,
    as a grid adds them.
    """

    jobs: list[Job] = field(default_factory=list)
    kept: list[Record] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    planned: list[tuple[PlannedRun, str]] = field(default_factory=list)
    replaced: dict[str, Record] = field(default_factory=dict)
    stale: set[str] = field(default_factory=set)
    broken: list[Record] = field(default_factory=list)

    def present(self, store: Store) -> list[Record]:
        """The records of the planned runs that have ended by now; the others are missing."""
        found = [store.get(job.spec, job.run_id, job.code) for job in self.jobs]
        ended = [record for record in found if record and record.status != "interrupted"]
        return self.kept + ended


def prepare(
    planned: Sequence[PlannedRun],
    store: Store,
    context: Context,
    overwrite: Overwrite,
    say: Callable[[str], None],
    progress: Progress,
) -> Agenda:
    """Read the data, find or train the teachers, and list the records that are missing.

    Small teachers are kept with the records, as part of the evidence. So are their metadata, which
    are collected only if a planned method may see them. Missing data and proxy images are noticed
    before any teacher is trained. Another grid on the same folder waits until this one is prepared,
    so that both use the same teachers.

    Args:
        planned: the runs of a suite.
        store: the records that are there.
        context: where and how the runs are executed.
        overwrite: which of the records that are there are made again.
        say: told one sentence at a time, such as where a teacher was found.
        progress: told of the steps of a teacher's training.

    Raises:
        UserError: when data or proxy images are missing or damaged, a task has no such imported
            teacher as the context names, or settings were chosen with another teacher.
    """
    agenda = Agenda()
    locks = Locks(store.root)
    with locks.holding("teachers", lambda: say("waiting for another grid's teacher")):
        teachers: dict[str, TrainedTeacher] = {}
        described: set[str] = set()
        tasks = dict.fromkeys(run.task.name for run in planned)
        loaded = {task: dataset(task, context.data_dir) for task in tasks}
        proxies = [proxy_checksum(run.method, run.task.name, context) for run in planned]
        for run, proxy in zip(planned, proxies, strict=True):
            data = loaded[run.task.name]
            name = teacher_file(run.task, data.checksum(), run.budget.name)
            if name not in teachers:
                teachers[name] = _teacher(run, data, context, say, progress)
                checksum = teachers[name].info.checksum
                file = imported_file(run.task, checksum) if context.teacher else name
                _keep_with_records(teachers[name], store.root / "teachers" / file)
            if Access.METADATA in run.method.access and name not in described:
                network = teachers[name].build(run.task).to(context.device)
                ship_metadata(run.task, data, network, store.root, context.teacher_folders, say)
                described.add(name)
            spec = run.spec(data.checksum(), proxy)
            add(agenda, run, spec, data, teachers[name], store, overwrite)
    return agenda


def preview(
    planned: Sequence[PlannedRun], store: Store, context: Context, overwrite: Overwrite
) -> tuple[Agenda, list[str]]:
    """The agenda without training anything, and the tasks whose teacher is still missing."""
    teachers: dict[str, TrainedTeacher | None] = {}
    agenda = Agenda()
    for run in planned:
        data = dataset(run.task.name, context.data_dir)
        proxy = proxy_checksum(run.method, run.task.name, context)
        if run.task.name not in teachers:
            teachers[run.task.name] = (
                find_imported(run.task, data.checksum(), context.teacher, context.teacher_folders)
                if context.teacher
                else find_teacher(
                    run.task, data.checksum(), context.teacher_folders, preset=run.budget.name
                )
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
    """Add one planned run to the jobs, or its record to those that are kept.

    Raises:
        UserError: when its settings were chosen with another teacher.
    """
    if run.tuned:
        check_teacher(run.chosen_with, teacher.info.checksum, spec.task, spec.budget.name)
    run_id = spec.run_id(teacher.info.checksum)
    agenda.planned.append((run, run_id))
    if run_id in agenda.ids:
        # Two entries of a suite that mean the same experiment, such as the published setting and
        # the tuned one where tuning has chosen the published one.
        if spec.tuned:
            _say_tuned(agenda, run_id, spec.tuned)
        return
    agenda.ids.add(run_id)
    code = code_of(spec, run.method)
    record = store.get(spec, run_id, code)
    if record is not None and not repeat(record, overwrite, code):
        # Who asks, why, and how its settings were chosen is no part of a run.
        agenda.kept.append(record.model_copy(update={"spec": spec}))
        if record.environment.fingerprint != code:
            agenda.stale.add(run_id)
    else:
        agenda.jobs.append(Job(spec, run_id, dict(run.changed), teacher, data.note, code))
        if record is not None:
            agenda.replaced[run_id] = record


def _say_tuned(agenda: Agenda, run_id: str, how: str) -> None:
    """Say of a run that is on the agenda already how its settings were chosen."""
    for i, job in enumerate(agenda.jobs):
        if job.run_id == run_id:
            agenda.jobs[i] = replace(job, spec=job.spec.model_copy(update={"tuned": how}))
    for i, record in enumerate(agenda.kept):
        if record.run_id == run_id:
            spec = record.spec.model_copy(update={"tuned": how})
            agenda.kept[i] = record.model_copy(update={"spec": spec})


def repeat(record: Record, overwrite: Overwrite, code: str) -> bool:
    """Whether a record is made again; that of an interrupted run always is.

    A run that spent more than its budget would do so again, and has not failed.

    Args:
        record: the record that is there.
        overwrite: which records are made again.
        code: the fingerprint of the present code. Records older than fingerprints differ from it.
    """
    if overwrite == "always" or record.status == "interrupted":
        return True
    if overwrite == "stale":
        return record.environment.fingerprint != code
    return overwrite == "failed" and record.status in FAILED


def _teacher(
    run: PlannedRun,
    data: Dataset,
    context: Context,
    say: Callable[[str], None],
    progress: Progress,
) -> TrainedTeacher:
    """The imported teacher that the context names, or the task's own, found or trained."""
    folders = context.teacher_folders
    if context.teacher:
        return find_imported(run.task, data.checksum(), context.teacher, folders, say)
    return obtain_teacher(
        run.task,
        data,
        folders,
        say,
        progress,
        run.budget.name,
        context.device,
        context.precision,
        context.checkpoint_seconds,
    )


def _keep_with_records(teacher: TrainedTeacher, path: Path) -> None:
    if weight_bytes(teacher) > SHIPPED_LIMIT:
        return
    try:
        load_tensors(path)
    except (FileNotFoundError, Corrupted):
        keep_teacher(teacher, path)
