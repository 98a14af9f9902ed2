"""The leaderboard for programs (CSV) and for papers (LaTeX)."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

from benchmark.analysis.leaderboard.appendix import subtables
from benchmark.analysis.leaderboard.cells import cells, column_names
from benchmark.analysis.leaderboard.overall import Overall, overall_cells, overalls
from benchmark.analysis.leaderboard.quality import METRICS, Measurement, measurement
from benchmark.analysis.leaderboard.quotes import published
from benchmark.analysis.leaderboard.ranking import groups, ranks
from benchmark.analysis.leaderboard.rows import Row
from benchmark.analysis.leaderboard.tables import DATA_FREE, SIZES, VARIANTS, Table, tables
from benchmark.analysis.statistics.intervals import t_interval
from benchmark.analysis.text import NO_VALUE, WORD_COLUMNS
from benchmark.records.record import ImageQuality
from benchmark.records.store import Scan

EXTRACTORS = ("task", "inception")
CSV_COLUMNS = (
    "task",
    "budget",
    "teacher",
    "metric",
    "teacher_score",
    "chance",
    "access",
    "rank",
    "method",
    "title",
    "version",
    "settings",
    "mean",
    "half_width",
    "low",
    "high",
    "mean_failures_at_chance",
    "oracle",
    "agreement",
    "published",
    "group",
    "n_ok",
    "n_planned",
    "seconds",
    "teacher_queries",
    "robustness",
    "robustness_half_width",
    "robustness_draws",
    "collapsed",
    *(
        column
        for extractor in EXTRACTORS
        for column in (
            *(f"{extractor}_{name}" for name in ("extractor", "samples", "n")),
            *(f"{metric}_{extractor}" for metric in METRICS),
            f"fid_{extractor}_half_width",
        )
    ),
    *(f"mean_{form}" for form in VARIANTS),
    *(f"kib_{form}" for form in SIZES),
)
IN_LATEX = (
    "rank",
    "method",
    "access",
    "accuracy, %",
    "mIoU, %",
    "published, %",
    "group",
    "n ok/planned",
    "of teacher, %",
    "int8 accuracy, %",
    "int8 mIoU, %",
    "int8 KiB",
    "int4 KiB",
)
"""Columns that fit on a page."""
SPECIAL = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "–": "--",
    "−": "$-$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
}


def csv_text(scan: Scan) -> str:
    """One line per row of every table; scores are fractions, and missing values are empty.

    The lines over all tasks of a budget come first: their task is ``overall``, their ranks and
    scores are mean ranks and mean normalised scores. Where images were measured in several ways,
    the way that most runs share is given.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    found = tables(scan)
    over_all = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n")
    over_all.writerows(line for overall in overalls(found) for line in _overall_lines(overall))
    for table in found:
        ranked = zip(table.rows, ranks(table), groups(table), published(table)[0], strict=True)
        for row, rank, group, quoted in ranked:
            draws, interval = table.robustness.get(row.method), row.interval
            writer.writerow(
                [
                    table.task,
                    table.budget.title,
                    table.teacher,
                    table.metric,
                    table.teacher_score,
                    row.chance,
                    row.access,
                    _or_empty(rank),
                    row.method,
                    row.title,
                    row.version,
                    row.settings,
                    row.mean(row.metric),
                    (interval.high - interval.low) / 2 if interval else None,
                    interval.low if interval else None,
                    interval.high if interval else None,
                    row.score,
                    row.mean(f"{row.metric}_oracle"),
                    row.mean(f"{row.metric}_agreement"),
                    _fraction(quoted),
                    _or_empty(group),
                    len(row.scored),
                    len(row.planned),
                    row.seconds,
                    row.queries,
                    fmean(draws) if draws else None,
                    t_interval(draws) if draws else None,
                    len(draws) if draws else None,
                    sum(record.status == "collapsed" for record in row.records),
                    *(cell for extractor in EXTRACTORS for cell in _images(row, extractor)),
                    *(row.mean(f"{row.metric}_{form}") for form in VARIANTS),
                    *(row.mean(f"kib_{form}") for form in SIZES),
                ]
            )
    return text.getvalue()


