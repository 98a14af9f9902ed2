"""Records as a data frame: one row a run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import fsum
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from benchmark.errors import UserError
from benchmark.records.canonical import canonical
from benchmark.records.record import Metric, Record
from benchmark.records.store import Scan, Store
from methods.settings.budget import Budget

if TYPE_CHECKING:
    import pandas as pd

TIMED_PHASES = ("synthesis", "distillation", "joint")
"""Phases that are the method's own; evaluation is the harness's."""

OWN_OBJECTIVE = "kd"
"""What the objective of a run is called that has none put on it."""

METRIC_NAMES: dict[Metric, str] = {"accuracy": "accuracy", "miou": "mIoU"}
"""What a score is called in tables and plots."""


def row(record: Record) -> dict[str, Any]:
    """One record, flattened."""
    ledger = record.ledger
    return {
        "run_id": record.run_id,
        "suite": record.spec.suite,
        "task": record.spec.task,
        "budget": record.spec.budget.name,
        "variant": record.spec.budget.variant,
        "budget_numbers": numbers_of(record.spec.budget),
        "purpose": record.spec.purpose,
        "method": record.spec.method,
        "version": record.spec.method_version,
        "title": record.method.title,
        "access": record.method.access,
        "changed": canonical(record.method.changed),
        "params": canonical(record.spec.params),
        "proxy": record.spec.proxy,
        "proxy_name": record.method.proxy,
        "objective": record.spec.objective.name if record.spec.objective else OWN_OBJECTIVE,
        "seed": record.spec.seed,
        "status": record.status,
        "reason": record.reason,
        "teacher": record.teacher.checksum,
        "chance": record.teacher.chance,
        "metric": record.teacher.metric,
        "score": record.score,
        "teacher_score": record.teacher.score,
        "teacher_forward": ledger.teacher_forward,
        "teacher_backward": ledger.teacher_backward,
        "synthetic_images": ledger.synthetic_images,
        "student_steps": ledger.student_steps,
        "seconds": sum(ledger.seconds.get(phase, 0.0) for phase in TIMED_PHASES),
        "peak_memory_mib": ledger.peak_memory_mib,
        "threads": record.environment.threads,
        "code_version": record.environment.code_version,
        "fingerprint": record.environment.fingerprint,
        "kd_loss_variance": kd_loss_variance(record),
        **record.metrics,
        **image_metrics(record),
    }


@lru_cache(1024)
def numbers_of(budget: Budget) -> str:
    """A budget's identity as text; few budgets are behind many records."""
    return canonical(budget.identity())


def kd_loss_variance(record: Record) -> float | None:
    """Variance of the student's loss over the second half of its steps, as its curve samples it.

    How restless the training was to its end (compare RDSKD's Figure 2); None without a curve.
    """
    losses = record.curves.get("distillation/loss", {}).get("value", [])
    late = losses[len(losses) // 2 :]
    if len(late) < 2:
        return None
    mean = fmean(late)
    return fsum((loss - mean) ** 2 for loss in late) / (len(late) - 1)


def image_metrics(record: Record) -> dict[str, Any]:
    """Image quality as columns, ``fid_task``, ``fid_inception``, ...

    Each extractor adds what must be equal where numbers are compared: ``<extractor>_extractor``,
    the checksum of its network, ``<extractor>_samples``, how many images it saw,
    ``<extractor>_reference``, with how many real ones they were compared, ``<extractor>_pairs`` and
    ``<extractor>_version``.
    """
    columns: dict[str, Any] = {}
    for extractor, quality in record.quality.items():
        columns |= {f"{name}_{extractor}": v for name, v in quality.samples.metrics.items()}
        columns |= {
            f"{extractor}_extractor": quality.checksum,
            f"{extractor}_samples": quality.samples.images,
            f"{extractor}_reference": quality.reference,
            f"{extractor}_pairs": quality.pairs,
            f"{extractor}_version": quality.version,
        }
    return columns


def to_frame(records: Sequence[Record]) -> pd.DataFrame:
    """One row a run, in a stable order."""
    import pandas as pd  # takes longer to import than tables take that need none of it

    frame = pd.DataFrame([row(record) for record in records])
    if frame.empty:
        return frame
    order = ["suite", "task", "budget", "variant", "method", "params", "seed", "run_id"]
    return frame.sort_values(order, ignore_index=True)


def load_results(path: Path) -> pd.DataFrame:
    """Every record under ``path``.

    Raises:
        UserError: naming the first file that is not a record.
    """
    return to_frame(readable(Store.existing(path).scan()))


def readable(scan: Scan) -> list[Record]:
    """The records of a scan without unreadable files.

    Raises:
        UserError: naming the first unreadable file.
    """
    if scan.unreadable:
        bad = scan.unreadable[0]
        raise UserError(f"'{bad.path}' is not a readable record: {bad.reason}")
    return scan.records
