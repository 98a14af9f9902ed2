"""Records gathered into tables: one per task, budget and teacher, a row per method and parameters.

Everything here is a pure function of the records; the same records give the same tables.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from benchmark.analysis.comparison.robustness import robustness_scores
from benchmark.analysis.frame import METRIC_NAMES
from benchmark.analysis.leaderboard.headline import headline_rows
from benchmark.analysis.leaderboard.rows import Row
from benchmark.analysis.preference import newest_version
from benchmark.records.canonical import canonical
from benchmark.records.record import SCORED, Metric, Record, one_a_run
from benchmark.records.spec import PlannedEntry, Purpose, Spec
from benchmark.records.store import Scan
from methods.settings.budget import Budget
from methods.settings.versions import Versions

DATA_FREE = "data-free"
QUANTISED = ("full_precision", "int8")
"""Forms of a quantised student that have scores of their own."""
SIZES = (*QUANTISED, "int4")
"""Forms of a quantised student whose size is known."""


@dataclass
class Table:
    """All rows of one task, budget and teacher.

    Values are computed once and kept, so all rows must be given when it is made.

    Attributes:
        headline: the rows that are compared, the best of each access class first.
        variants: other settings of the same methods, and students with another objective.
        missing: the number of planned runs of methods without any record, by method.
        robustness: normalised scores of the random draws, by method.
    """

    task: str
    budget: Budget
    teacher: str
    teacher_score: float
    headline: list[Row]
    variants: list[Row]
    missing: dict[str, int] = field(default_factory=dict)
    data_note: str = ""
    metric: Metric = "accuracy"
    robustness: dict[str, list[float]] = field(default_factory=dict)

    @cached_property
    def rows(self) -> list[Row]:
        """Every row, the headline first."""
        return [*self.headline, *self.variants]

    @cached_property
    def forms(self) -> dict[str, str]:
        """Metrics of the student's other forms that any run has, by the heading of their column."""
        scores = {
            f"{form} {METRIC_NAMES[self.metric]}, %": f"{self.metric}_{form}" for form in QUANTISED
        }
        sizes = {f"{form} KiB": f"kib_{form}" for form in SIZES}
        present = {metric for row in self.rows for r in row.scored for metric in r.metrics}
        return {
            name.replace("_", "-"): metric
            for name, metric in {**scores, **sizes}.items()
            if metric in present
        }


class TableKey(NamedTuple):
    """What all runs of a table share; the budget is canonical."""

    task: str
    task_version: int
    data: str
    budget: str
    teacher: str


class RowKey(NamedTuple):
    """What all runs of a row share; parameters and objective are canonical."""

    method: str
    version: int
    params: str
    proxy: str
    objective: str


def tables(scan: Scan, purpose: Purpose = "table") -> list[Table]:
    """Group a scan's records of one purpose into tables, rows in order of rank.

    Args:
        scan: the records and the plans.
        purpose: the purpose of the runs that are shown. A table of sweeps, draws or trials has
            every setting in its headline.
    """
    planned = list(_planned(scan, purpose))
    groups, first = _rows(scan, purpose, {run_id for run_id, *_ in planned})
    missing: dict[TableKey, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for run_id, table, key, entry in planned:
        if row := groups.get(table, {}).get(key):
            row.planned.add(run_id)
            row.choices.update({entry.tuned} - {""})
        else:
            missing[table][key.method] += 1
    robustness = _robustness(scan)
    found = []
    for table, rows in sorted(groups.items()):
        _date(rows.values(), scan.versions)
        chosen = headline_rows(rows.values()) if purpose == "table" else list(rows.values())
        own = first[table]
        found.append(
            Table(
                own.spec.task,
                own.spec.budget,
                own.teacher.checksum,
                own.teacher.score,
                sorted(chosen, key=_by_score),
                sorted(set(rows.values()).difference(chosen), key=_by_method),
                dict(missing[table]),
                own.data_note,
                own.teacher.metric,
                robustness.get(table, {}),
            )
        )
    return found


def _rows(
    scan: Scan, purpose: Purpose, wanted: set[str]
) -> tuple[dict[TableKey, dict[RowKey, Row]], dict[TableKey, Record]]:
    """The rows of every table with their records, and the first record of every table.

    A run that another suite has made, for a purpose of its own, is not made again: it counts here
    if it is ``wanted``. One on a seed that is for tuning is in no table and no sweep.
    """
    groups: dict[TableKey, dict[RowKey, Row]] = defaultdict(dict)
    first: dict[TableKey, Record] = {}
    measured = {record.run_id: record.quality for record in scan.records if record.quality}
    mine = [
        record
        for record in scan.records
        if record.run_id in wanted or (record.spec.purpose == purpose and not record.spec.misplaced)
    ]
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
            ),
        )
        row.records.append(record)
        row.planned.add(record.run_id)
        row.choices.update({record.spec.tuned} - {""})
    return groups, first


