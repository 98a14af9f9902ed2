"""How often the tests err where there is nothing to find, and how often intervals miss."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from benchmark.analysis.comparison.compare import seed_blocks
from benchmark.analysis.comparison.robustness import score_claims
from benchmark.analysis.comparison.series import Series
from benchmark.analysis.statistics.claims import ALPHA
from benchmark.analysis.statistics.intervals import wilson_interval
from benchmark.analysis.statistics.paired import questions_of_all_pairs, verdicts
from benchmark.analysis.statistics.ranks import block_agreement
from benchmark.analysis.statistics.sign_flips import sign_flip_test
from benchmark.analysis.statistics.variance import value_variances


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def p_alone(differences: Sequence[Sequence[float]]) -> np.ndarray:
    return np.array([sign_flip_test(own, rng(0)) for own in differences])


def test_equal_methods_are_seldom_told_apart_however_many_pairs_are_asked_about() -> None:
    """The family-wise error of joint sign flips, five methods."""
    wrong = []
    for trial in rng(1).normal(size=(300, 5, 10)):
        scores = {str(i): dict(enumerate(row)) for i, row in enumerate(trial.tolist())}
        answers = verdicts(questions_of_all_pairs(scores), rng(0))
        wrong.append("shown" in answers)
    assert np.mean(wrong) <= ALPHA + 0.02


def test_without_the_correction_they_often_would_be() -> None:
    pairs = list(itertools.combinations(range(5), 2))
    draws = rng(1).normal(size=(300, 5, 10))
    differences = np.stack([draws[:, a] - draws[:, b] for a, b in pairs], axis=1)
    p = p_alone(differences.reshape(-1, 10))
    assert np.mean((p.reshape(300, -1) <= ALPHA).any(axis=1)) > 0.15


def test_methods_of_different_spread_and_equal_mean_keep_the_size() -> None:
    draws = rng(2).normal(size=(2000, 10)) * 3 - rng(3).normal(size=(2000, 10))
    p = p_alone(draws)
    assert np.mean(p <= ALPHA) <= ALPHA + 0.015


def test_equal_robustness_is_seldom_told_apart() -> None:
    wrong = []
    for trial in rng(4).random((200, 3, 8)):
        claims = score_claims({str(i): own for i, own in enumerate(trial.tolist())})
        wrong.append(any(claim.shown for claim in claims.values()))
    assert np.mean(wrong) <= ALPHA + 0.02


def test_a_method_that_collapses_and_one_that_does_not_may_have_one_robustness() -> None:
    """The score is a mean; ranks would call the one that collapses now and then the better."""
    random, wrong = rng(5), []
    for _ in range(200):
        shaky = np.where(random.random(24) < 0.25, 0.0, 0.8) + 0.02 * random.normal(size=24)
        steady = 0.6 + 0.02 * random.normal(size=24)
        (claim,) = score_claims({"a": shaky.tolist(), "b": steady.tolist()}).values()
        wrong.append(claim.shown)
    assert np.mean(wrong) <= ALPHA + 0.05


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5])
def test_wilsons_interval_covers_a_rate_of_few_runs(share: float) -> None:
    """Exactly, summed over all outcomes; on average over n it is near what it promises."""
    coverage = []
    for n in range(5, 31):
        found = [wilson_interval(k, n) for k in range(n + 1)]
        held = [i is not None and i.low <= share <= i.high for i in found]
        coverage.append(float(stats.binom.pmf(np.arange(n + 1), n, share)[held].sum()))
    assert np.mean(coverage) == pytest.approx(0.95, abs=0.02)
    assert min(coverage) > 0.83


@pytest.mark.parametrize(
    ("first", "second", "noise"),
    [
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (1.0, 5.0)),
        ((-1.0, 0.0, 1.0), (-1.0, 0.0, 1.0), (1.0, 3.0)),
        ((-1.0, 0.0, 1.0), (1.0, 0.0, -1.0), (1.0, 1.0)),
    ],
)
def test_equal_sensitivity_is_seldom_told_apart_whatever_the_noise(
    first: tuple[float, ...], second: tuple[float, ...], noise: tuple[float, float]
) -> None:
    """Where the range of each seed's scores, plain, is told apart in nearly every trial."""
    a, b = (
        np.array(means) + scale * rng(seed).normal(size=(600, 10, 3))
        for means, scale, seed in zip((first, second), noise, (5, 6), strict=True)
    )
    variances = [[value_variances(trial) for trial in own.tolist()] for own in (a, b)]
    differences = np.array(variances[0]) - np.array(variances[1])
    p = p_alone(differences)
    assert np.mean(p <= ALPHA) <= ALPHA + 0.03
    if noise[0] != noise[1]:
        ranges = np.ptp(a, axis=2) - np.ptp(b, axis=2)
        assert np.mean(p_alone(ranges) <= ALPHA) > 0.5


def test_a_real_difference_of_sensitivity_is_found_in_spite_of_noise() -> None:
    means = np.array([0.9, 0.8, 0.4])
    steady = 0.7 + 0.1 * rng(7).normal(size=(200, 10, 3))
    shaky = means + 0.1 * rng(8).normal(size=(200, 10, 3))
    differences = [
        np.subtract(value_variances(a), value_variances(b)).tolist()
        for a, b in zip(steady.tolist(), shaky.tolist(), strict=True)
    ]
    assert np.mean(p_alone(differences) <= ALPHA) > 0.9


def test_where_only_values_differ_methods_are_seldom_ranked() -> None:
    """A pure interaction: one is good at most values, one at a single one; all means are equal."""
    k, seeds = 3, 12
    shift = np.array([[0.5, 0.5, 0.5, 0.5, -2.0], [0.0] * 5, [-0.5, -0.5, -0.5, -0.5, 2.0]])
    wrong, naive = [], []
    for trial in shift[..., None] + 0.5 * rng(10).normal(size=(120, k, 5, seeds)):
        points = [{v: dict(enumerate(row)) for v, row in enumerate(own)} for own in trial.tolist()]
        series = [Series(str(i), "", {}, own, {}, frozenset()) for i, own in enumerate(points)]
        wrong.append(block_agreement(seed_blocks(series), rng(0)).claim.shown)
        naive.append(stats.friedmanchisquare(*trial.reshape(k, -1)).pvalue <= ALPHA)
    assert np.mean(wrong) <= ALPHA + 0.03
    assert np.mean(naive) > 0.5  # with a block for every value and seed
