"""Whose scores spread less over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from benchmark.analysis.statistics.claims import ALPHA, MOST_SEEDS, POWER, Claim, decide
from benchmark.analysis.statistics.intervals import RESAMPLES, Interval

FEWEST = 6
"""Seeds of either method below which variances are not compared: three fall on either side of a
median, and the F approximation of the test is far off."""


@dataclass(frozen=True)
class Spread:
    """Two methods' spread over seeds.

    Attributes:
        deviations: standard deviations of the first and of the second; None when n < 2.
        ratio: variance of the first over that of the second, with its interval; None when there
            are fewer than `FEWEST` seeds or one of them does not vary.
        claim: whether they differ.
    """

    deviations: tuple[float | None, float | None]
    ratio: Interval | None
    claim: Claim


def compare_spread(
    first: Sequence[float],
    second: Sequence[float],
    rng: np.random.Generator,
    questions: int = 1,
) -> Spread:
    """Brown and Forsythe's test, and a bootstrap interval of the ratio of variances.

    Args:
        first: scores of one method.
        second: scores of the other.
        rng: of the bootstrap.
        questions: how many such questions are asked together; p is Bonferroni's.
    """
    a, b = (np.asarray(scores, dtype=float) for scores in (first, second))
    deviations = tuple(float(x.std(ddof=1)) if len(x) > 1 else None for x in (a, b))
    n = min(len(a), len(b))
    if n < FEWEST:
        claim = Claim("insufficient", None, n, max(FEWEST, seeds_for_ratio(a, b) or 0))
        return Spread((deviations[0], deviations[1]), None, claim)
    p = min(1.0, questions * brown_forsythe_test(first, second))
    claim = decide(p, n, 0.0, seeds_for_ratio(a, b))
    return Spread((deviations[0], deviations[1]), variance_ratio(first, second, rng), claim)


def brown_forsythe_test(first: Sequence[float], second: Sequence[float]) -> float:
    """Two-sided p of equal variances, from absolute deviations from the medians.

    Brown and Forsythe, "Robust Tests for the Equality of Variances", JASA 1974. 1 where neither
    varies.
    """
    if np.ptp(first) == 0 and np.ptp(second) == 0:
        return 1.0
    return float(stats.levene(first, second, center="median").pvalue)


def variance_ratio(
    first: Sequence[float],
    second: Sequence[float],
    rng: np.random.Generator,
    confidence: float = 0.95,
) -> Interval | None:
    """Variance of the first over that of the second, with a bootstrap-t interval of its logarithm.

    Studentised by the delta method, var(ln s²) ≈ (m₄ / s⁴ − (n − 3) / (n − 1)) / n: without that,
    a bootstrap of variances covers 80 % where 95 % are promised at ten seeds (Hall, "Theoretical
    Comparison of Bootstrap Confidence Intervals", Annals of Statistics 1988).

    Returns:
        The interval; None when either has fewer than three scores or does not vary.
    """
    a, b = (np.asarray(scores, dtype=float)[None] for scores in (first, second))
    if min(a.size, b.size) < 3 or min(np.ptp(a), np.ptp(b)) == 0:
        return None
    log_ratio, error = _log_ratio(a, b)
    resampled = [x[0, rng.integers(x.size, size=(RESAMPLES, x.size))] for x in (a, b)]
    varied = np.logical_and(*(np.ptp(x, axis=1) > 0 for x in resampled))
    drawn, errors = _log_ratio(*(x[varied] for x in resampled))
    tails = [0.5 - confidence / 2, 0.5 + confidence / 2]
    lower, upper = np.quantile((drawn - log_ratio) / errors, tails)
    low, high = log_ratio - upper * error, log_ratio - lower * error
    return Interval(*(float(np.exp(x[0])) for x in (log_ratio, low, high)), "bootstrap-t")


def _log_ratio(
    a: np.ndarray[tuple[int, int], np.dtype[np.float64]],
    b: np.ndarray[tuple[int, int], np.dtype[np.float64]],
) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], ...]:
    """ln of the ratio of variances along the rows, and its standard error."""
    logs, errors = [], []
    for x in (a, b):
        n = x.shape[1]
        variance = x.var(axis=1, ddof=1)
        fourth = ((x - x.mean(axis=1, keepdims=True)) ** 4).mean(axis=1)
        logs.append(np.log(variance))
        # Never below what a two-point distribution would give, which is next to nothing.
        errors.append(np.maximum(fourth / variance**2 - (n - 3) / (n - 1), 1 / n) / n)
    return logs[0] - logs[1], np.sqrt(errors[0] + errors[1])


def seeds_for_ratio(
    first: Sequence[float] | np.ndarray[tuple[int], np.dtype[np.float64]],
    second: Sequence[float] | np.ndarray[tuple[int], np.dtype[np.float64]],
) -> int | None:
    """Seeds of each method that would show the observed ratio of variances with `POWER`.

    1 + 4 (z₁₋α⸝₂ + z_power)² / ln²(ratio), from var(ln s²) = 2 / (n − 1) of normal scores.

    Returns:
        The number; None above `MOST_SEEDS`, or when a variance is zero or unknown.
    """
    if min(len(first), len(second)) < 2 or min(np.ptp(first), np.ptp(second)) == 0:
        return None
    logarithm = math.log(float(np.var(first, ddof=1) / np.var(second, ddof=1)))
    quantiles = float(sum(stats.norm.ppf([1 - ALPHA / 2, POWER])))
    if abs(logarithm) < 2 * quantiles / math.sqrt(MOST_SEEDS):
        return None
    return math.ceil(1 + 4 * (quantiles / logarithm) ** 2)