def _date(rows: Collection[Row], known: Mapping[str, Versions]) -> None:
    """Tell every row of a table which version is the newest of its method and setting."""
    recorded: dict[tuple[str, str], int] = defaultdict(int)
    for row in rows:
        name = row.method, row.proxy
        recorded[name] = max(recorded[name], row.version)
    for row in rows:
        params = row.records[0].spec.params
        row.newest = newest_version(known, row.method, params, recorded[row.method, row.proxy])


def _robustness(scan: Scan) -> dict[TableKey, dict[str, list[float]]]:
    """The scores of every table's random draws, by method."""
    planned: dict[TableKey, list[tuple[str, str, str]]] = defaultdict(list)
    for run_id, table, key, _ in _planned(scan, "draw"):
        if not key.objective:
            planned[table].append((run_id, key.method, key.params))
    drawn = {run_id for own in planned.values() for run_id, _, _ in own}
    records: dict[TableKey, list[Record]] = defaultdict(list)
    for record in scan.records:
        if record.spec.purpose == "draw" or record.run_id in drawn:
            records[_keys(record)[0]].append(record)
    return {table: robustness_scores(own, planned[table]) for table, own in records.items()}


def _keys(record: Record) -> tuple[TableKey, RowKey]:
    spec = record.spec
    return (
        TableKey(
            spec.task, spec.task_version, spec.data, _common(spec.budget), record.teacher.checksum
        ),
        _row_key(spec, spec.method_version),
    )


def _row_key(run: Spec | PlannedEntry, version: int) -> RowKey:
    objective = canonical(run.objective.model_dump(mode="json")) if run.objective else ""
    return RowKey(run.method, version, canonical(run.params), run.proxy, objective)


@lru_cache(1024)
def _common(budget: Budget) -> str:
    """The budget of a table's methods, without the numbers that only pixel inversion uses."""
    return canonical(budget.of_method(inverts_pixels=False).identity())


def _planned(scan: Scan, purpose: Purpose) -> Iterator[tuple[str, TableKey, RowKey, PlannedEntry]]:
    """Every planned run of a purpose, with the table and the row it belongs to."""
    for suite in sorted(scan.planned):
        for run_id, entry in sorted(scan.planned[suite].items()):
            if entry.purpose == purpose and not entry.misplaced:
                table = TableKey(
                    entry.task,
                    entry.task_version,
                    entry.data,
                    _common(entry.budget),
                    entry.teacher,
                )
                yield run_id, table, _row_key(entry, entry.version), entry


def _by_score(row: Row) -> tuple[Any, ...]:
    """Complete rows of an access class by score; then those that have no rank yet, or lost it."""
    complete = row.standing in ("ranked", "reference")
    score = -1.0 if row.score is None else row.score
    return (*_access(row), not complete, -score, row.label)


def _by_method(row: Row) -> tuple[Any, ...]:
    return (*_access(row), row.title, row.version, row.label)


def _access(row: Row) -> tuple[bool, str]:
    return (row.access != DATA_FREE, row.access)


def access_classes(rows: Iterable[Row]) -> list[list[Row]]:
    """The rows of each access class, in the given order."""
    classes: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        classes[row.access].append(row)
    return list(classes.values())
