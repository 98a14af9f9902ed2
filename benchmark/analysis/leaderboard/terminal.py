"""Tables on the terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from benchmark.analysis.leaderboard.columns import cells
from benchmark.analysis.leaderboard.tables import PIXEL_ACCURACY, Table

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
"""What fits a terminal; the file has the rest."""


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
    shown = [i for i, name in enumerate(table.columns) if name in SHOWN]
    for name in (table.columns[i] for i in shown):
        drawn.add_column(name, justify="left" if name in ("method", "access") else "right")
    for row in cells(table):
        drawn.add_row(*(escape(row[i]) for i in shown))
    return drawn
