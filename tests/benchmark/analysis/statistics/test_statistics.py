from __future__ import annotations

import math

import numpy as np
import pytest

from benchmark.analysis.statistics.intervals import t_interval

# Two-sided 97.5 % quantiles of Student's t, from printed tables.
QUANTILES = {2: 12.706, 3: 4.303, 5: 2.776, 10: 2.262, 30: 2.045}


@pytest.mark.parametrize("n", QUANTILES)
def test_interval_is_the_tabled_quantile_times_the_standard_error(n: int) -> None:
    scores = np.random.default_rng(n).random(n)
    mean = sum(scores) / n
    deviation = math.sqrt(sum((x - mean) ** 2 for x in scores) / (n - 1))
    expected = QUANTILES[n] * deviation / math.sqrt(n)
    assert t_interval(scores.tolist()) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("scores", [[], [0.9]])
def test_fewer_than_two_scores_give_no_interval(scores: list[float]) -> None:
    assert t_interval(scores) is None


def test_equal_scores_give_an_interval_of_zero() -> None:
    assert t_interval([0.5, 0.5, 0.5]) == 0


def test_more_confidence_needs_a_wider_interval() -> None:
    scores = [0.1, 0.4, 0.3]
    wide, narrow = t_interval(scores, 0.99), t_interval(scores, 0.5)
    assert wide is not None
    assert narrow is not None
    assert wide > narrow


def test_interval_covers_the_mean_as_often_as_promised_at_three_seeds() -> None:
    draws = np.random.default_rng(0).normal(0.7, 0.1, size=(2000, 3))
    hits = [abs(np.mean(row) - 0.7) <= t_interval(row.tolist()) for row in draws]  # type: ignore[operator]
    assert np.mean(hits) == pytest.approx(0.95, abs=0.02)
