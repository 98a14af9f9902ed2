"""The leaderboard's columns, and every cell of a table as text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from benchmark.analysis.comparison.robustness import ROBUSTNESS, robustness_cell
from benchmark.analysis.frame import METRIC_NAMES
from benchmark.analysis.leaderboard.headline import headline_setting
from benchmark.analysis.leaderboard.quotes import published
from benchmark.analysis.leaderboard.ranking import groups, ranks
from benchmark.analysis.leaderboard.rows import Row
from benchmark.analysis.leaderboard.tables import Table
from benchmark.analysis.leaderboard.work import work_unit
from benchmark.analysis.statistics.intervals import collapse_percents
from benchmark.analysis.text import NO_VALUE, percent

PIXEL_ACCURACY = "pixel accuracy, %"


class Column(NamedTuple):
    """A heading, and what a row shows below it."""

    heading: str
    cell: Callable[[Row], str]


@dataclass(frozen=True)
class Grid:
    """Rows with their cells as text."""

    names: tuple[str, ...]
    rows: list[Row]
    body: list[list[str]]

    @classmethod
    def of(cls, columns: Sequence[Column], rows: Sequence[Row]) -> Grid:
        """Every column's cell of every row."""
        body = [[column.cell(row) for column in columns] for row in rows]
        return cls(tuple(column.heading for column in columns), list(rows), body)

    def where(self, wanted: Callable[[Row], bool]) -> Grid:
        """The rows that are wanted."""
        kept = [i for i, row in enumerate(self.rows) if wanted(row)]
        return Grid(self.names, [self.rows[i] for i in kept], [self.body[i] for i in kept])

    def columns(self, wanted: Callable[[str], bool]) -> Grid:
        """The columns whose headings are wanted."""
        kept = [i for i, name in enumerate(self.names) if wanted(name)]
        body = [[cells[i] for i in kept] for cells in self.body]
        return Grid(tuple(self.names[i] for i in kept), self.rows, body)

    def column(self, name: str) -> list[str]:
        """The cells of one column."""
        return [cells[self.names.index(name)] for cells in self.body]


def headline_grid(table: Table) -> Grid:
    """The rows that are compared, with ranks and groups."""
    rank, group, quoted = ranks(table), groups(table), published(table)[0]
    columns = [
        Column("rank", rank.__getitem__),
        Column("method", _method),
        Column("setting", headline_setting),
        Column("access", lambda row: row.access),
        *_scores(table),
        Column("published, %", quoted.__getitem__),
        Column("group", group.__getitem__),
        *_runs(table),
        *_checkpoints(table),
        *_costs(table),
        *_forms(table),
        *_robustness(table),
    ]
    return Grid.of(columns, table.headline)


def variants_grid(table: Table) -> Grid:
    """Ablations and other variants, which have no rank."""
    columns = [
        Column("method", _method),
        Column("setting", lambda row: row.setting),
        Column("access", lambda row: row.access),
        *_scores(table),
        Column("published, %", published(table)[0].__getitem__),
        *_runs(table),
        *_checkpoints(table),
        *_costs(table),
        *_forms(table),
    ]
    return Grid.of(columns, table.variants)


def _method(row: Row) -> str:
    return row.name + (f" [{row.note}]" if row.note else "")


def _mean(metric: str) -> Callable[[Row], str]:
    return lambda row: percent(row.mean(metric))


def _scores(table: Table) -> Iterator[Column]:
    """The headline score; in segmentation mIoU replaces accuracy, and pixel accuracy is added."""
    yield Column(f"{METRIC_NAMES[table.metric]}, %", _score)
    if table.metric == "miou":
        yield Column(PIXEL_ACCURACY, _mean("pixel_accuracy"))


def _score(row: Row) -> str:
    spread = "" if row.interval is None else row.interval.plus_minus
    return percent(row.score) + spread


def _runs(table: Table) -> Iterator[Column]:
    yield Column("n ok/planned", lambda row: f"{len(row.scored)}/{len(row.planned)}")
    yield Column("collapsed", _collapsed)
    yield Column("finished runs, %", lambda row: percent(row.mean(row.metric)))
    yield Column("of teacher, %", lambda row: percent(_share(row, table.teacher_score)))


def _collapsed(row: Row) -> str:
    """``1/10 (≤ 40 %)``: collapsed of finished students, and the rate's upper bound."""
    runs = len(row.scored)
    if not runs:
        return NO_VALUE
    return f"{row.collapsed}/{runs} (≤ {collapse_percents(row.collapsed, runs)[1]} %)"


def _share(row: Row, teacher_score: float) -> float | None:
    return None if row.score is None else row.score / teacher_score


def _checkpoints(table: Table) -> Iterator[Column]:
    """Scores beside the headline's; on the development split, if every compared run has one."""
    dev = f"{table.metric}_dev"
    finished = [record for row in table.headline for record in row.scored]
    if finished and all(dev in record.metrics for record in finished):
        yield Column("dev, %", _mean(dev))
    yield Column("oracle, %", _mean(f"{table.metric}_oracle"))
    yield Column("agreement, %", _mean(f"{table.metric}_agreement"))


def _costs(table: Table) -> Iterator[Column]:
    unit = work_unit(row.work for row in table.rows)
    if unit is None:
        yield Column("work", lambda row: NO_VALUE)
    else:
        yield Column(f"work, {unit.name}", lambda row: unit.cell(row.work))
    yield Column("teacher queries", _queries)


def _queries(row: Row) -> str:
    return NO_VALUE if row.queries is None else f"{round(row.queries):,}"


def _forms(table: Table) -> Iterator[Column]:
    """Scores and sizes of quantised students, where there are any."""
    for heading, metric in table.forms.items():
        yield Column(heading, _mean(metric) if heading.endswith("%") else _kib(metric))


def _kib(metric: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        value = row.mean(metric)
        return NO_VALUE if value is None else f"{value:,.1f}"

    return cell


def _robustness(table: Table) -> Iterator[Column]:
    if table.robustness:
        yield Column(ROBUSTNESS, lambda row: robustness_cell(table.robustness.get(row.method)))
