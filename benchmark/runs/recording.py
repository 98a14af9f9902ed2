"""What is kept of a run: its record, with the ledger and the curves in their written form."""

from __future__ import annotations

import datetime

import torch

from benchmark.machine.device import environment, peak_memory_mib
from benchmark.metrics.exam import Scores
from benchmark.records.record import FAILED, LedgerInfo, MethodInfo, Record, Status
from benchmark.runs.code import code_of
from benchmark.runs.job import Context, Job
from benchmark.tasks.base import Task
from benchmark.tasks.data.proxy import proxy_name
from methods.base.ledger import Ledger
from methods.base.method import Method
from methods.base.run import Run


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
