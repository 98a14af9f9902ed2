"""Records gathered into tables: one per task, budget and teacher, a row per method and parameters.

Everything here is a pure function of the records; the same records give the same tables.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from benchmark.analysis.comparison.robustness import robustness_scores
from benchmark.analysis.frame import METRIC_NAMES
from benchmark.analysis.leaderboard.rows import Row
from benchmark.records.canonical import canonical
from benchmark.records.record import FAILED, SCORED, Metric, Record, one_a_run
from benchmark.records.spec import PlannedEntry, Purpose, Spec
from benchmark.records.store import Scan
from methods.settings.budget import Budget

DATA_FREE = "data-free"
VARIANTS = ("full_precision", "int8")
"""Forms of a quantised student that have scores of their own."""
SIZES = (*VARIANTS, "int4")
"""Forms of a quantised student whose size is known."""
SCHEDULES = {
    "cosine": "cosine decay",
    "constant": "constant rate",
    "step": "divided by ten after four fifths",
    "thirds": "divided by ten after each third",
}


@dataclass
class Table:
    """All rows of one task, budget and teacher.

    Values are computed once and kept, so all rows must be given when it is made.
    """

    task: str
    budget: Budget
    teacher: str
    teacher_score: float
    rows: list[Row]
    missing: dict[str, int] = field(default_factory=dict)
    data_note: str = ""
    metric: Metric = "accuracy"
    robustness: dict[str, list[float]] = field(default_factory=dict)
    """Normalised scores of the random draws, by method."""

    @cached_property
    def variants(self) -> dict[str, str]:
        """Metrics of the student's other forms that any run has, by the heading of their column."""
        scores = {
            f"{form} {METRIC_NAMES[self.metric]}, %": f"{self.metric}_{form}" for form in VARIANTS
        }
        sizes = {f"{form} KiB": f"kib_{form}" for form in SIZES}
        present = {metric for row in self.rows for r in row.scored for metric in r.metrics}
        return {
            name.replace("_", "-"): metric
            for name, metric in {**scores, **sizes}.items()
            if metric in present
        }

    def caption(self) -> str:
        """Budget, teacher, data and machines behind the numbers, in a few sentences."""
        b = self.budget
        images = (
            f"a bank of {b.images:,} images" if b.images else "fresh images at every student step"
        )
        schedule = SCHEDULES[b.student_schedule]
        threads = sorted({r.environment.threads for row in self.rows for r in row.records})
        devices = sorted({r.environment.device for row in self.rows for r in row.records})
        absent = ", ".join(f"{name} ({count} runs)" for name, count in sorted(self.missing.items()))
        where = " and ".join(devices) + ", " + "/".join(str(n) for n in threads) + " threads a run"
        inverting = [
            record.spec.budget
            for row in self.rows
            for record in row.records
            if record.spec.budget.inversion_images
        ]
        pixels = "".join(
            f"; methods that optimise pixels: {i.inversion_images:,} images, "
            f"{i.inversion_steps:,} steps each"
            for i in inverting[:1]
        )
        proxies = sorted(
            {(r.method.proxy, r.spec.proxy) for row in self.rows for r in row.records} - {("", "")}
        )
        proxy = ", ".join(f"{name} `{checksum}`" for name, checksum in proxies)
        return (
            f"Budget `{b.name}`: {b.synthesis_steps:,} synthesis steps of {b.synthesis_batch} "
            f"images, {images}{pixels}, {b.student_steps:,} student steps of {b.student_batch} "
            f"images ({b.student_optimizer.capitalize()} {b.student_lr:g}, {schedule}). "
            f"Teacher `{self.teacher}`, {METRIC_NAMES[self.metric]} "
            f"{100 * self.teacher_score:.2f} %. "
            + (f"Data: {self.data_note}. " if self.data_note else "")
            + (f"Proxy images: {proxy}. " if proxy else "")
            + f"Run on: {where}."
            + (f" Planned, but without any record: {absent}." if absent else "")
        )


TableKey = tuple[str, int, str, str, str]
"""Task, its version, data, budget (canonical) and teacher; a table never mixes two of them."""
RowKey = tuple[str, int, str, str, str]
"""Method, its version, parameters (canonical), proxy images and objective (canonical)."""


