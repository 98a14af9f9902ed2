"""Confidence intervals of means and of proportions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

BCA_FROM = 20
"""Number of scores from which the bias-corrected accelerated bootstrap is used. With fewer, it
covers less than it promises. Student's interval keeps its promise unless scores are very skewed:
see docs/statistics.md for collapses."""

RESAMPLES = 2000
Array = NDArray[np.float64]


class Interval(NamedTuple):
    """An estimate with the ends of its confidence interval."""

    estimate: float
    low: float
    high: float
    method: Literal["t", "BCa", "Wilson", "percentile bootstrap"]

    @property
    def plus_minus(self) -> str:
        """`around` in percentage points with two digits."""
        return self.around(100)

    def around(self, unit: float = 1.0) -> str:
        """Text to follow the estimate, with two digits.

        `` ± 1.20`` where the ends are equally far, `` (91.10 to 93.80)`` where they are not.

        Args:
            unit: what the numbers are multiplied with, such as 100 for percentage points.
        """
        above, below = self.high - self.estimate, self.estimate - self.low
        if self.method == "t" and math.isclose(above, below, rel_tol=1e-9, abs_tol=1e-12):
            return f" ± {unit * above:.2f}"
        return f" ({unit * self.low:.2f} to {unit * self.high:.2f})"


SCORES = (0.0, 1.0)
"""What a score can be: accuracies, mIoUs and normalised scores are shares."""

NOT_COVERED = (
    "An interval of few runs does not cover a collapse that none of them met; the bound of the "
    "collapse rate, the upper end of Wilson's 95 % interval, says how often one may still come."
)
"""The caution that belongs to every interval of a mean over few seeds."""


def score_interval(
    estimate: float,
    low: float,
    high: float,
    method: Literal["t", "BCa"] = "t",
    within: tuple[float, float] | None = SCORES,
) -> Interval:
    """An interval whose ends are no further out than a score can be.

    This is the only place that cuts them. The interval covers as often as before, because what is
    cut off cannot be the true mean.

    Args:
        estimate: the mean.
        low, high: ends as the method gives them.
        method: its name.
        within: the lowest and the highest possible value; None for numbers without bounds.
    """
    if within is not None:
        low, high = max(low, within[0]), min(high, within[1])
    return Interval(estimate, low, high, method)


def all_alike(values: Array) -> bool:
    """Whether values differ by rounding alone; true of an empty array."""
    return not values.size or bool(np.ptp(values) <= 1e-9 * np.abs(values).max())


def t_interval(scores: Sequence[float], confidence: float = 0.95) -> float | None:
    """Half-width of Student's t-interval of the mean; None when n < 2 cannot give one.

    Percentile bootstrap intervals cover only 73 % at n = 3, so they are not used here.
    """
    n = len(scores)
    if n < 2:
        return None
    return float(_t_quantile(0.5 + confidence / 2, n - 1) * np.std(scores, ddof=1) / np.sqrt(n))


@cache
def _t_quantile(share: float, freedom: int) -> float:
    return float(special.stdtrit(freedom, share))


def stratified_interval(
    strata: Sequence[Sequence[float]], confidence: float = 0.95
) -> float | None:
    """Half-width of the interval of the mean of several strata's means, each weighing the same.

    The strata (tasks) are fixed, the scores in them vary: Student's t with Satterthwaite's degrees
    of freedom ("An Approximate Distribution of Estimates of Variance Components", Biometrics 1946).
    For one stratum it equals `t_interval`. None when a stratum has fewer than two scores.
    """
    if not strata or min(map(len, strata)) < 2:
        return None
    parts = np.array([np.var(own, ddof=1) / len(own) for own in strata])
    freedom = np.array([len(own) - 1 for own in strata])
    total = float(parts.sum())
    if total == 0:
        return 0.0
    quantile = special.stdtrit(total**2 / (parts**2 / freedom).sum(), 0.5 + confidence / 2)
    return float(quantile * np.sqrt(total) / len(strata))


def mean_interval(
    scores: Sequence[float],
    rng: np.random.Generator | None = None,
    confidence: float = 0.95,
    within: tuple[float, float] | None = SCORES,
) -> Interval | None:
    """Confidence interval of the mean: Student's below `BCA_FROM` scores, BCa from there on.

    Efron, "Better Bootstrap Confidence Intervals", JASA 1987. None when n < 2.

    Args:
        scores: one score per seed.
        rng: generator of the bootstrap. A fresh one when None, so that equal scores give equal
            intervals.
        confidence: level of the interval.
        within: see `score_interval`; None for numbers that are no scores, such as differences.
    """
    values = np.asarray(scores, dtype=float)
    half = t_interval(scores, confidence)
    if half is None:
        return None
    mean = float(values.mean())
    if len(values) < BCA_FROM or all_alike(values):
        return score_interval(mean, mean - half, mean + half, within=within)
    from scipy import stats

    found = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=confidence,
        method="BCa",
        rng=rng or np.random.default_rng(0),
    ).confidence_interval
    return score_interval(mean, float(found.low), float(found.high), "BCa", within)


@cache
def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> Interval | None:
    """Wilson's score interval of a proportion, such as a collapse rate; None without trials.

    Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 1927.
    """
    if trials == 0:
        return None
    from scipy import stats

    found = stats.binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return Interval(successes / trials, float(found.low), float(found.high), "Wilson")


def collapse_bound(collapsed: int, runs: int) -> float:
    """The largest collapse rate that fits the runs: the upper end of Wilson's 95 % interval.

    Args:
        collapsed: number of runs that ended at chance.
        runs: number of runs.

    Returns:
        A share in [0, 1]; 1 without runs.
    """
    interval = wilson_interval(collapsed, runs)
    return 1.0 if interval is None else interval.high


def collapse_percents(collapsed: int, runs: int) -> tuple[int, int]:
    """Both ends of Wilson's 95 % interval of the collapse rate in whole percent, rounded outward.

    Args:
        collapsed: number of runs that ended at chance.
        runs: number of runs, at least one.
    """
    interval = wilson_interval(collapsed, runs)
    assert interval is not None, "no runs have no rate"
    # What a computer makes of a whole number may lie a little beside it.
    return math.floor(100 * interval.low + 1e-9), math.ceil(100 * interval.high - 1e-9)


def collapse_words(collapsed: int, runs: int) -> str:
    """``0 of 10 collapsed; at most 28 %``: the count with `collapse_bound`, rounded up."""
    bound = collapse_percents(collapsed, runs)[1] if runs else 100
    return f"{collapsed} of {runs} collapsed; at most {bound} %"
