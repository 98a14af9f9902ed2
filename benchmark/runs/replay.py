"""From a record back to the job that made it, once everything it was made from is here again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmark.errors import UserError
from benchmark.machine.cache import cache_dir
from benchmark.records.record import Record
from benchmark.runs.job import Context, Job, proxy_checksum
from benchmark.tasks.loaded import dataset
from benchmark.tasks.registry import get_task
from benchmark.teachers.metadata import obtain_metadata
from benchmark.teachers.teacher import Say, find_teacher, teacher_folders
from methods.base.problem import Access
from methods.base.registry import discover


def revive(
    record: Record,
    results: Path,
    data_dir: Path | None,
    proxy_dir: Path | None,
    method_folders: Sequence[Path],
    say: Say,
    reuse_samples: bool,
    task_folders: Sequence[Path] = (),
) -> tuple[Job, Context]:
    """The job of a record, and the device, precision and threads it was executed with.

    Args:
        record: of a run.
        results: the folder it lies in, beside which its teacher may lie.
        data_dir: where the datasets are.
        proxy_dir: the proxy images, if they are not the task's.
        method_folders: more folders of methods.
        say: told what is ignored and what takes time.
        reuse_samples: whether images kept from an equal synthesis are taken.
        task_folders: more folders of tasks.

    Raises:
        UserError: when its method, data, proxy images or teacher are not here.
    """
    spec = record.spec
    task = get_task(spec.task)
    known = discover(method_folders)
    if spec.method not in known:
        raise UserError(f"the record's method '{spec.method}' is not here; give --methods-dir")
    data = dataset(task.name, data_dir)
    if data.checksum() != spec.data:
        raise UserError(
            f"the data of task '{task.name}' here ({data.checksum()}) is not the record's "
            f"({spec.data})"
        )
    context = Context(
        cache=cache_dir(),
        teacher_folders=teacher_folders(results),
        data_dir=data_dir,
        proxy_dir=proxy_dir,
        method_folders=tuple(method_folders),
        device=record.environment.device,
        precision="bf16" if record.environment.precision == "bf16" else "fp32",
        threads=record.environment.threads,
        reuse_samples=reuse_samples,
        task_folders=tuple(task_folders),
    )
    proxy = proxy_checksum(known[spec.method], task.name, context)
    if proxy != spec.proxy:
        raise UserError(
            f"the proxy images here ({proxy or 'none'}) are not the record's "
            f"({record.method.proxy or 'none'} {spec.proxy}); give theirs with --proxy-dir"
        )
    teacher = find_teacher(task, spec.data, context.teacher_folders, say, spec.budget.name)
    if teacher is None or teacher.info.checksum != record.teacher.checksum:
        raise UserError(
            f"the record's teacher {record.teacher.checksum} is not here: neither in the cache nor "
            f"in '{results / 'teachers'}'"
        )
    if Access.METADATA in known[spec.method].access:
        obtain_metadata(task, data, teacher.build(task), context.teacher_folders, say)
    return Job(spec, record.run_id, record.method.changed, teacher, record.data_note), context


def compare(record: Record, again: Record) -> list[str]:
    """What differs between two executions; seconds and memory may."""
    lines = []
    if record.status != again.status:
        lines.append(f"status: {record.status} then, {again.status} now ({again.reason})")
    # A metric that the record has not got was not computed then, which is no difference.
    for name in sorted(record.metrics):
        before, after = record.metrics.get(name), again.metrics.get(name)
        if before != after:
            lines.append(f"{name}: {before} then, {after} now")
    if record.segmentation != again.segmentation:
        lines.append("the confusion matrix differs")
    for name in sorted(record.curves.keys() | again.curves.keys()):
        if record.curves.get(name) != again.curves.get(name):
            lines.append(f"curve {name} differs")
    costs = ("teacher_forward", "teacher_backward", "synthetic_images", "student_steps")
    for name in costs:
        before, after = getattr(record.ledger, name), getattr(again.ledger, name)
        if before != after:
            lines.append(f"{name}: {before} then, {after} now")
    return lines