def _overall_lines(overall: Overall) -> Iterable[dict[str, Any]]:
    for own in overall.standings:
        runs = [record for row in own.rows.values() for record in row.records]
        yield {
            "task": "overall",
            "budget": overall.budget,
            "metric": "normalised score",
            "access": own.access,
            "rank": own.rank[0],
            "method": own.method,
            "title": own.title,
            "mean_failures_at_chance": own.score,
            "half_width": own.interval,
            "n_ok": sum(len(row.scored) for row in own.rows.values()),
            "n_planned": sum(len(row.planned) for row in own.rows.values()),
            "collapsed": sum(record.status == "collapsed" for record in runs),
        }


def _images(row: Row, extractor: str) -> list[Any]:
    ways: dict[Measurement, list[ImageQuality]] = defaultdict(list)
    for quality in (r.quality[extractor] for r in row.records if extractor in r.quality):
        ways[measurement(extractor, quality)].append(quality)
    if not ways:
        return [None] * (len(METRICS) + 4)
    runs = max((ways[way] for way in sorted(ways)), key=len)
    values = {
        metric: [q.samples.metrics[metric] for q in runs if metric in q.samples.metrics]
        for metric in METRICS
    }
    means = [fmean(own) if own else None for own in values.values()]
    first = runs[0]
    return [first.checksum, first.samples.images, len(runs), *means, t_interval(values["fid"])]


def _fraction(quoted: str) -> float | None:
    """``98.20 [1]`` to 0.982."""
    return None if quoted == NO_VALUE else round(float(quoted.partition(" ")[0]) / 100, 4)


def _or_empty(cell: str) -> str:
    return "" if cell == NO_VALUE else cell


def latex(scan: Scan) -> str:
    """LaTeX tables for booktabs: first those over all tasks of a budget, then one for each task."""
    found = tables(scan)
    parts = ["% Made by: dfkd leaderboard --format latex. Needs \\usepackage{booktabs}.\n"]
    parts += [
        _overall_latex(overall, access)
        for overall in overalls(found)
        for access in overall.access_classes
    ]
    for table in found:
        parts.append(_table_latex(table))
        parts += [
            _environment(below.headings, [below.body], below.caption, f"{_label(table)}-{number}")
            for number, below in enumerate(subtables(table), start=1)
        ]
    return "\n".join(parts)


def _overall_latex(overall: Overall, access: str) -> str:
    names, body, settings = overall_cells(overall, access)
    caption = f"{overall.caption()} Access: {access}."
    caption += f" Settings: {settings}." if settings else ""
    return _environment(names, [body], caption, f"overall-{overall.budget}-{access}")


def _table_latex(table: Table) -> str:
    names = column_names(table)
    kept = [i for i, name in enumerate(names) if name in IN_LATEX]
    access = names.index("access")
    body = cells(table)
    classes = [
        [[row[i] for i in kept] for row in body if (row[access] == DATA_FREE) == free]
        for free in (True, False)
    ]
    _, sources = published(table)
    caption = " ".join(
        [f"{table.task}, budget {table.budget.title}.", table.caption(), *filter(None, [sources])]
    )
    return _environment([names[i] for i in kept], classes, caption, _label(table))


def _label(table: Table) -> str:
    return f"{table.task}-{table.budget.title}-{table.teacher}"


def _environment(
    names: Sequence[str], classes: Sequence[Sequence[Sequence[str]]], caption: str, label: str
) -> str:
    """A LaTeX table with a rule between classes that are not ranked against each other."""
    parts = ["".join(f"{_line(row)}\n" for row in body) for body in classes if body]
    return (
        "\\begin{table}\n\\centering\n"
        f"\\caption{{{escaped(caption.replace('`', ''))}}}\n"
        f"\\label{{tab:{''.join(c if c.isalnum() else '-' for c in label)}}}\n"
        f"\\begin{{tabular}}{{{''.join('l' if name in WORD_COLUMNS else 'r' for name in names)}}}\n"
        f"\\toprule\n{_line(names)}\n\\midrule\n"
        + "\\midrule\n".join(parts)
        + "\\bottomrule\n\\end{tabular}\n\\end{table}\n"
    )


def _line(row: Sequence[str]) -> str:
    return " & ".join(map(escaped, row)) + r" \\"


def escaped(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(SPECIAL.get(character, character) for character in text)