def tables(scan: Scan, purpose: Purpose = "table", provisional: bool = False) -> list[Table]:
    """Group a scan's records of one purpose into tables, rows in order of rank.

    Args:
        scan: the records and the plans.
        purpose: the purpose of the runs that are shown.
        provisional: rank by the runs that have ended, because others still run.
    """
    groups: dict[TableKey, dict[RowKey, Row]] = defaultdict(dict)
    first: dict[TableKey, Record] = {}
    draws: dict[TableKey, list[Record]] = defaultdict(list)
    measured = {record.run_id: record.quality for record in scan.records if record.quality}
    draws_planned: dict[TableKey, list[tuple[str, str, str]]] = defaultdict(list)
    ended = {r.run_id for r in scan.records if r.status in SCORED | FAILED}
    for run_id, _, table, (method, _, params, _, objective) in _planned(scan, "draw"):
        if not objective and (run_id in ended or not provisional):
            draws_planned[table].append((run_id, method, params))
    drawn = {run_id for own in draws_planned.values() for run_id, _, _ in own}
    for record in scan.records:
        if record.spec.purpose == "draw" or record.run_id in drawn:
            draws[_keys(record)[0]].append(record)
    # A run that another suite has made, for a purpose of its own, is not made again.
    wanted = {run_id for run_id, *_ in _planned(scan, purpose)}
    mine = [r for r in scan.records if r.spec.purpose == purpose or r.run_id in wanted]
    for record in one_a_run(mine):
        if not record.quality and record.run_id in measured and record.status in SCORED:
            record = record.model_copy(update={"quality": measured[record.run_id]})
        table, key = _keys(record)
        first.setdefault(table, record)
        row = groups[table].setdefault(
            key,
            Row(
                record.spec.method,
                record.method.title,
                record.method.access,
                record.method.changed,
                record.spec.method_version,
                record.teacher.chance,
                record.teacher.metric,
                record.method.proxy,
                provisional=provisional,
            ),
        )
        row.records.append(record)
        row.planned[record.run_id] = record.spec.seed
    missing: dict[TableKey, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for run_id, seed, table, key in _planned(scan, purpose):
        if key in groups.get(table, {}):
            groups[table][key].planned[run_id] = seed
        else:
            missing[table][key[0]] += 1
    return [
        Table(
            first[table].spec.task,
            first[table].spec.budget,
            first[table].teacher.checksum,
            first[table].teacher.score,
            sorted(rows.values(), key=_order),
            dict(missing[table]),
            first[table].data_note,
            first[table].teacher.metric,
            robustness_scores(draws[table], draws_planned[table]),
        )
        for table, rows in sorted(groups.items())
    ]


def _keys(record: Record) -> tuple[TableKey, RowKey]:
    spec = record.spec
    budget = _common(spec.budget)
    table = (spec.task, spec.task_version, spec.data, budget, record.teacher.checksum)
    params, objective = canonical(spec.params), _canonical_objective(spec)
    return table, (spec.method, spec.method_version, params, spec.proxy, objective)


def _canonical_objective(run: Spec | PlannedEntry) -> str:
    """The objective put on a run's method; empty for the method's own."""
    return canonical(run.objective.model_dump(mode="json")) if run.objective else ""


@lru_cache(1024)
def _common(budget: Budget) -> str:
    """The budget of a table's methods, without the numbers that only pixel inversion uses."""
    return canonical(budget.of_method(inverts_pixels=False).identity())


def _planned(scan: Scan, purpose: Purpose) -> Iterable[tuple[str, int, TableKey, RowKey]]:
    """Every planned run with its seed, and the table and the row it belongs to."""
    for suite in sorted(scan.planned):
        for run_id, entry in sorted(scan.planned[suite].items()):
            if entry.purpose != purpose:
                continue
            budget = _common(entry.budget)
            table = (entry.task, entry.task_version, entry.data, budget, entry.teacher)
            params, objective = canonical(entry.params), _canonical_objective(entry)
            row = (entry.method, entry.version, params, entry.proxy, objective)
            yield run_id, entry.seed, table, row


def _order(row: Row) -> tuple[Any, ...]:
    return (row.access != DATA_FREE, row.access, -row.score, row.label)
