"""Is one method better, or steadier, than another? Answers in words and numbers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from benchmark.analysis.series import Place, Series
from benchmark.analysis.statistics import (
    Agreement,
    Pair,
    Question,
    Spread,
    block_agreement,
    compare,
    compare_spread,
    interquartile_mean,
    mean_interval,
    wilson_interval,
)
from methods.params import format_value

SUMMARY = ("mean", "middle half", "s.d. over seeds", "at chance")
"""Headings of `summary_cells`."""


@dataclass(frozen=True)
class Comparison:
    """Methods at every value of a swept setting, or at their headline settings.

    Attributes:
        better: at each value, whether the mean scores of two methods differ that both have runs
            there.
        spreads: at each value, whether their spread over seeds differs.
        sensitivity: whether the ranges of two methods' scores over the values differ, seed by seed;
            scores at all values they have in common, at least two.
        agreement: of all blocks (value and seed) that every method has; None for two methods.
    """

    place: Place
    series: list[Series]
    values: list[Any]
    better: dict[Any, list[Pair]]
    spreads: dict[Any, list[Spread]]
    sensitivity: list[Pair]
    agreement: Agreement | None


def compare_series(place: Place, series: Sequence[Series], seed: int = 0) -> Comparison:
    """Ask everything about every two of the series; corrections run over all values and pairs."""
    rng = np.random.default_rng(seed)
    values = list(dict.fromkeys(value for own in series for value in own.points))
    if all(isinstance(value, int | float) for value in values):
        values.sort()
    pairs = list(itertools.combinations(series, 2))
    # A question about a value that a method was not run at has no answer, and would only make the
    # correction of the others harsher.
    asked = [
        (value, Question(a.method, b.method, a.points.get(value, {}), b.points.get(value, {})))
        for value in values
        for a, b in pairs
        if not place.over or (value in a.points and value in b.points)
    ]
    better: dict[Any, list[Pair]] = {value: [] for value in values}
    spreads: dict[Any, list[Spread]] = {value: [] for value in values}
    for (value, question), pair in zip(asked, compare([q for _, q in asked], rng), strict=True):
        scores, others = list(question.scores.values()), list(question.others.values())
        better[value].append(pair)
        spreads[value].append(compare_spread(scores, others, rng, len(asked)))
    ranges = [
        Question(a.method, b.method, _ranges(a, b), _ranges(b, a)) for a, b in pairs if place.over
    ]
    return Comparison(
        place,
        list(series),
        values,
        better,
        spreads,
        compare(ranges, rng),
        block_agreement(_blocks(series, values)) if len(series) > 2 else None,
    )


def _ranges(own: Series, other: Series) -> dict[int, float]:
    """By seed, highest minus lowest score over the values both methods have."""
    values = [value for value in own.points if value in other.points]
    if len(values) < 2:
        return {}
    seeds = set.intersection(*(set(own.points[value]) for value in values))
    scores = {seed: [own.points[value][seed] for value in values] for seed in sorted(seeds)}
    return {seed: max(row) - min(row) for seed, row in scores.items()}


def _blocks(series: Sequence[Series], values: Sequence[Any]) -> dict[str, list[float]]:
    """Scores of every method in the blocks that all of them have."""
    blocks = [
        (value, seed)
        for value in values
        for seed in sorted(set.intersection(*(set(s.points.get(value, {})) for s in series)))
    ]
    return {s.method: [s.points[value][seed] for value, seed in blocks] for s in series}


def in_words(comparison: Comparison) -> str:
    """The whole answer as Markdown: what was compared, the numbers, what they show."""
    place, titles = comparison.place, {s.method: s.title for s in comparison.series}
    over = f", over `{place.over}`" if place.over else ""
    compared = "; ".join(s.label for s in comparison.series)
    parts = [
        f"{compared}. Task `{place.task}`, budget `{place.budget}`, teacher `{place.teacher}`{over}"
        f". Points are percentage points of {place.metric}, intervals 95 %; failed runs count as "
        "guesses.",
        "",
        *_numbers(comparison),
        "",
    ]
    for value in comparison.values:
        at = f"{place.over} = {format_value(value)}: " if place.over else ""
        for pair, spread in zip(comparison.better[value], comparison.spreads[value], strict=True):
            parts.append(f"- {at}{which_is_better(pair, titles)}")
            parts.append(f"  - {which_spreads_less(pair, spread, titles)}")
    if place.over:
        parts += ["", *(f"- {which_is_steadier(p, titles, place)}" for p in comparison.sensitivity)]
    if comparison.agreement is not None:
        parts += ["", f"- {all_together(comparison.agreement, titles)}"]
    return "\n".join(parts)


def _numbers(comparison: Comparison) -> list[str]:
    setting = [f"`{comparison.place.over}`"] if comparison.place.over else []
    head = [*setting, "method", *SUMMARY, "n"]
    words = len(setting) + 1
    rule = ":--|" * words + "--:|" * (len(head) - words)
    lines = [f"| {' | '.join(head)} |", f"|{rule}"]
    for value in comparison.values:
        for series in comparison.series:
            if comparison.place.over and value not in series.points:
                continue
            scores = list(series.points.get(value, {}).values())
            start = [format_value(value)] if comparison.place.over else []
            collapsed = series.collapsed.get(value, 0)
            cells = [*start, series.title, *summary_cells(scores, collapsed), str(len(scores))]
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return lines


def summary_cells(scores: Sequence[float], collapsed: int) -> list[str]:
    """Mean with interval, interquartile mean, deviation and share at chance level."""
    if not scores:
        return ["–"] * 4
    found = mean_interval(scores, np.random.default_rng(0))
    span = "" if found is None else f" ({_points(found.low)} to {_points(found.high)})"
    share = wilson_interval(collapsed, len(scores))
    assert share is not None
    rate = f"{100 * share.estimate:.0f} % ({100 * share.low:.0f} to {100 * share.high:.0f})"
    deviation = _points(float(np.std(scores, ddof=1))) if len(scores) > 1 else "–"
    return [_points(fmean(scores)) + span, _points(interquartile_mean(scores)), deviation, rate]


def which_is_better(pair: Pair, titles: dict[str, str]) -> str:
    """One sentence on the means."""
    first, second = titles[pair.first], titles[pair.second]
    if pair.difference is None:
        return f"{first} or {second}: {pair.claim.words}"
    d = pair.difference
    numbers = (
        f"difference {_signed(d.estimate)} points, {_signed(d.low)} to {_signed(d.high)}"
        + ("" if pair.effect is None else f"; effect size {pair.effect:+.2f}".replace("-", "−"))
        + f"; a run of {first} beats one of {second} with probability {pair.improvement:.2f}"
    )
    if pair.better is None:
        return f"{first} or {second}: {pair.claim.words}; {numbers}"
    worse = second if pair.better == pair.first else first
    return f"**{titles[pair.better]} is better than {worse}**, {pair.claim.words}; {numbers}"


def which_spreads_less(pair: Pair, spread: Spread, titles: dict[str, str]) -> str:
    """One sentence on the spread over seeds."""
    first, second = titles[pair.first], titles[pair.second]
    a, b = spread.deviations
    if a is None or b is None:
        return f"spread over seeds: {spread.claim.words}"
    numbers = f"s.d. {_points(a)} against {_points(b)}"
    if spread.ratio is not None:
        r = spread.ratio
        numbers += f", ratio of variances {r.estimate:.3g}, {r.low:.3g} to {r.high:.3g}"
    if not spread.claim.shown:
        return f"spread over seeds, {first} or {second}: {spread.claim.words}; {numbers}"
    less, more = (first, second) if a < b else (second, first)
    return f"**{less} spreads less over seeds than {more}**, {spread.claim.words}; {numbers}"


def which_is_steadier(pair: Pair, titles: dict[str, str], place: Place) -> str:
    """One sentence on the range of scores over the swept values."""
    first, second = titles[pair.first], titles[pair.second]
    if pair.difference is None:
        return (
            f"sensitivity to `{place.over}`, {first} or {second}: insufficient: fewer than two "
            "common values with two common seeds each"
        )
    d = pair.difference
    numbers = (
        f"range of scores over the values, {first} less {second}: {_signed(d.estimate)} points, "
        f"{_signed(d.low)} to {_signed(d.high)}"
    )
    if not pair.claim.shown:
        return f"sensitivity to `{place.over}`, {first} or {second}: {pair.claim.words}; {numbers}"
    less, more = (first, second) if d.estimate < 0 else (second, first)
    return (
        f"**{less} is less sensitive to `{place.over}` than {more}**, {pair.claim.words}; {numbers}"
    )


def all_together(agreement: Agreement, titles: dict[str, str]) -> str:
    """One sentence on whether the blocks agree on an order of all methods."""
    ranks = ", ".join(
        f"{titles[name]} {rank:.2f}"
        for name, rank in sorted(agreement.mean_ranks.items(), key=lambda item: item[1])
    )
    text = f"all together (Friedman): {agreement.claim.words.replace('seeds', 'blocks')}"
    if agreement.concordance is not None:
        text += f"; Kendall's W {agreement.concordance:.2f}"
    if ranks:
        text += f"; mean ranks {ranks}"
    if agreement.nemenyi is not None:
        text += f", which differ where they are {agreement.critical_difference:.2f} apart (Nemenyi)"
    return text


def _points(share: float) -> str:
    return f"{100 * share:.2f}"


def _signed(share: float) -> str:
    return f"{100 * share:+.2f}".replace("-", "−")
