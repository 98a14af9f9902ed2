"""Rank correlation of two numbers of the same runs, with an interval that respects the methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["spearman", "kendall"]
LEAST_METHODS = 5
"""Fewest methods from which the bootstrap gives an interval."""


@dataclass(frozen=True)
class RankCorrelation:
    """How far two numbers rank runs alike, in [-1, 1].

    Attributes:
        kind: Spearman's ρ, or Kendall's τ-b.
        value: correlation over all runs; None when one of the numbers does not vary.
        interval: bootstrap interval; None with fewer than `LEAST_METHODS` methods.
        methods: number of methods.
        runs: number of runs of all methods together.
    """

    kind: Kind
    value: float | None
    interval: tuple[float, float] | None
    methods: int
    runs: int

    @property
    def verdict(self) -> Literal["rises", "falls", "undecided", "insufficient"]:
        """The sign of the correlation, where the interval excludes zero."""
        if self.value is None or self.interval is None:
            return "insufficient"
        low, high = self.interval
        return "rises" if low > 0 else "falls" if high < 0 else "undecided"


def rank_correlation(
    first: Sequence[float],
    second: Sequence[float],
    methods: Sequence[str],
    rng: np.random.Generator,
    kind: Kind = "spearman",
    resamples: int = 1000,
    confidence: float = 0.95,
) -> RankCorrelation:
    """Rank correlation over runs, with a percentile interval of the two-stage bootstrap.

    Seeds of one method are alike, so runs are no independent sample: methods are drawn with
    replacement, then the seeds of each (Davison & Hinkley, 1997, section 3.8). Draws in which a
    number does not vary count as 0: without them only draws with the few methods that differ would
    be left, and would claim what a new set of methods need not show.

    Args:
        first: one number per run.
        second: another number per run, in the same order.
        methods: the method of each run.
        rng: generator of the bootstrap.
        kind: kind of the correlation.
        resamples: number of bootstrap draws.
        confidence: level of the interval.

    Raises:
        ValueError: when the three are not equally long.
    """
    if not len(first) == len(second) == len(methods):
        raise ValueError("every run needs both numbers and a method")
    x, y = np.asarray(first, float), np.asarray(second, float)
    names = np.asarray(methods, dtype=object)
    members = [np.flatnonzero(names == name) for name in sorted(set(methods))]
    value = _correlate(x, y, kind)
    interval = None
    if value is not None and len(members) >= LEAST_METHODS:
        draws = []
        for _ in range(resamples):
            chosen = rng.integers(len(members), size=len(members))
            rows = np.concatenate([rng.choice(members[i], len(members[i])) for i in chosen])
            draws.append(_correlate(x[rows], y[rows], kind) or 0.0)
        tail = 0.5 - confidence / 2
        low, high = np.quantile(draws, [tail, 1 - tail])
        interval = (float(low), float(high))
    return RankCorrelation(kind, value, interval, len(members), len(x))


def _correlate(x: NDArray[np.float64], y: NDArray[np.float64], kind: Kind) -> float | None:
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    from scipy import stats

    found = stats.spearmanr(x, y) if kind == "spearman" else stats.kendalltau(x, y)
    return float(found.statistic)
