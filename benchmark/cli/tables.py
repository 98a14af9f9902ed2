"""The plain look of the tables that commands print."""

from __future__ import annotations

from rich import box
from rich.table import Table


def plain_table(title: str, *columns: str) -> Table:
    """An empty table with a title on the left; its first column is never broken."""
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for column in columns:
        table.add_column(column, no_wrap=column == columns[0], overflow="fold")
    return table
