"""The leaderboard for programs (CSV) and for papers (LaTeX)."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

from benchmark.analysis.leaderboard.appendix import subtables
from benchmark.analysis.leaderboard.captions import SMALL_SAMPLES, caption
from benchmark.analysis.leaderboard.cells import Grid, headline_grid, variants_grid
from benchmark.analysis.leaderboard.headline import headline_setting
from benchmark.analysis.leaderboard.legend import VARIANTS
from benchmark.analysis.leaderboard.overall import (
    Overall,
    OverallClass,
    overall_cells,
    overalls,
)
from benchmark.analysis.leaderboard.quality import METRICS, Measurement, measurement
from benchmark.analysis.leaderboard.quotes import published
from benchmark.analysis.leaderboard.ranking import groups, ranks
from benchmark.analysis.leaderboard.rows import Row
from benchmark.analysis.leaderboard.tables import DATA_FREE, QUANTISED, SIZES, Table, tables
from benchmark.analysis.statistics.intervals import Interval, t_interval
from benchmark.analysis.text import NO_VALUE, WORD_COLUMNS, plain
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
    "headline",
    "setting",
    "tuned",
    "settings",
    "mean",
    "half_width",
    "low",
    "high",
    "mean_finished",
    "dev",
    "oracle",
    "agreement",
    "published",
    "group",
    "n_ok",
    "n_planned",
    "n_missing",
    "programs",
    "work",
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
    *(f"mean_{form}" for form in QUANTISED),
    *(f"kib_{form}" for form in SIZES),
)
IN_LATEX = (
    "rank",
    "method",
    "setting",
    "access",
    "accuracy, %",
    "mIoU, %",
    "published, %",
    "group",
    "n ok/planned",
    "collapsed",
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
    "≤": r"$\leq$",
    "−": "$-$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
}


def csv_text(scan: Scan) -> str:
    """One line per row of every table; scores are fractions, and missing values are empty.

    The lines over several tasks of a budget come first: their task is ``overall``, their ranks and
    scores are mean ranks and mean normalised scores. ``work`` is in floating-point operations.
    Where images were measured in several ways, the way that most runs share is given.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    found = tables(scan)
    for overall in overalls(found):
        for own in overall.classes:
            writer.writerows(_overall_lines(overall, own))
    for table in found:
        writer.writerows(_lines(table))
    return text.getvalue()


def _lines(table: Table) -> Iterable[dict[str, Any]]:
    rank, group, quoted = ranks(table), groups(table), published(table)[0]
    for row in table.rows:
        headline, interval = row in rank, row.interval
        draws = table.robustness.get(row.method) if headline else None
        yield {
            "task": table.task,
            "budget": table.budget.title,
            "teacher": table.teacher,
            "metric": table.metric,
            "teacher_score": table.teacher_score,
            "chance": row.chance,
            "access": row.access,
            "rank": _or_empty(rank.get(row, "")),
            "method": row.method,
            "title": row.title,
            "version": row.version,
            "headline": "yes" if headline else "no",
            "setting": headline_setting(row) if headline else row.setting,
            "tuned": row.choice,
            "settings": row.settings,
            "mean": row.score,
            **_ends(interval),
            "mean_finished": row.mean(row.metric),
            "dev": row.mean(f"{row.metric}_dev"),
            "oracle": row.mean(f"{row.metric}_oracle"),
            "agreement": row.mean(f"{row.metric}_agreement"),
            "published": _fraction(quoted[row]),
            "group": _or_empty(group.get(row, "")),
            "n_ok": len(row.scored),
            "n_planned": len(row.planned),
            "n_missing": row.missing,
            "programs": len(row.programs - {""}) or None,
            "work": row.work,
            "teacher_queries": row.queries,
            "robustness": fmean(draws) if draws else None,
            "robustness_half_width": t_interval(draws) if draws else None,
            "robustness_draws": len(draws) if draws else None,
            "collapsed": row.collapsed,
            **{name: value for kind in EXTRACTORS for name, value in _images(row, kind).items()},
            **{f"mean_{form}": row.mean(f"{row.metric}_{form}") for form in QUANTISED},
            **{f"kib_{form}": row.mean(f"kib_{form}") for form in SIZES},
        }


def _ends(interval: Interval | None) -> dict[str, float]:
    """Half-width and ends of an interval; none without one."""
    if interval is None:
        return {}
    half = (interval.high - interval.low) / 2
    return {"half_width": half, "low": interval.low, "high": interval.high}


