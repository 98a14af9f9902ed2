"""``leaderboard.md``, and the tables that other documents quote from it."""

from __future__ import annotations

import re

from benchmark.analysis.leaderboard.appendix import subtables
from benchmark.analysis.leaderboard.captions import SMALL_SAMPLES, caption
from benchmark.analysis.leaderboard.cells import Grid, headline_grid, variants_grid
from benchmark.analysis.leaderboard.legend import HEADER, OTHERS, VARIANTS
from benchmark.analysis.leaderboard.overall import Overall, overall_cells, overalls
from benchmark.analysis.leaderboard.quotes import published
from benchmark.analysis.leaderboard.tables import DATA_FREE, Table, tables
from benchmark.analysis.text import markdown_grid
from benchmark.records.store import Scan


def markdown_table(table: Table) -> str:
    """Caption, data-free methods, the other methods, variants, and the smaller tables below."""
    headline, variants = headline_grid(table), variants_grid(table)
    free = headline.where(lambda row: row.access == DATA_FREE)
    others = headline.where(lambda row: row.access != DATA_FREE)
    _, sources = published(table)
    parts = [
        caption(table),
        *_titled("**Data-free**", free.columns(lambda name: name != "access")),
        *_titled(OTHERS, others),
        *([SMALL_SAMPLES] if table.headline else []),
        *_titled(VARIANTS, variants),
        *([sources] if sources else []),
    ]
    for below in subtables(table):
        parts += [below.caption, markdown_grid(below.headings, below.body)]
    return "\n\n".join(parts)


def _titled(title: str, grid: Grid) -> list[str]:
    return [title, markdown_grid(grid.names, grid.body)] if grid.rows else []


def overall_markdown(overall: Overall) -> str:
    """Caption, and one table per access class."""
    parts = [overall.caption()]
    for own in overall.classes:
        names, body, settings = overall_cells(own)
        title = f"**{own.access[0].upper()}{own.access[1:]}**. {own.caption()}"
        parts += [title, markdown_grid(names, body)]
        parts += [f"Settings: {settings}."] if settings else []
    return "\n\n".join(parts)


def markdown(scan: Scan) -> str:
    """The whole of ``leaderboard.md``."""
    found = tables(scan)
    parts = [HEADER]
    for overall in overalls(found):
        parts.append(f"## {overall.title}\n\n{overall_markdown(overall)}\n")
    for table in found:
        parts.append(f"## {table.task}, budget {table.budget.title}\n\n{markdown_table(table)}\n")
    if not found:
        parts.append("No records yet: `dfkd run quickstart` makes some.\n")
    return "\n".join(parts)


BLOCK = re.compile(
    r"(<!-- leaderboard (?P<task>\S+) (?P<budget>\S+) -->\n).*?(<!-- end leaderboard -->)", re.S
)


def fill_blocks(text: str, scan: Scan) -> str:
    """Replace every marked block of a document by the table it names.

    A block is ``<!-- leaderboard TASK BUDGET -->`` … ``<!-- end leaderboard -->``.
    """
    found = tables(scan)

    def fill(match: re.Match[str]) -> str:
        wanted = (match["task"], match["budget"])
        bodies = [markdown_table(t) for t in found if (t.task, t.budget.title) == wanted]
        body = "\n\n".join(bodies) or "No records yet."
        return f"{match[1]}{body}\n{match[4]}"

    return BLOCK.sub(fill, text)
