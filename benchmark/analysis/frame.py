"""Records, flattened: a `Run` for comparisons, and a data frame with one row per run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from math import fsum
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmark.analysis.preference import newest_version
from benchmark.errors import UserError
from benchmark.records.canonical import canonical
from benchmark.records.record import FAILED, SCORED, Metric, Record, Status
from benchmark.records.spec import TUNING_SEEDS_FROM, Purpose
from benchmark.records.store import Scan, Store
from methods.settings.budget import Budget
from methods.settings.versions import Versions

if TYPE_CHECKING:
    import pandas as pd

EVALUATION = "evaluation"
"""The harness's phase; all others, whatever a method calls them, are the method's."""

OWN_OBJECTIVE = "kd"
"""Name of the objective of a run that minimises its method's own."""

METRIC_NAMES: dict[Metric, str] = {"accuracy": "accuracy", "miou": "mIoU"}
"""Names of the scores in tables and plots."""


class Run(NamedTuple):
    """The columns of a record that comparisons read.

    Runs and the rows of a frame are ordered by the first columns, up to ``run_id``.
    """

    suite: str
    task: str
    budget: str
    variant: str
    method: str
    params: str
    seed: int
    run_id: str
    version: int
    title: str
    changed: str
    budget_numbers: str
    purpose: Purpose
    objective: str
    teacher: str
    metric: Metric
    chance: float
    proxy: str
    status: Status
    score: float | None
    tuned: str
    created: str

    @classmethod
    def of(cls, record: Record) -> Run:
        """The columns of one record."""
        spec, method, teacher = record.spec, record.method, record.teacher
        return cls(
            suite=spec.suite,
            task=spec.task,
            budget=spec.budget.name,
            variant=spec.budget.variant,
            method=spec.method,
            params=canonical(spec.params),
            seed=spec.seed,
            run_id=record.run_id,
            version=spec.method_version,
            title=method.title,
            changed=canonical(method.changed),
            budget_numbers=numbers_of(spec.budget),
            purpose=spec.purpose,
            objective=spec.objective.name if spec.objective else OWN_OBJECTIVE,
            teacher=teacher.checksum,
            metric=teacher.metric,
            chance=teacher.chance,
            proxy=spec.proxy,
            status=record.status,
            score=record.score,
            tuned=spec.tuned,
            created=record.created,
        )

    @property
    def owner(self) -> tuple[str, int]:
        """Method and version that the parameters belong to."""
        return self.method, self.version

    @property
    def counts(self) -> bool:
        """Whether comparisons count it: ended, and its method's own objective.

        Random draws, trials of tuning and runs that spent more than their budget do not count, nor
        do runs on a seed that is for tuning.
        """
        ended = self.status in SCORED or self.status in FAILED
        settled = self.purpose not in ("draw", "tune") and self.seed < TUNING_SEEDS_FROM
        return ended and settled and self.objective == OWN_OBJECTIVE


ORDER = Run._fields[: 1 + Run._fields.index("run_id")]
"""Columns by which runs are sorted."""


def runs_of(records: Iterable[Record]) -> list[Run]:
    """The runs of records, in the order of a frame; faster than making one."""
    return sorted(map(Run.of, records), key=lambda run: run[: len(ORDER)])


def row(record: Record) -> dict[str, Any]:
    """One record as a row of the frame."""
    ledger = record.ledger
    return {
        **Run.of(record)._asdict(),
        "access": record.method.access,
        "proxy_name": record.method.proxy,
        "reason": record.reason,
        "teacher_score": record.teacher.score,
        "teacher_forward": ledger.teacher_forward,
        "teacher_backward": ledger.teacher_backward,
        "synthetic_images": ledger.synthetic_images,
        "student_steps": ledger.student_steps,
        "seconds": _own_phases(ledger.seconds) or 0.0,
        "processor_seconds": _own_phases(ledger.processor_seconds),
        "work": work_of(record),
        "peak_memory_mib": ledger.peak_memory_mib,
        "threads": record.environment.threads,
        "schedule": record.spec.budget.schedule,
        "code_version": record.environment.code_version,
        "fingerprint": record.environment.fingerprint,
        "kd_loss_variance": kd_loss_variance(record),
        **record.metrics,
        **image_metrics(record),
    }


def _own_phases(spent: Mapping[str, float]) -> float | None:
    """The sum over the phases that belong to the method; None where nothing was recorded."""
    return sum(n for phase, n in spent.items() if phase != EVALUATION) if spent else None


def work_of(record: Record) -> float | None:
    """Floating-point operations of the method's own phases; None for records that lack them."""
    return _own_phases(record.ledger.work)


@lru_cache(1024)
def numbers_of(budget: Budget) -> str:
    """A budget's identity as text; kept, because many records share few budgets."""
    return canonical(budget.identity())


def kd_loss_variance(record: Record) -> float | None:
    """Variance of the student's loss over the second half of its steps, at the points of its curve.

    It tells how unsteady the end of the training was (compare RDSKD's Figure 2); None without a
    curve.
    """
    losses = record.curves.get("distillation/loss", {}).get("value", [])
    late = losses[len(losses) // 2 :]
    if len(late) < 2:
        return None
    mean = fmean(late)
    return fsum((loss - mean) ** 2 for loss in late) / (len(late) - 1)


def image_metrics(record: Record) -> dict[str, Any]:
    """Image quality as columns, ``fid_task``, ``fid_inception``, ...

    Each extractor adds columns that must be equal where numbers are compared:
    ``<extractor>_extractor`` (checksum of its network), ``<extractor>_samples`` (number of images),
    ``<extractor>_reference`` (number of real images they were compared with),
    ``<extractor>_pairs`` and ``<extractor>_version``.
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


def to_frame(
    records: Sequence[Record], versions: Mapping[str, Versions] | None = None
) -> pd.DataFrame:
    """One row per run, in a stable order.

    Args:
        records: the records.
        versions: the versions that the program has, by method. A run's is in ``newest_version``,
            which is the run's own for other methods.
    """
    import pandas as pd  # imported here, because it takes longer than the tables that do without it

    known = versions or {}
    frame = pd.DataFrame([{**row(record), **_newest(record, known)} for record in records])
    if frame.empty:
        return frame
    return frame.sort_values(list(ORDER), ignore_index=True)


def _newest(record: Record, known: Mapping[str, Versions]) -> dict[str, int]:
    spec = record.spec
    newest = newest_version(known, spec.method, spec.params, spec.method_version)
    return {"newest_version": newest}


def load_results(path: Path) -> pd.DataFrame:
    """Every record under ``path``.

    Raises:
        UserError: see `read_results`.
    """
    scan = read_results(path)
    return to_frame(scan.records, scan.versions)


def read_results(path: Path) -> Scan:
    """Everything under a results folder, all of it readable.

    Raises:
        UserError: when there is no such folder, or naming the first file that is not a record.
    """
    scan = Store.existing(path).scan()
    readable(scan)
    return scan


def readable(scan: Scan) -> list[Record]:
    """The records of a scan that has no unreadable files.

    Raises:
        UserError: naming the first unreadable file.
    """
    if scan.unreadable:
        bad = scan.unreadable[0]
        raise UserError(f"'{bad.path}' is not a readable record: {bad.reason}")
    return scan.records
