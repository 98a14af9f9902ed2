"""Performance profiles: the share of runs above every score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from benchmark.analysis.statistics.intervals import RESAMPLES, Array


class Profile(NamedTuple):
    """The share of runs that score above each threshold, with its pointwise band."""

    thresholds: Array
    share: Array
    low: Array
    high: Array


def performance_profile(
    strata: Sequence[Sequence[float]],
    thresholds: Sequence[float],
    rng: np.random.Generator,
    confidence: float = 0.95,
) -> Profile:
    """Share of the scores above each threshold, averaged over strata.

    The band is a percentile bootstrap that resamples each stratum on its own (Agarwal et al.,
    NeurIPS 2021, Sec. 4.2). A profile above another's everywhere means that its scores are
    stochastically larger.

    Args:
        strata: scores of runs by task, at least one of each; every stratum weighs the same.
        thresholds: where the profile is evaluated.
        rng: generator of the band's bootstrap.
        confidence: level of the band at each single threshold.
    """
    levels = np.asarray(thresholds, dtype=float)
    shares, draws = [], []
    for scores in strata:
        above = np.asarray(scores, dtype=float)[:, None] > levels[None, :]
        n = len(above)
        chosen = rng.integers(n, size=(RESAMPLES, n)) + n * np.arange(RESAMPLES)[:, None]
        counts = np.bincount(chosen.ravel(), minlength=RESAMPLES * n).reshape(RESAMPLES, n)
        shares.append(above.mean(axis=0))
        draws.append(counts.astype(float) @ above / n)
    tails = [0.5 - confidence / 2, 0.5 + confidence / 2]
    low, high = np.quantile(np.mean(draws, axis=0), tails, axis=0)
    return Profile(levels, np.mean(shares, axis=0), low, high)


def normalised(scores: Sequence[float], worst: float, best: float) -> list[float]:
    """Scores as shares of the way from ``worst`` to ``best``, cut to [0, 1].

    Their mean is the area under their performance profile over [0, 1]. Every share is 0
    where ``best`` is no better than ``worst``.
    """
    if best <= worst:
        return [0.0] * len(scores)
    shares = (np.asarray(scores, dtype=float) - worst) / (best - worst)
    return [float(share) for share in np.clip(shares, 0.0, 1.0)]
