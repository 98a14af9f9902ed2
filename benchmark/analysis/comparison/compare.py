"""Is one method better, or steadier, than another? The tests of a comparison."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from benchmark.analysis.comparison.sentences import Steadiness
from benchmark.analysis.comparison.series import Place, Series
from benchmark.analysis.statistics.paired import Pair, Question, compare
from benchmark.analysis.statistics.ranks import Agreement, block_agreement
from benchmark.analysis.statistics.variance import compare_spread, value_variances

DIFFERENCES = (-1.0, 1.0)
"""What the difference of two scores can be."""


@dataclass(frozen=True)
class Comparison:
    """Methods at every value of a swept setting, or at one setting each.

    Attributes:
        better: whether the mean scores of two methods differ, by value; only methods with runs at
            the value are compared.
        spreads: whether their spread over seeds differs, by value.
        sensitivity: whether two methods' means vary differently over the values they have in
            common, without the variance that seeds add; there must be two values, and only seeds
            that both methods have at all of them count.
        agreement: whether seeds agree on an order of the methods, a method's score being its mean
            over the values that all methods have; None for two methods.
    """

    place: Place
    series: list[Series]
    values: list[Any]
    better: dict[Any, list[Pair]]
    spreads: dict[Any, list[Steadiness]]
    sensitivity: list[Steadiness]
    agreement: Agreement | None


def compare_series(place: Place, series: Sequence[Series], seed: int = 0) -> Comparison:
    """Ask all questions about every two of the series, corrected over all values and pairs.

    Whether methods differ, at all values, is one family. So is their sensitivity.
    """
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
    spreads: dict[Any, list[Steadiness]] = {value: [] for value in values}
    own = {one.method: one for one in series}
    answers = compare([question for _, question in asked], rng, within=DIFFERENCES)
    for (value, question), pair in zip(asked, answers, strict=True):
        scores, others = list(question.scores.values()), list(question.others.values())
        spread = compare_spread(scores, others, rng, len(asked))
        dead = _at_chance([own[pair.first], own[pair.second]], [value])
        better[value].append(pair)
        spreads[value].append(
            Steadiness(pair.first, pair.second, spread.claim, spread.deviations, dead, spread.ratio)
        )
    return Comparison(
        place,
        list(series),
        values,
        better,
        spreads,
        _sensitivity(pairs, rng) if place.over else [],
        block_agreement(seed_blocks(series), rng) if len(series) > 2 else None,
    )


def _at_chance(series: Sequence[Series], values: Sequence[Any]) -> frozenset[str]:
    return frozenset(own.method for own in series if own.at_chance(values))


def _sensitivity(
    pairs: Sequence[tuple[Series, Series]], rng: np.random.Generator
) -> list[Steadiness]:
    """Sign-flip tests of the jackknife's pseudo-values of two variances over common values."""
    common = [[value for value in a.points if value in b.points] for a, b in pairs]
    questions = [
        Question(a.method, b.method, *(_variances(own, (a, b), values) for own in (a, b)))
        for (a, b), values in zip(pairs, common, strict=True)
    ]
    found = []
    for both, values, question, pair in zip(
        pairs, common, questions, compare(questions, rng), strict=True
    ):
        variances = [list(own.values()) for own in (question.scores, question.others)]
        first, second = (max(0.0, fmean(own)) ** 0.5 if own else None for own in variances)
        dead = _at_chance(both, values)
        found.append(Steadiness(pair.first, pair.second, pair.claim, (first, second), dead))
    return found


def _variances(own: Series, both: Sequence[Series], values: Sequence[Any]) -> dict[int, float]:
    """Pseudo-values by seed of the variance of a method's means over values both methods have."""
    if len(values) < 2:
        return {}
    seeds = sorted(set.intersection(*(set(s.points[value]) for s in both for value in values)))
    table = [[own.points[value][seed] for value in values] for seed in seeds]
    return dict(zip(seeds, value_variances(table), strict=True)) if len(seeds) > 2 else {}


def seed_blocks(series: Sequence[Series]) -> dict[str, list[float]]:
    """Each method's means over the values, by seed.

    Values would not be blocks of their own: they share the seeds, and where one method does well
    says nothing of where another does.
    """
    values = [v for v in series[0].points if all(v in own.points for own in series)]
    if not values:
        return {own.method: [] for own in series}
    seeds = sorted(set.intersection(*(set(own.points[v]) for own in series for v in values)))
    return {
        own.method: [fmean(own.points[value][seed] for value in values) for seed in seeds]
        for own in series
    }
