"""Effect sizes: how large a difference is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmark.analysis.statistics.intervals import all_alike


def interquartile_mean(scores: Sequence[float]) -> float:
    """Mean of the middle half of the scores.

    Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice",
    NeurIPS 2021. A quarter of the scores, rounded down, is left out at each end.
    """
    from scipy import stats

    return float(stats.trim_mean(np.asarray(scores, dtype=float), 0.25))


def paired_effect_size(differences: Sequence[float]) -> float | None:
    """Hedges' g of paired scores: mean over standard deviation of the differences, unbiased.

    Hedges and Olkin, "Statistical Methods for Meta-Analysis", 1985, with the usual correction
    1 − 3 / (4 (n − 1) − 1).

    Returns:
        g; None when n < 3, because the correction leaves nothing of two differences, or when all
        differences are equal.
    """
    values = np.asarray(differences, dtype=float)
    n = len(values)
    if n < 3 or all_alike(values):
        return None
    correction = 1 - 3 / (4 * (n - 1) - 1)
    return float(correction * values.mean() / values.std(ddof=1))


def probability_of_improvement(scores: Sequence[float], others: Sequence[float]) -> float:
    """P(a random score exceeds a random one of the others), ties counting half.

    Agarwal et al., NeurIPS 2021; the Mann-Whitney U statistic over the number of pairs.
    """
    a, b = np.asarray(scores, dtype=float)[:, None], np.asarray(others, dtype=float)[None, :]
    return float(np.mean(np.where(a == b, 0.5, a > b)))
