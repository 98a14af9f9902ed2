"""The published number that a row of the leaderboard is shown with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from benchmark.analysis.leaderboard.tables import Table
from benchmark.analysis.text import NO_VALUE, percent
from benchmark.published.papers import (
    SELECTIONS,
    Pair,
    Paper,
    PublishedTable,
    Result,
    load_published,
)


class Quote(NamedTuple):
    """A published score, a fraction, and where it comes from."""

    value: float
    source: str


def quote(
    papers: Iterable[Paper], task: str, method: str, params: Mapping[str, Any]
) -> Quote | None:
    """The published number to show in a row.

    A result wins whose named settings are all settings of the row; of several, the one that names
    the most. Otherwise the headline of the task and method is quoted. Ties go to the headline, then
    to the method's own paper. Results of another length of generator training are never quoted.

    Args:
        papers: where to look.
        task: name of the task.
        method: name of the method.
        params: every parameter of the row's runs.
    """
    best, found = (0, False, False), None
    for paper in papers:
        for table, pair, result in paper.rows_of.get((task, method), []):
            if result.generator_epochs is not None:
                continue
            shared = len(result.params) if result.settings_match(params) else 0
            order = (shared, result.headline, method in paper.proposes)
            if result.score is not None and order[:2] > (0, False) and order > best:
                best, found = order, Quote(result.score[1], _source(paper, table, pair, result))
    return found


def _source(paper: Paper, table: PublishedTable, pair: Pair, result: Result) -> str:
    remarks = (
        SELECTIONS[table.selection],
        f"mean of {table.seeds} seeds" if table.seeds > 1 else "",
        result.unlike or pair.unlike,
        f"teacher {100 * pair.teacher_score:.2f}" if pair.teacher_score is not None else "",
        "" if result.verified else "unverified",
    )
    return f"{paper.short}, {table.title} ({', '.join(filter(None, remarks))})"


def quoted_cells(quotes: Sequence[Quote | None]) -> tuple[list[str], str]:
    """Cells like ``98.20 [1]``, and a line that names the source behind each number in brackets.

    The line is empty when nothing is quoted.
    """
    sources = list(dict.fromkeys(found.source for found in quotes if found))
    cells = [
        f"{percent(found.value)} [{sources.index(found.source) + 1}]" if found else NO_VALUE
        for found in quotes
    ]
    notes = "; ".join(f"[{number}] {source}" for number, source in enumerate(sources, 1))
    return cells, f"Published: {notes}." if notes else ""


def published(table: Table) -> tuple[list[str], str]:
    """The published number of every row as a cell, and the line that names their sources.

    A row whose student minimises another objective than its method's own has none.
    """
    papers = load_published()
    quotes = []
    for row in table.rows:
        spec = row.records[0].spec
        settings = {**spec.params, **row.changed}
        quotes.append(None if spec.objective else quote(papers, table.task, row.method, settings))
    return quoted_cells(quotes)
