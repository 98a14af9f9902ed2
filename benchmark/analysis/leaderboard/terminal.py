"""Tables on the terminal."""

from __future__ import annotations

from itertools import accumulate

from rich import box
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table as RichTable

from benchmark.analysis.leaderboard.captions import caption
from benchmark.analysis.leaderboard.cells import (
    PIXEL_ACCURACY,
    Grid,
    headline_grid,
    variants_grid,
)
from benchmark.analysis.leaderboard.quality import quality_tables
from benchmark.analysis.leaderboard.subtable import Subtable
from benchmark.analysis.leaderboard.tables import Table
from benchmark.analysis.text import WORD_COLUMNS, plain

SHOWN = (
    "rank",
    "method",
    "setting",
    "access",
    "accuracy, %",
    "mIoU, %",
    PIXEL_ACCURACY,
    "n ok/planned",
    "int8 accuracy, %",
    "int8 mIoU, %",
    "int8 KiB",
    "int4 KiB",
)
"""Columns that fit on a terminal; leaderboard.md has all of them."""
WORK = "work"
"""How the heading of the work column begins; its unit follows if any row has work."""
NAME, GAP = 24, 3
"""Widths in letters: the least room of a name, and the gap between two columns."""


def print_table(table: Table, console: Console) -> None:
    """Print the ranked table with its caption, and the variants below."""
    console.print(drawn_table(table))


def drawn_table(table: Table) -> RenderableType:
    """The ranked table with its caption, and the variants below, to be printed."""
    title = f"{table.task}, budget {table.budget.title}"
    variants = variants_grid(table)
    below = [_drawn(variants, f"{title}: ablations and variants", "")] if variants.rows else []
    return Group(_drawn(headline_grid(table), title, caption(table)), *below)


def _drawn(grid: Grid, title: str, text: str) -> RichTable:
    drawn = RichTable(
        title=title,
        caption=plain(text) or None,
        box=box.SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
    )
    shown = grid.columns(lambda name: name in SHOWN or name.startswith(f"{WORK}, "))
    for name in shown.names:
        drawn.add_column(
            name,
            justify="left" if name in WORD_COLUMNS else "right",
            min_width=NAME // 2 if name == "method" else None,
            overflow="fold",
        )
    method = shown.names.index("method")
    for row, cells in zip(shown.rows, shown.body, strict=True):
        told = [*cells]
        # There is no room for the column of leaderboard.md.
        told[method] += f" [{row.collapsed} collapsed]" if row.collapsed else ""
        drawn.add_row(*map(escape, told))
    return drawn


def print_quality(table: Table, console: Console) -> None:
    """Print the tables of image quality on a terminal, as many columns as it has room for."""
    for subtable in quality_tables(table):
        shown = _fitting(subtable, console.width)
        hidden = ", ".join(subtable.headings[shown:])
        note = (
            f" Not shown in {console.width} columns: {hidden}; set COLUMNS=180." if hidden else ""
        )
        drawn = RichTable(
            title=f"{table.task}, budget {table.budget.name}",
            caption=subtable.caption + note,
            box=box.SIMPLE_HEAD,
            title_justify="left",
            caption_justify="left",
        )
        for heading in subtable.headings[:shown]:
            words = heading in WORD_COLUMNS
            drawn.add_column(heading, justify="left" if words else "right", no_wrap=not words)
        for row in subtable.body:
            drawn.add_row(*map(escape, row[:shown]))
        console.print(drawn)


def _fitting(subtable: Subtable, width: int) -> int:
    """How many columns fit unbroken when names keep at least `NAME` letters."""
    grid = [subtable.headings, *subtable.body]
    widths = [max(map(len, column)) + GAP for column in zip(*grid, strict=True)]
    widths[0] = min(widths[0], NAME + GAP)
    return sum(total <= width - GAP for total in accumulate(widths))
