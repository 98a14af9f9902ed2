"""Every method on every task at a glance: one table and one picture for the README."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.analysis.comparison.plots import rendered
from benchmark.analysis.frame import METRIC_NAMES
from benchmark.analysis.leaderboard.quotes import quote_of
from benchmark.analysis.leaderboard.rows import CONTROLS, Row
from benchmark.analysis.leaderboard.tables import DATA_FREE, Table, tables
from benchmark.analysis.pages.scores_figure import Panel, Score, scores_figure
from benchmark.analysis.text import NO_VALUE, markdown_grid, percent
from benchmark.published.papers import Paper
from benchmark.records.store import Scan

BLOCK = re.compile(r"(<!-- overview:begin(?P<places>[^>]*) -->\n).*?(<!-- overview:end -->)", re.S)

NOTE = """Mean over seeds of the last step ± half-width of the 95 % interval (or its ends), failed
runs at chance, and the number of seeds. Every method as published; in bold, the best of those that
see as much. † no rank: runs are missing, over budget or of an older version of the method."""


@dataclass(frozen=True)
class Overview:
    """The tables to look at together, one column each."""

    tables: Sequence[Table]

    @classmethod
    def of(cls, scan: Scan, places: Sequence[str]) -> Overview:
        """The tables of places like ``mnist:cpu``, a task and a budget, in their order."""
        found = tables(scan)
        return cls([t for place in places for t in found if f"{t.task}:{t.budget.title}" == place])

    @property
    def methods(self) -> list[tuple[str, str, str]]:
        """Name, access class and title of every method; the data-free ones first, controls last.

        Within a class the order is that of the first table that has the method.
        """
        order: dict[tuple[str, str], str] = {}
        for table in self.tables:
            for row in table.headline:
                order.setdefault((row.method, row.access), row.title)
        access = {own: number for number, (_, own) in enumerate(order)}
        known = [(name, own, title) for (name, own), title in order.items()]
        return sorted(
            known,
            key=lambda m: (m[1] != DATA_FREE, m[0] in CONTROLS, access[m[1]] if m[1] else 0),
        )

    def row(self, table: Table, method: str) -> Row | None:
        """The row of a method that is not tuned; of several proxy data sets the best."""
        own = [row for row in table.headline if row.method == method]
        return next((row for row in own if not row.tuned), None)

    def markdown(self) -> str:
        """A row a method, a column a task."""
        if not self.tables:
            return "No records yet."
        best = {id(row) for table in self.tables for row in _best(table)}
        body = []
        for name, access, title in self.methods:
            rows = [self.row(table, name) for table in self.tables]
            cells = [_cell(row, row is not None and id(row) in best) for row in rows]
            if any(row is not None for row in rows):
                body.append((title, access, *cells))
        heads = [f"{t.task}, {METRIC_NAMES[t.metric]} %" for t in self.tables]
        teachers = ["*teacher*", "", *(percent(table.teacher_score) for table in self.tables)]
        names = ("method", "sees", *heads)
        grid = markdown_grid(names, [*body, teachers], ("method", "sees"))
        return f"{grid}\n\n{NOTE}"

    def figure(self, papers: Sequence[Paper]) -> bytes:
        """The same as a picture, with published numbers beside ours, as SVG."""
        panels = []
        for table in self.tables:
            scores = {}
            for name, *_ in self.methods:
                row = self.row(table, name)
                if row is None or row.interval is None:
                    continue
                said = quote_of(row, table.task, papers)
                scores[name] = Score(*row.interval[:3], None if said is None else said.value)
            panels.append(
                Panel(
                    f"{table.task}, {table.budget.title}",
                    METRIC_NAMES[table.metric],
                    table.teacher_score,
                    scores,
                )
            )
        titles = {name: title for name, _, title in self.methods}
        return rendered(scores_figure(panels, titles))


def fill_overview(text: str, scan: Scan) -> str:
    """Replace every marked overview of a document.

    A part is ``<!-- overview:begin TASK:BUDGET … -->`` … ``<!-- overview:end -->``.
    """
    return BLOCK.sub(
        lambda match: (
            f"{match[1]}{Overview.of(scan, match['places'].split()).markdown()}\n{match[3]}"
        ),
        text,
    )


def places_of(text: str) -> list[str]:
    """The places of a document's first overview; empty without one."""
    match = BLOCK.search(text)
    return match["places"].split() if match else []


def _best(table: Table) -> list[Row]:
    """The best ranked row of every access class among those that are not tuned."""
    found: dict[str, Row] = {}
    for row in table.headline:
        if row.standing == "ranked" and not row.tuned:
            found.setdefault(row.access, row)
    return list(found.values())


def _cell(row: Row | None, best: bool) -> str:
    """``96.57 ± 1.05 (10)``."""
    if row is None or row.interval is None:
        return NO_VALUE if row is None or row.score is None else f"{percent(row.score)} (1)"
    spread = row.interval.plus_minus
    if "±" not in spread:
        spread = f" [{100 * row.interval.low:.0f}–{100 * row.interval.high:.0f}]"
    score = f"{percent(row.interval.estimate)}{spread}"
    mark = "" if row.standing in ("ranked", "reference") else "†"
    return (f"**{score}**" if best else score) + f" ({len(row.by_seed)}){mark}"
