"""From a record back to the job that made it, and the comparison of two executions."""

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
from methods.base.ledger import COUNTS
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
    """The job of a record, and the context with the device, precision and threads of its run.

    Args:
        record: the record of a run.
        results: the folder of the record, which may hold its teacher too.
        data_dir: the folder of the datasets.
        proxy_dir: the folder of the proxy images, if they are not the task's.
        method_folders: further folders of methods.
        say: called with sentences on what is ignored and what takes time.
        reuse_samples: whether images of an equal synthesis are taken from the cache.
        task_folders: further folders of tasks.

    Raises:
        UserError: when the run's method, data, proxy images or teacher are not here.
    """
    spec = record.spec
    task = get_task(spec.task)
    known = discover(method_folders)
    if spec.method not in known:
        raise UserError(
            f"the record's method '{spec.method}' is not here; give its folder: --methods-dir"
        )
    data = dataset(task.name, data_dir)
    if data.checksum() != spec.data:
        raise UserError(
            f"the data of task '{task.name}' here ({data.checksum()}) is not the record's "
            f"({spec.data}); give the folder of that data with --data-dir"
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
            f"({record.method.proxy or 'none'} {spec.proxy}); give the record's with --proxy-dir"
        )
    teacher = find_teacher(task, spec.data, context.teacher_folders, say, spec.budget.name)
    if teacher is None or teacher.info.checksum != record.teacher.checksum:
        raise UserError(
            f"the record's teacher {record.teacher.checksum} is not here; put it into "
            f"'{results / 'teachers'}' or the cache"
        )
    if Access.METADATA in known[spec.method].access:
        obtain_metadata(task, data, teacher.build(task), context.teacher_folders, say)
    return Job(spec, record.run_id, record.method.changed, teacher, record.data_note), context


def compare(record: Record, again: Record) -> list[str]:
    """The differences between two executions, a line each; seconds and memory may differ."""
    lines = []
    if record.status != again.status:
        lines.append(f"status: {record.status} then, {again.status} now ({again.reason})")
    # A metric that the record lacks was not computed at the time, which is no difference.
    for name in sorted(record.metrics):
        before, after = record.metrics.get(name), again.metrics.get(name)
        if before != after:
            lines.append(f"{name}: {before} then, {after} now")
    if record.segmentation != again.segmentation:
        lines.append("the confusion matrix differs")
    for name in sorted(record.curves.keys() | again.curves.keys()):
        if record.curves.get(name) != again.curves.get(name):
            lines.append(f"curve {name} differs")
    for name in COUNTS:
        before, after = getattr(record.ledger, name), getattr(again.ledger, name)
        if before != after:
            lines.append(f"{name}: {before} then, {after} now")
    return lines
