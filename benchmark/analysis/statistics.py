"""Small-sample statistics of scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats


def t_interval(scores: Sequence[float], confidence: float = 0.95) -> float | None:
    """Half-width of Student's t-interval of the mean; None when n < 2 cannot give one.

    Percentile bootstrap intervals cover only 73 % at n = 3, so they are not used here.
    """
    n = len(scores)
    if n < 2:
        return None
    quantile = float(stats.t.ppf(0.5 + confidence / 2, n - 1))
    return float(quantile * np.std(scores, ddof=1) / np.sqrt(n))
