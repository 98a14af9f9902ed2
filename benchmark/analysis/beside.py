"""What stands below a ranked table: the quality of its images, and its classes."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from benchmark.analysis.class_tables import class_tables
from benchmark.analysis.quality import quality_tables
from benchmark.analysis.side_table import LEFT, SideTable, markdown_grid
from benchmark.analysis.tables import Table


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
    """Print the tables of image quality on a terminal."""
    for side in quality_tables(table):
        drawn = RichTable(
            title=f"{table.task}, budget {table.budget.name}",
            caption=side.caption,
            box=box.SIMPLE_HEAD,
            title_justify="left",
            caption_justify="left",
        )
        for heading in side.headings:
            drawn.add_column(heading, justify="left" if heading in LEFT else "right")
        for row in side.body:
            drawn.add_row(*map(escape, row))
        console.print(drawn)
