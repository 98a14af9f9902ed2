"""The published number that a row of the leaderboard is shown with."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from benchmark.analysis.leaderboard.rows import Row
from benchmark.analysis.leaderboard.tables import Table
from benchmark.analysis.text import NO_VALUE, percent
from benchmark.published.papers import (
    Pair,
    Paper,
    PublishedTable,
    Result,
    load_published,
    protocol,
)


class Quote(NamedTuple):
    """A published score, a fraction, and where it comes from."""

    value: float
    source: str


def quote(
    papers: Iterable[Paper],
    task: str,
    method: str,
    params: Mapping[str, Any],
    changed: Collection[str] = (),
) -> Quote | None:
    """The published number that belongs to a row: it is of the row's method and setting.

    A result belongs to a row that has all settings which the result names, and departs from the
    published settings in nothing else. Of several, the one that names the most wins, then the
    headline of the task and method, then the method's own paper. A result that names no settings
    is quoted if it is the headline. Results of another length of generator training never are.

    Args:
        papers: where to look.
        task: name of the task.
        method: name of the method.
        params: every parameter of the row's runs.
        changed: names of those that differ from the published settings.
    """
    best, found = (0, False, False), None
    for paper in papers:
        for table, pair, result in paper.rows_of.get((task, method), []):
            if result.score is None or not _belongs(result, params, changed):
                continue
            order = (len(result.params), result.headline, method in paper.proposes)
            if order[:2] > (0, False) and order > best:
                best, found = order, Quote(result.score[1], _source(paper, table, pair, result))
    return found


def _belongs(result: Result, params: Mapping[str, Any], changed: Collection[str]) -> bool:
    explained = set(changed) <= result.params.keys()
    return explained and result.settings_match(params) and result.generator_epochs is None


def _source(paper: Paper, table: PublishedTable, pair: Pair, result: Result) -> str:
    """Where a number comes from, and its protocol."""
    return f"{paper.short}, {table.title} ({protocol(table, pair, result).text})"


def quoted_cells(quotes: Sequence[Quote | None]) -> tuple[list[str], str]:
    """Cells like ``98.20 [1]``, and a line that names the source behind each number in brackets.

    The line is empty when nothing is quoted.
    """
    sources = list(dict.fromkeys(found.source for found in quotes if found))
    cells = [
        f"{percent(found.value)} [{sources.index(found.source) + 1}]" if found else NO_VALUE
        for found in quotes
    ]
    notes = ". ".join(f"[{number}] {source}" for number, source in enumerate(sources, 1))
    return cells, f"Published: {notes}." if notes else ""


def published(table: Table) -> tuple[dict[Row, str], str]:
    """The published number of every row as a cell, and the line that names their protocols.

    A row whose student minimises another objective than its method's own has none, nor does one of
    an older version.
    """
    papers = load_published()
    quotes = [quote_of(row, table.task, papers) for row in table.rows]
    cells, sources = quoted_cells(quotes)
    return dict(zip(table.rows, cells, strict=True)), sources


def quote_of(row: Row, task: str, papers: Iterable[Paper]) -> Quote | None:
    """The published number of a row; see `published`."""
    if row.behind or not row.own_objective:
        return None
    settings = {**row.records[0].spec.params, **row.changed}
    return quote(papers, task, row.method, settings, row.changed)
