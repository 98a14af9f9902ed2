"""The statistics beside other packages: values they gave once, and the packages where they are.

Recorded values are of rliable 1.2.0 and statsmodels 0.15.0.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from benchmark.analysis.statistics.effect import interquartile_mean, probability_of_improvement
from benchmark.analysis.statistics.intervals import wilson_interval
from benchmark.analysis.statistics.profiles import performance_profile
from benchmark.analysis.statistics.ranks import block_agreement, critical_difference, letters

RUNS = [0.637, 0.27, 0.041, 0.017, 0.813, 0.913, 0.607, 0.729, 0.544, 0.935, 0.816]
OTHERS = [-0.097, 0.929, -0.06, 0.776, 0.111, 0.936, 0.55, 0.26, 0.407]
MIDDLE = {
    11: 0.6308571428571428,
    10: 0.6,
    9: 0.5574,
    8: 0.56075,
    7: 0.47359999999999997,
    5: 0.316,
}
"""rliable's interquartile mean of the first n of `RUNS`."""
IMPROVEMENT = 0.6060606060606061
"""rliable's probability that one of `RUNS` beats one of `OTHERS`."""
WITH_TIES = ([0.2, 0.5, 0.5, 0.9], [0.5, 0.1, 0.5], 0.6666666666666666)
THRESHOLDS = [0.0, 0.25, 0.5, 0.75]
PROFILE = [1.0, 0.8181818181818182, 0.7272727272727273, 0.36363636363636365]
"""rliable's of `RUNS` at `THRESHOLDS`."""
TWO_TASKS = ([0.028, 0.671, 0.615, 0.997], [0.124, 0.647, 0.384, 0.981])
PROFILE_OF_TASKS = [1.0, 0.75, 0.625, 0.25]
WILSON = {
    (0, 10): (0.0, 0.27753279986288926),
    (2, 5): (0.11762077423264788, 0.7692757187239871),
    (7, 9): (0.45258896910698887, 0.9367748928821533),
    (10, 10): (0.7224672001371106, 1.0),
}
"""statsmodels' `proportion_confint`, by successes and trials."""


def column(scores: list[float]) -> np.ndarray:
    return np.array(scores)[:, None]


# Recorded values


@pytest.mark.parametrize("n", MIDDLE)
def test_the_interquartile_mean_is_rliables(n: int) -> None:
    assert interquartile_mean(RUNS[:n]) == pytest.approx(MIDDLE[n], rel=1e-12)


def test_the_probability_of_improvement_is_rliables() -> None:
    assert probability_of_improvement(RUNS, OTHERS) == pytest.approx(IMPROVEMENT, rel=1e-12)
    assert probability_of_improvement(*WITH_TIES[:2]) == pytest.approx(WITH_TIES[2], rel=1e-12)


def test_the_profile_is_rliables() -> None:
    rng = np.random.default_rng(0)
    assert performance_profile([RUNS], THRESHOLDS, rng).share == pytest.approx(PROFILE)
    assert performance_profile(TWO_TASKS, THRESHOLDS, rng).share == pytest.approx(PROFILE_OF_TASKS)


@pytest.mark.parametrize("counts", WILSON)
def test_wilsons_interval_is_statsmodels(counts: tuple[int, int]) -> None:
    found = wilson_interval(*counts)
    assert found is not None
    assert (found.low, found.high) == pytest.approx(WILSON[counts], abs=1e-12)


def test_the_critical_difference_follows_demsars_table() -> None:
    # Demšar 2006, Table 5 (a): q at 5 % for two to ten classifiers.
    quantiles = [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]
    for k, quantile in enumerate(quantiles, 2):
        expected = quantile * np.sqrt(k * (k + 1) / (6 * 20))
        assert critical_difference(k, 20) == pytest.approx(expected, abs=2e-3)


# The packages themselves, where they are installed


def test_rliable_agrees_on_random_scores() -> None:
    metrics = pytest.importorskip("rliable.metrics")
    rng = np.random.default_rng(1)
    for n, m in ((3, 5), (10, 10), (23, 8)):
        a, b = rng.normal(size=n).round(1).tolist(), rng.normal(size=m).round(1).tolist()
        iqm = float(metrics.aggregate_iqm(column(a)))
        assert interquartile_mean(a) == pytest.approx(iqm, rel=1e-9, abs=1e-12)
        wins = float(metrics.probability_of_improvement(column(a), column(b)))
        assert probability_of_improvement(a, b) == pytest.approx(wins, rel=1e-9)


def test_statsmodels_agrees_on_counts() -> None:
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    for n in (1, 4, 30):
        for successes in (0, n // 2, n):
            found = wilson_interval(successes, n)
            assert found is not None
            expected = proportion.proportion_confint(successes, n, method="wilson")
            assert (found.low, found.high) == pytest.approx(expected, abs=1e-12)


def test_autorank_agrees_on_friedmans_order() -> None:
    autorank = pytest.importorskip("autorank")
    pandas = pytest.importorskip("pandas")
    noise = np.random.default_rng(3).exponential(size=(3, 15))
    blocks = {name: (noise[i] + 2 * i).tolist() for i, name in enumerate("abc")}
    found = block_agreement(blocks, np.random.default_rng(0))
    oracle = autorank.autorank(
        pandas.DataFrame(blocks), alpha=0.05, verbose=False, force_mode="nonparametric"
    )
    assert oracle.omnibus == "friedman"
    assert found.claim.p == pytest.approx(oracle.pvalue, abs=0.01)  # the oracle's is asymptotic
    assert found.critical_difference == pytest.approx(oracle.cd, rel=1e-3)
    for name, rank in found.mean_ranks.items():
        assert oracle.rankdf.loc[name, "meanrank"] == pytest.approx(rank)


@pytest.mark.parametrize("seed", range(8))
def test_scikit_posthocs_lets_the_same_methods_share_a_letter(seed: int) -> None:
    posthocs = pytest.importorskip("scikit_posthocs")
    if not hasattr(posthocs, "compact_letter_display"):
        pytest.skip("this scikit-posthocs has no letters")
    names, rng = "pqrst", np.random.default_rng(seed)
    p = np.ones((5, 5))
    pairs = list(itertools.combinations(range(5), 2))
    for i, j in pairs:
        p[i, j] = p[j, i] = rng.choice([0.001, 0.9])
    theirs = posthocs.compact_letter_display(p, names=list(names))
    ours = letters(names, {frozenset((names[i], names[j])) for i, j in pairs if p[i, j] < 0.05})
    for i, j in pairs:
        a, b = names[i], names[j]
        shared = bool(set(theirs[a].replace(" ", "")) & set(theirs[b].replace(" ", "")))
        assert bool(set(ours[a]) & set(ours[b])) == shared
