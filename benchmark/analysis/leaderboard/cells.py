"""The leaderboard's columns, and every cell of a table as text."""

from __future__ import annotations

from benchmark.analysis.comparison.robustness import ROBUSTNESS, robustness_cell
from benchmark.analysis.frame import METRIC_NAMES
from benchmark.analysis.leaderboard.quotes import published
from benchmark.analysis.leaderboard.ranking import groups, ranks
from benchmark.analysis.leaderboard.tables import Table
from benchmark.analysis.text import NO_VALUE, percent

COLUMNS = (
    "rank",
    "method",
    "access",
    "accuracy, %",
    "published, %",
    "group",
    "n ok/planned",
    "failures at chance, %",
    "of teacher, %",
    "oracle, %",
    "agreement, %",
    "seconds",
    "teacher queries",
)
PIXEL_ACCURACY = "pixel accuracy, %"


def column_names(table: Table) -> tuple[str, ...]:
    """`COLUMNS`, changed to what a table has.

    In segmentation mIoU replaces accuracy, and pixel accuracy is added. Scores and sizes of
    quantised students, and robustness, are added where there are any.
    """
    names = list(COLUMNS)
    if table.metric != "accuracy":
        at = names.index("accuracy, %")
        names[at : at + 1] = [f"{METRIC_NAMES[table.metric]}, %", PIXEL_ACCURACY]
    return (*names, *table.variants, *([ROBUSTNESS] if table.robustness else []))


def cells(table: Table) -> list[list[str]]:
    """The table's body as text, one list a row, in the order of the table's columns."""
    body = []
    variants = table.variants
    quoted, _ = published(table)
    ranked = zip(ranks(table), groups(table), table.rows, quoted, strict=True)
    for rank, group, row, number in ranked:
        score, interval = row.mean(table.metric), row.interval
        mean = percent(score)
        spread = "" if interval is None else interval.plus_minus
        share = None if score is None else score / table.teacher_score
        done, seconds, queries = row.scored, row.seconds, row.queries
        body.append(
            [
                rank,
                row.label + (f" [{row.note}]" if row.note else ""),
                row.access,
                mean + spread,
                *([percent(row.mean("pixel_accuracy"))] if table.metric == "miou" else []),
                number,
                group,
                f"{len(done)}/{len(row.planned)}",
                percent(row.score),
                percent(share),
                percent(row.mean(f"{table.metric}_oracle")),
                percent(row.mean(f"{table.metric}_agreement")),
                NO_VALUE if seconds is None else f"{seconds:.0f}",
                NO_VALUE if queries is None else f"{round(queries):,}",
                *(
                    (percent if name.endswith("%") else _kib)(row.mean(metric))
                    for name, metric in variants.items()
                ),
                *([robustness_cell(table.robustness.get(row.method))] if table.robustness else []),
            ]
        )
    return body


def _kib(value: float | None) -> str:
    return NO_VALUE if value is None else f"{value:,.1f}"
