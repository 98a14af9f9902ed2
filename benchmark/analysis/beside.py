"""What stands below a ranked table: the quality of its images, and its classes."""

from __future__ import annotations

from itertools import accumulate

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from benchmark.analysis.class_tables import class_tables
from benchmark.analysis.quality import quality_tables
from benchmark.analysis.side_table import LEFT, SideTable, markdown_grid
from benchmark.analysis.tables import Table

NAME, GAP = 24, 3
"""Letters: the least that a name has room for, and what stands between two columns."""


def side_tables(table: Table) -> list[SideTable]:
    """All there are of a ranked table; often none."""
    return [*quality_tables(table), *class_tables(table)]


def side_markdown(table: Table) -> list[str]:
    """Each of them in Markdown."""
    return [
        f"{side.caption}\n\n{markdown_grid(side.headings, side.body)}"
        for side in side_tables(table)
    ]


def print_quality(table: Table, console: Console) -> None:
    """Print the tables of image quality on a terminal, as many columns as it has room for."""
    for side in quality_tables(table):
        shown = _fitting(side, console.width)
        hidden = ", ".join(side.headings[shown:])
        note = (
            f" Not shown in {console.width} columns: {hidden}; set COLUMNS=180." if hidden else ""
        )
        drawn = RichTable(
            title=f"{table.task}, budget {table.budget.name}",
            caption=side.caption + note,
            box=box.SIMPLE_HEAD,
            title_justify="left",
            caption_justify="left",
        )
        for heading in side.headings[:shown]:
            words = heading in LEFT
            drawn.add_column(heading, justify="left" if words else "right", no_wrap=not words)
        for row in side.body:
            drawn.add_row(*map(escape, row[:shown]))
        console.print(drawn)


def _fitting(side: SideTable, width: int) -> int:
    """How many columns stand unbroken beside names of at least `NAME` letters."""
    grid = [side.headings, *side.body]
    widths = [max(map(len, column)) + GAP for column in zip(*grid, strict=True)]
    widths[0] = min(widths[0], NAME + GAP)
    return sum(total <= width - GAP for total in accumulate(widths))