def _overall_lines(overall: Overall, own: OverallClass) -> Iterable[dict[str, Any]]:
    for standing in own.standings:
        rows = standing.rows.values()
        yield {
            "task": "overall",
            "budget": overall.budget,
            "metric": "normalised score",
            "access": own.access,
            "rank": standing.rank.mean if standing.rank else standing.unranked,
            "method": standing.method,
            "title": standing.title,
            "headline": "yes",
            "setting": overall.settings,
            "mean": standing.score,
            **_ends(standing.interval),
            "n_ok": sum(len(row.scored) for row in rows),
            "n_planned": sum(len(row.planned) for row in rows),
            "n_missing": sum(row.missing for row in rows),
            "collapsed": sum(row.collapsed for row in rows),
        }


def _images(row: Row, extractor: str) -> dict[str, Any]:
    """The cells of an extractor's columns; none without measured images."""
    ways: dict[Measurement, list[ImageQuality]] = defaultdict(list)
    for quality in (r.quality[extractor] for r in row.records if extractor in r.quality):
        ways[measurement(extractor, quality)].append(quality)
    if not ways:
        return {}
    runs = max((ways[way] for way in sorted(ways)), key=len)
    values = {
        metric: [q.samples.metrics[metric] for q in runs if metric in q.samples.metrics]
        for metric in METRICS
    }
    first = runs[0]
    return {
        f"{extractor}_extractor": first.checksum,
        f"{extractor}_samples": first.samples.images,
        f"{extractor}_n": len(runs),
        **{f"{name}_{extractor}": fmean(own) if own else None for name, own in values.items()},
        f"fid_{extractor}_half_width": t_interval(values["fid"]),
    }


def _fraction(quoted: str) -> float | None:
    """``98.20 [1]`` to 0.982."""
    return None if quoted == NO_VALUE else round(float(quoted.partition(" ")[0]) / 100, 4)


def _or_empty(cell: str) -> str:
    return "" if cell == NO_VALUE else cell


def latex(scan: Scan) -> str:
    """LaTeX tables for booktabs: first those over several tasks, then those of each task."""
    found = tables(scan)
    parts = ["% Made by: dfkd leaderboard --format latex. Needs \\usepackage{booktabs}.\n"]
    parts += [
        _overall_latex(overall, own) for overall in overalls(found) for own in overall.classes
    ]
    for table in found:
        parts += _table_latex(table)
        parts += [
            _environment(below.headings, [below.body], below.caption, f"{_label(table)}-{number}")
            for number, below in enumerate(subtables(table), start=1)
        ]
    return "\n".join(parts)


def _overall_latex(overall: Overall, own: OverallClass) -> str:
    names, body, settings = overall_cells(own)
    text = f"{overall.caption()} {own.caption()} Access: {own.access}."
    text += f" Settings: {settings}." if settings else ""
    label = f"overall-{overall.budget}-{overall.settings}-{own.access}"
    return _environment(names, [body], text, label)


def _table_latex(table: Table) -> Iterable[str]:
    """The ranked table, and its variants if there are any."""
    headline, variants = _fitting(headline_grid(table)), _fitting(variants_grid(table))
    classes = [
        headline.where(lambda row: row.access == DATA_FREE).body,
        headline.where(lambda row: row.access != DATA_FREE).body,
    ]
    where = f"{table.task}, budget {table.budget.title}"
    _, sources = published(table)
    text = " ".join([f"{where}.", caption(table), SMALL_SAMPLES, *filter(None, [sources])])
    yield _environment(headline.names, classes, text, _label(table))
    if variants.rows:
        text = f"{where}: {VARIANTS}"
        yield _environment(variants.names, [variants.body], text, f"{_label(table)}-variants")


def _fitting(grid: Grid) -> Grid:
    return grid.columns(lambda name: name in IN_LATEX)


def _label(table: Table) -> str:
    return f"{table.task}-{table.budget.title}-{table.teacher}"


def _environment(
    names: Sequence[str], classes: Sequence[Sequence[Sequence[str]]], caption: str, label: str
) -> str:
    """A LaTeX table with a rule between classes that are not ranked against each other."""
    parts = ["".join(f"{_line(row)}\n" for row in body) for body in classes if body]
    return (
        "\\begin{table}\n\\centering\n"
        f"\\caption{{{escaped(plain(caption))}}}\n"
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
