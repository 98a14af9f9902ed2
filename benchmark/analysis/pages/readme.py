"""The marked part of a README: a short table, and what it shows."""

from __future__ import annotations

import re

from benchmark.analysis.leaderboard.cells import Grid, headline_grid
from benchmark.analysis.leaderboard.legend import OTHERS
from benchmark.analysis.leaderboard.tables import DATA_FREE, Table, tables
from benchmark.analysis.pages.findings import class_findings, names_of
from benchmark.analysis.pages.results import provenance, title
from benchmark.analysis.pages.sentences import standing_sentences, tally
from benchmark.analysis.text import markdown_grid
from benchmark.records.store import Scan

BLOCK = re.compile(
    r"(<!-- results:begin (?P<task>\S+) (?P<budget>\S+) -->\n).*?(<!-- results:end -->)", re.S
)
COLUMNS = frozenset({"rank", "method", "setting", "access", "group", "n ok/planned", "collapsed"})
"""The columns of the leaderboard that the short table has, besides the score."""


def fill_results(text: str, scan: Scan) -> str:
    """Replace every marked part of a document.

    A part is ``<!-- results:begin TASK BUDGET -->`` … ``<!-- results:end -->``.
    """
    found = tables(scan)

    def fill(match: re.Match[str]) -> str:
        wanted = (match["task"], match["budget"])
        bodies = [short_table(t) for t in found if (t.task, t.budget.title) == wanted]
        body = "\n\n".join(bodies) or "No records yet."
        return f"{match[1]}{body}\n{match[4]}"

    return BLOCK.sub(fill, text)


def short_table(table: Table) -> str:
    """Ranks and scores, and what is shown, for a reader who has a minute."""
    grid = headline_grid(table).columns(_is_short)
    free = grid.where(lambda row: row.access == DATA_FREE)
    others = grid.where(lambda row: row.access != DATA_FREE)
    names = names_of(table.headline)
    lines = [
        f"- *{title(found.access)}*. {' '.join([tally(found), *standing_sentences(found, names)])}"
        for found in class_findings(table)
    ]
    return "\n\n".join(
        [
            f"`{table.task}` at budget `{table.budget.title}`. {provenance(table)}",
            *_titled("**Data-free**", free.columns(lambda name: name != "access")),
            *_titled(OTHERS, others),
            "\n".join(lines),
        ]
    )


def _is_short(heading: str) -> bool:
    return heading in COLUMNS or heading in ("accuracy, %", "mIoU, %")


def _titled(heading: str, grid: Grid) -> list[str]:
    return [heading, markdown_grid(grid.names, grid.body)] if grid.rows else []
