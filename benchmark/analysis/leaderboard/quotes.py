"""Which published number stands beside a row of the leaderboard."""

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
    """The number to quote beside a row.

    A result whose named settings are all the row's wins, the more of them the better; otherwise
    the headline of task and method. Between equals the headline, then the method's own paper.
    Results of another length of generator training are never quoted.

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
    """Cells like ``98.20 [1]``, and the line that says what the numbers in brackets are.

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
    """For every row the cell of its published number; and where those come from.

    A row whose student has another objective than its method's own has none.
    """
    papers = load_published()
    quotes = []
    for row in table.rows:
        spec = row.records[0].spec
        settings = {**spec.params, **row.changed}
        quotes.append(None if spec.objective else quote(papers, table.task, row.method, settings))
    return quoted_cells(quotes)
