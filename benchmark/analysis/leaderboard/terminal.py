"""Tables on the terminal."""

from __future__ import annotations

from itertools import accumulate

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from benchmark.analysis.leaderboard.cells import PIXEL_ACCURACY, cells, column_names
from benchmark.analysis.leaderboard.quality import quality_tables
from benchmark.analysis.leaderboard.subtable import Subtable
from benchmark.analysis.leaderboard.tables import Table
from benchmark.analysis.text import WORD_COLUMNS

SHOWN = (
    "rank",
    "method",
    "access",
    "accuracy, %",
    "mIoU, %",
    PIXEL_ACCURACY,
    "n ok/planned",
    "of teacher, %",
    "seconds",
    "int8 accuracy, %",
    "int8 mIoU, %",
    "int8 KiB",
    "int4 KiB",
)
"""Columns that fit on a terminal; leaderboard.md has all of them."""
NAME, GAP = 24, 3
"""Widths in letters: the least room of a name, and the gap between two columns."""


def print_table(table: Table, console: Console) -> None:
    """Print the ranked table with its caption."""
    console.print(drawn_table(table))


def drawn_table(table: Table) -> RichTable:
    """The ranked table with its caption, to be printed."""
    drawn = RichTable(
        title=f"{table.task}, budget {table.budget.title}",
        caption=table.caption(),
        box=box.SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
    )
    names = column_names(table)
    shown = [i for i, name in enumerate(names) if name in SHOWN]
    for name in (names[i] for i in shown):
        drawn.add_column(name, justify="left" if name in ("method", "access") else "right")
    for row in cells(table):
        drawn.add_row(*(escape(row[i]) for i in shown))
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
