"""The papers' numbers beside ours, as Markdown; `benchmark.analysis.reproduction` compares."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pandas as pd

from benchmark.analysis.pages.wording import are
from benchmark.analysis.reproduction import (
    LEGEND,
    PairComparison,
    ScoreComparison,
    available_budget,
    compare,
    label,
)
from benchmark.analysis.text import NO_VALUE, counted, markdown_grid, percent, signed_percent
from benchmark.published.papers import Paper, PublishedTable, protocol, published_tables

COLUMNS = ("row", "ours, %", "n", "published, %", "ours − published", "verdict", "protocol")


def beside_section(papers: Iterable[Paper], frame: pd.DataFrame) -> str:
    """Every published table of which a row has runs here, next to them.

    Args:
        papers: the papers' numbers.
        frame: the records, one row per run.
    """
    parts = [
        "## Published numbers beside ours",
        "Each table of a paper is compared with the runs of the budget that follows its schedule "
        "or, where there are none, of the budget at which the most methods ran. Our checkpoints "
        "are selected as the paper's are: the last, or the best on test. Rows without runs are "
        "left out. `dfkd reproduce NAME --no-run` shows whole tables.",
    ]
    used: dict[str, str] = {}
    for name, (paper, table) in published_tables(papers).items():
        budget = available_budget(table, frame)
        compared = compare(table, frame, budget, paper.short)
        if text := _table(name, paper, table, compared, budget):
            parts.append(text)
            rows = [row for pair in compared for row in pair.rows]
            used |= {row.verdict: LEGEND[row.verdict] for row in rows if row.mean is not None}
    if not used:
        return "\n\n".join([*parts, "No published row has runs here yet."])
    meanings = [f"- *{verdict}*: {meaning}." for verdict, meaning in sorted(used.items())]
    parts.insert(2, "\n".join(meanings))
    return "\n\n".join(parts)


def _table(
    name: str, paper: Paper, table: PublishedTable, compared: list[PairComparison], budget: str
) -> str:
    """One table of a paper; empty if none of its rows has runs here."""
    body, absent = [], 0
    for pair in compared:
        for row in pair.rows:
            if row.mean is None:
                absent += 1
            else:
                body.append(list(_cells(table, pair, row)))
    if not body:
        return ""
    left_out = f" {counted(absent, 'number')} {are(absent)} left out." if absent else ""
    return (
        f"### {paper.short}, {table.title}\n\n"
        f"`dfkd reproduce {name}`, our budget `{budget}`.{left_out}\n\n"
        + markdown_grid(COLUMNS, body, ("row", "verdict", "protocol"))
    )


def _cells(table: PublishedTable, compared: PairComparison, row: ScoreComparison) -> Iterator[str]:
    pair = compared.pair
    metric = "" if row.metric == "accuracy" else f", {row.metric.replace('_', ' ')}"
    spread = "" if row.interval is None else row.interval.plus_minus
    difference = row.difference
    yield f"{pair.dataset}: {label(pair, row.result)}{metric}"
    yield percent(row.mean) + spread
    yield f"{row.n}/{row.runs}"
    yield percent(row.published) + ("" if row.result.verified else " ?")
    yield NO_VALUE if difference is None else signed_percent(difference)
    yield row.verdict + (f": {row.reason}" if row.reason else "")
    yield protocol(table, pair, row.result).text
