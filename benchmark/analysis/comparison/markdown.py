"""A comparison as Markdown: its numbers in a table, and what they show in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import numpy as np

from benchmark.analysis.comparison.compare import Comparison
from benchmark.analysis.comparison.sentences import (
    all_together,
    which_is_better,
    which_is_less_sensitive,
    which_spreads_less,
)
from benchmark.analysis.statistics.effect import interquartile_mean
from benchmark.analysis.statistics.intervals import collapse_percents, mean_interval
from benchmark.analysis.text import NO_VALUE, markdown_grid, percent
from methods.settings.params import format_value

SUMMARY = ("mean", "interquartile mean", "s.d. over seeds", "at chance")
"""Headings of `summary_cells`."""


def comparison_markdown(comparison: Comparison) -> str:
    """The whole comparison as Markdown: what was compared, the numbers, and what they show."""
    place, titles = comparison.place, {s.method: s.title for s in comparison.series}
    over = place.over or ""
    swept = f", over `{over}`" if over else ""
    compared = "; ".join(s.label for s in comparison.series)
    parts = [
        f"{compared}. Task `{place.task}`, budget `{place.budget}`, teacher `{place.teacher}`"
        f"{swept}. Points are percentage points of {place.metric}, and intervals are 95 % "
        "intervals. An interval of few runs does not cover a collapse that none of them met; "
        "*at chance* has the interval of the collapse rate. A run counts with at least the chance "
        "level, whether it finished below or failed.",
        "",
        _numbers(comparison),
        "",
    ]
    for value in comparison.values:
        at = f"{place.over} = {format_value(value)}: " if place.over else ""
        for pair, spread in zip(comparison.better[value], comparison.spreads[value], strict=True):
            parts.append(f"- {at}{which_is_better(pair, titles)}")
            parts.append(f"  - {which_spreads_less(spread, titles)}")
    if place.over:
        parts.append("")
        for found in comparison.sensitivity:
            parts.append(f"- {which_is_less_sensitive(found, titles, over)}")
    if comparison.agreement is not None:
        parts += ["", f"- {all_together(comparison.agreement, titles)}"]
    return "\n".join(parts)


def _numbers(comparison: Comparison) -> str:
    setting = [f"`{comparison.place.over}`"] if comparison.place.over else []
    body = []
    for value in comparison.values:
        for series in comparison.series:
            if comparison.place.over and value not in series.points:
                continue
            scores = list(series.points.get(value, {}).values())
            start = [format_value(value)] if comparison.place.over else []
            collapsed = series.collapsed.get(value, 0)
            body.append([*start, series.title, *summary_cells(scores, collapsed), str(len(scores))])
    return markdown_grid([*setting, "method", *SUMMARY, "n"], body, [*setting, "method"])


def summary_cells(scores: Sequence[float], collapsed: int) -> list[str]:
    """Mean with interval, interquartile mean, deviation and share at chance level."""
    if not scores:
        return [NO_VALUE] * 4
    found = mean_interval(scores, np.random.default_rng(0))
    span = "" if found is None else f" ({percent(found.low)} to {percent(found.high)})"
    low, high = collapse_percents(collapsed, len(scores))
    rate = f"{100 * collapsed / len(scores):.0f} % ({low} to {high})"
    deviation = percent(float(np.std(scores, ddof=1))) if len(scores) > 1 else NO_VALUE
    return [percent(fmean(scores)) + span, percent(interquartile_mean(scores)), deviation, rate]
