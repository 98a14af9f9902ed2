"""Tables of a segmentation task's classes: IoU of every class, and its share of the pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import fmean

from benchmark.analysis.leaderboard.subtable import Subtable
from benchmark.analysis.leaderboard.tables import Table
from benchmark.analysis.text import NO_VALUE, percent
from benchmark.records.record import Record, SegmentationInfo

IOU = "IoU of every class in %, mean over n runs; – marks a class that no test image shows."
SHARES = (
    "Share of the pixels that belong to every class, in %: in the test images by their labels, and "
    "in the images that students learnt from by the teacher's predictions, mean over n runs."
)
OfRun = Callable[[SegmentationInfo], Sequence[float | None] | None]


def class_tables(table: Table) -> list[Subtable]:
    """IoU and shares of the classes, rows in the ranked table's order.

    Empty for tasks that classify whole images.
    """
    infos = [info for row in table.rows for info in _infos(row.records)]
    if not infos:
        return []
    headings = ["images of", "n", *infos[0].classes]
    truth = ["Test images, labels", NO_VALUE, *map(percent, infos[0].test_shares)]
    ious = _rows(table, lambda info: info.per_class_iou)
    shares = _rows(table, lambda info: info.sample_shares)
    found = [Subtable(["method", *headings[1:]], ious, IOU)]
    return [*found, Subtable(headings, [truth, *shares], SHARES)] if shares else found


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
