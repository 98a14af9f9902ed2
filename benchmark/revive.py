"""From a record back to the job that made it, once everything it was made from is here again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmark.artifacts import cache_dir
from benchmark.errors import UserError
from benchmark.metadata import obtain_metadata
from benchmark.records import Record
from benchmark.run import Context, Job, dataset, proxy_checksum
from benchmark.tasks.registry import get_task
from benchmark.teachers import Say, find_teacher, teacher_folders
from methods.base import Access
from methods.registry import discover


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
