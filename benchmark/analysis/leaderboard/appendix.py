"""What stands below a ranked table: the quality of its images, and its classes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from statistics import fmean

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from benchmark.analysis.leaderboard.quality import quality_tables
from benchmark.analysis.leaderboard.subtable import SideTable
from benchmark.analysis.leaderboard.tables import Table
from benchmark.analysis.text import NO_VALUE, WORD_COLUMNS, markdown_grid, percent
from benchmark.records.record import Record, SegmentationInfo

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
            words = heading in WORD_COLUMNS
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


IOU = "IoU of every class, %, mean over n runs; – where the test images show none of it."
SHARES = (
    "Share of every class, % of the pixels: in the test images by their labels, and in the images "
    "that students learnt from by the teacher's prediction, mean over n runs."
)
OfRun = Callable[[SegmentationInfo], Sequence[float | None] | None]


def class_tables(table: Table) -> list[SideTable]:
    """IoU and shares of the classes, rows in the ranked table's order; none where images are
    classified."""
    infos = [info for row in table.rows for info in _infos(row.records)]
    if not infos:
        return []
    headings = ["images of", "n", *infos[0].classes]
    truth = ["Test images, labels", NO_VALUE, *map(percent, infos[0].test_shares)]
    ious = _rows(table, lambda info: info.per_class_iou)
    shares = _rows(table, lambda info: info.sample_shares)
    found = [SideTable(["method", *headings[1:]], ious, IOU)]
    return [*found, SideTable(headings, [truth, *shares], SHARES)] if shares else found


def _infos(records: Iterable[Record]) -> list[SegmentationInfo]:
    return [record.segmentation for record in records if record.segmentation is not None]


def _rows(table: Table, of_run: OfRun) -> list[list[str]]:
    rows = []
    for row in table.rows:
        runs = [values for info in _infos(row.records) if (values := of_run(info)) is not None]
        if runs:
            means = [_mean(values) for values in zip(*runs, strict=True)]
            rows.append([row.label, str(len(runs)), *map(percent, means)])
    return rows


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
