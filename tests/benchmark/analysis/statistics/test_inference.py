"""Tests of paired comparisons, effects, variances, ranks and profiles."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import pytest
from scikit_posthocs import posthoc_nemenyi_friedman
from scipy import stats

from benchmark.analysis.statistics.claims import ALPHA, POWER, decide, seeds_for_effect
from benchmark.analysis.statistics.effect import (
    interquartile_mean,
    paired_effect_size,
    probability_of_improvement,
)
from benchmark.analysis.statistics.intervals import (
    BCA_FROM,
    collapse_bound,
    collapse_words,
    mean_interval,
    wilson_interval,
)
from benchmark.analysis.statistics.paired import (
    Pair,
    Scores,
    compare,
    paired_claim,
    questions_of_all_pairs,
    verdicts,
)
from benchmark.analysis.statistics.profiles import normalised, performance_profile
from benchmark.analysis.statistics.ranks import (
    block_agreement,
    critical_difference,
    friedman_test,
    kendalls_w,
    letters,
    rank_intervals,
)
from benchmark.analysis.statistics.sign_flips import (
    EXACT_UP_TO,
    joint_sign_flips,
    sign_flip_test,
    smallest_p,
)
from benchmark.analysis.statistics.variance import (
    brown_forsythe_test,
    compare_spread,
    seeds_for_ratio,
    value_variances,
    variance_ratio,
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def by_seed(*scores: float) -> dict[int, float]:
    return dict(enumerate(scores))


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
@pytest.mark.parametrize("asked", [compare, verdicts])
def test_what_is_not_finite_reaches_no_verdict(asked: Callable[..., object], wrong: float) -> None:
    scores = {"a": by_seed(*range(7), wrong), "b": by_seed(*(0.5 * s for s in range(8)))}
    with pytest.raises(ValueError, match=f"score of 'a' on seed 7 is {wrong}"):
        asked(questions_of_all_pairs(scores), rng())


def all_pairs(scores: Mapping[str, Scores]) -> list[Pair]:
    return compare(questions_of_all_pairs(scores), rng())


# Intervals


def test_few_scores_get_students_interval_and_many_the_bootstraps() -> None:
    few, many = rng().normal(size=5), rng().normal(size=BCA_FROM)
    interval = mean_interval(few.tolist(), rng(), within=None)
    assert interval is not None
    expected = stats.t.interval(0.95, 4, loc=few.mean(), scale=stats.sem(few))
    assert (interval.low, interval.high) == pytest.approx(expected)
    assert interval.method == "t"
    bootstrapped = mean_interval(many.tolist(), rng(), within=None)
    assert bootstrapped is not None
    assert bootstrapped.method == "BCa"
    assert mean_interval([0.5], rng()) is None


def test_bootstrap_interval_covers_the_mean_nearly_as_often_as_promised() -> None:
    draws = rng(1).normal(0.7, 0.1, size=(300, BCA_FROM))
    intervals = [mean_interval(row.tolist(), rng(i)) for i, row in enumerate(draws)]
    assert np.mean([i.low <= 0.7 <= i.high for i in intervals if i]) > 0.91


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (2, 5), (10, 10)])
def test_wilson_interval_solves_its_quadratic(successes: int, trials: int) -> None:
    interval = wilson_interval(successes, trials)
    assert interval is not None
    p, z = successes / trials, 1.959964
    for end in (interval.low, interval.high):
        if 0 < end < 1:
            assert abs(p - end) == pytest.approx(z * math.sqrt(end * (1 - end) / trials), rel=1e-4)
    assert interval.low < 1
    assert interval.high > 0


def test_no_trials_give_no_rate() -> None:
    assert wilson_interval(0, 0) is None
    assert collapse_bound(0, 0) == 1


@pytest.mark.parametrize(
    ("collapsed", "runs", "words"),
    [(0, 10, "0 of 10 collapsed; at most 28 %"), (3, 3, "3 of 3 collapsed; at most 100 %")],
)
def test_a_collapse_that_no_run_met_is_bounded(collapsed: int, runs: int, words: str) -> None:
    interval = wilson_interval(collapsed, runs)
    assert interval is not None
    assert collapse_bound(collapsed, runs) == interval.high
    assert collapse_words(collapsed, runs) == words


def test_no_interval_reaches_beyond_what_a_score_can_be() -> None:
    high = mean_interval([0.99, 0.98, 0.10, 0.97])
    assert high is not None
    half = stats.t.ppf(0.975, 3) * stats.sem([0.99, 0.98, 0.10, 0.97])
    assert (high.low, high.high) == pytest.approx((high.estimate - half, 1.0))
    assert high.plus_minus == f" ({100 * high.low:.2f} to 100.00)"
    low = mean_interval([0.0] * 19 + [0.9], rng())
    assert low is not None
    assert low.low == 0
    inside = mean_interval([0.5, 0.6, 0.7])
    assert inside is not None
    assert inside.plus_minus == f" ± {100 * (inside.high - 0.6):.2f}"


# Paired tests


def one_question(differences: Sequence[float]) -> float:
    return sign_flip_test(differences, rng())


def flips(differences: list[float]) -> float:
    """The sign-flip test by plain loops."""
    observed = abs(sum(differences))
    sums = [
        abs(sum(sign * d for sign, d in zip(signs, differences, strict=True)))
        for signs in itertools.product((-1, 1), repeat=len(differences))
    ]
    return sum(s >= observed - 1e-12 for s in sums) / len(sums)


@pytest.mark.parametrize("n", [2, 5, 8])
def test_sign_flips_are_all_tried(n: int) -> None:
    differences = rng(n).normal(0.3, 1, size=n).tolist()
    assert one_question(differences) == pytest.approx(flips(differences))


def test_many_pairs_are_flipped_at_random_and_agree_with_the_t_test() -> None:
    differences = rng(3).normal(0.4, 1, size=EXACT_UP_TO + 20).tolist()
    expected = float(stats.ttest_1samp(differences, 0).pvalue)
    assert one_question(differences) == pytest.approx(expected, abs=0.01)
    oracle = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=9999, rng=rng(1)
    )
    assert one_question(differences) == pytest.approx(oracle.pvalue, abs=0.01)


def test_questions_of_any_sizes_have_the_p_of_one_alone_too() -> None:
    samples = [rng(n).normal(0.5, 1, size=n).tolist() for n in (3, 7, 0, 7, 1)]
    found = joint_sign_flips([dict(enumerate(sample)) for sample in samples], rng())
    assert found.p == [one_question(sample) for sample in samples]


@pytest.mark.parametrize("differences", [[], [0.3], [0.0, 0.0, 0.0]])
def test_nothing_to_flip_shows_nothing(differences: list[float]) -> None:
    assert one_question(differences) == 1
    (pair,) = all_pairs({"a": by_seed(*differences), "b": by_seed(*[0.0] * len(differences))})
    assert (pair.p, pair.p_wilcoxon) == (1, 1)


def test_many_methods_with_many_seeds_are_told_apart() -> None:
    scores = {str(i): {seed: i + seed / 1000 for seed in range(16)} for i in range(50)}
    questions = questions_of_all_pairs(scores)
    assert set(verdicts(questions, np.random.default_rng(0))) == {"shown"}


@pytest.mark.parametrize("n", [3, 5, 6, 10])
def test_no_outcome_goes_below_the_smallest_p(n: int) -> None:
    clear = [1.0 + i for i in range(n)]
    assert one_question(clear) == pytest.approx(smallest_p(n))
    (pair,) = all_pairs({"a": by_seed(*clear), "b": by_seed(*[0.0] * n)})
    assert pair.p_wilcoxon == pytest.approx(smallest_p(n))


def test_the_test_keeps_its_size_and_has_power() -> None:
    draws = rng(5).normal(size=(400, 8))
    size = np.mean([one_question(row.tolist()) <= ALPHA for row in draws])
    assert size == pytest.approx(0.047, abs=0.03)  # the largest attainable below 0.05 is 12/256
    power = np.mean([one_question(row.tolist()) <= ALPHA for row in draws[:150] + 1.5])
    assert power > 0.85


@pytest.mark.parametrize("effect", [0.7, 1.2])
def test_the_seeds_that_are_asked_for_suffice(effect: float) -> None:
    n = seeds_for_effect(effect)
    assert n is not None
    draws = rng(7).normal(effect, 1, size=(3000, n))
    shown = stats.ttest_1samp(draws, 0, axis=1).pvalue <= ALPHA
    assert np.mean(shown) == pytest.approx(POWER, abs=0.04)
    assert seeds_for_effect(0.01) is None


def test_five_seeds_are_insufficient_and_it_is_said_how_many_would_do() -> None:
    (pair,) = all_pairs({"a": by_seed(5, 6, 7, 8, 9.5), "b": by_seed(1, 2, 3, 4, 5)})
    assert pair.claim.verdict == "insufficient"
    assert pair.claim.seeds_needed == 6
    assert pair.better is None
    assert pair.claim.words == "insufficient (p = 0.062, n = 5; it would take about 6 seeds)"


def test_a_clear_difference_is_shown_and_names_the_better() -> None:
    noise = rng(1).normal(0, 0.01, size=(2, 8))
    (pair,) = all_pairs({"a": by_seed(*noise[0]), "b": by_seed(*(noise[1] + 1))})
    assert (pair.claim.verdict, pair.better) == ("shown", "b")
    assert pair.claim.words == "shown (p = 0.008, n = 8)"
    assert pair.difference is not None
    assert pair.difference.high < 0
    assert pair.improvement == 0


def test_no_difference_is_not_shown_rather_than_insufficient() -> None:
    scores = rng(2).normal(size=(2, 10))
    (pair,) = all_pairs({"a": by_seed(*scores[0]), "b": by_seed(*scores[1])})
    assert pair.claim.verdict == "not shown"
    assert "not shown" in pair.claim.words


def test_only_common_seeds_are_compared() -> None:
    (pair,) = all_pairs({"a": {0: 1.0, 1: 2.0, 5: 9.0}, "b": {1: 1.0, 0: 1.0, 7: 0.0}})
    assert pair.n == 2
    assert pair.difference is not None
    assert pair.difference.estimate == pytest.approx(0.5)
    (none,) = all_pairs({"a": {0: 1.0}, "b": {1: 1.0}})
    assert (none.n, none.difference, none.improvement) == (0, None, None)


def test_methods_with_too_few_seeds_do_not_weaken_the_others() -> None:
    noise = rng(1).normal(0, 0.01, size=(2, 6))
    clear = {"a": by_seed(*noise[0]), "b": by_seed(*(noise[1] + 1))}
    extra = {name: by_seed(0.5, 0.6, 0.7) for name in "cdef"}
    pairs = all_pairs({**clear, **extra})
    assert pairs[0].claim.shown
    assert {pair.claim.verdict for pair in pairs[1:]} == {"insufficient"}


def test_correction_runs_over_all_pairs() -> None:
    scores = rng(4).normal(0, 1, size=(4, 10))
    pairs = all_pairs({m: by_seed(*row) for m, row in zip("abcd", scores, strict=True)})
    expected = joint_sign_flips(
        [dict(enumerate(a - b)) for a, b in itertools.combinations(scores, 2)], rng()
    )
    assert [p.claim.p for p in pairs] == expected.corrected
    assert [p.p for p in pairs] == expected.p
    assert max(p.claim.p / p.p for p in pairs if p.claim.p) > 1.5


def test_equally_few_seeds_of_everybody_can_be_told_apart() -> None:
    """Six seeds of two pairs were insufficient after Holm's correction."""
    noise = rng(2).normal(0, 0.01, size=(3, 6))
    rows = {
        name: by_seed(*(own + at)) for name, own, at in zip("abc", noise, (1, 2, 3), strict=True)
    }
    assert {p.claim.verdict for p in all_pairs(rows)} == {"shown"}


def test_the_signed_rank_test_is_wilcoxons_and_is_corrected_over_the_same_questions() -> None:
    scores = rng(4).normal(0, 1, size=(3, 9))
    alone = float(stats.wilcoxon(scores[0] - scores[1]).pvalue)
    (pair,) = all_pairs({"a": by_seed(*scores[0]), "b": by_seed(*scores[1])})
    assert pair.p_wilcoxon == pytest.approx(alone)
    three = all_pairs({m: by_seed(*row) for m, row in zip("abc", scores, strict=True)})
    four = all_pairs(
        {**{m: by_seed(*r) for m, r in zip("abc", scores, strict=True)}, "few": by_seed(1, 2, 3)}
    )
    assert alone < three[0].p_wilcoxon <= 1
    by_pair = {(p.first, p.second): p.p_wilcoxon for p in four}
    assert all(by_pair[p.first, p.second] == p.p_wilcoxon for p in three)


def test_equal_scores_need_no_number_of_seeds() -> None:
    claim = paired_claim([0.0] * 10, 1.0, ALPHA)
    assert (claim.verdict, claim.seeds_needed) == ("not shown", None)


@pytest.mark.parametrize(
    ("p", "attainable", "verdict"),
    [(0.05, 0.0, "shown"), (0.06, 0.01, "not shown"), (0.06, 0.06, "insufficient")],
)
def test_the_three_verdicts(p: float, attainable: float, verdict: str) -> None:
    assert decide(p, 5, attainable, 9).verdict == verdict


# Effects


def test_interquartile_mean_leaves_out_a_quarter_at_each_end() -> None:
    assert interquartile_mean([100, 1, 2, 3, 4, 5, 6, -100]) == pytest.approx((2 + 3 + 4 + 5) / 4)


def test_probability_of_improvement_counts_wins_and_half_the_ties() -> None:
    a, b = [0.3, 0.5, 0.5], [0.4, 0.5]
    wins = sum((x > y) + 0.5 * (x == y) for x in a for y in b) / 6
    assert probability_of_improvement(a, b) == pytest.approx(wins)
    u = stats.mannwhitneyu(a, b).statistic
    assert probability_of_improvement(a, b) == pytest.approx(u / 6)


def test_effect_size_is_corrected_for_few_seeds() -> None:
    d = [0.1, 0.3, 0.2, 0.6]
    mean = sum(d) / 4
    deviation = math.sqrt(sum((x - mean) ** 2 for x in d) / 3)
    assert paired_effect_size(d) == pytest.approx(mean / deviation * (1 - 3 / 11))


@pytest.mark.parametrize(
    "differences", [[0.1], [0.1, 0.4], [0.1, 0.1, 0.1], [0.9 - 0.8, 0.8 - 0.7, 0.3 - 0.2]]
)
def test_two_differences_and_differences_all_alike_have_no_effect_size(
    differences: list[float],
) -> None:
    assert paired_effect_size(differences) is None


# Variances


def test_brown_forsythe_is_an_analysis_of_variance_of_deviations_from_medians() -> None:
    a, b = rng(1).normal(0, 1, 8), rng(2).normal(0, 4, 9)
    deviations = [np.abs(x - np.median(x)) for x in (a, b)]
    expected = stats.f_oneway(*deviations).pvalue
    assert brown_forsythe_test(a.tolist(), b.tolist()) == pytest.approx(expected)
    assert brown_forsythe_test([1.0, 1.0], [2.0, 2.0]) == 1


def test_brown_forsythe_keeps_its_size_and_has_power() -> None:
    draws = rng(3).normal(size=(600, 2, 10))
    size = np.mean([brown_forsythe_test(a, b) <= ALPHA for a, b in draws])
    assert size < 0.07
    assert np.mean([brown_forsythe_test(a, 5 * b) <= ALPHA for a, b in draws]) > 0.85


def test_interval_of_the_ratio_of_variances_covers_as_often_as_it_says() -> None:
    draws = rng(4).normal(size=(300, 2, 10))
    found = [variance_ratio(3 * a, b, rng(i)) for i, (a, b) in enumerate(draws)]
    covered = [r.low <= 9 <= r.high for r in found if r is not None]
    assert len(covered) == 300
    assert np.mean(covered) == pytest.approx(0.93, abs=0.04)


def test_five_seeds_are_too_few_to_compare_spreads() -> None:
    spread = compare_spread([1, 2, 3, 4, 5], [1, 9, 2, 8, 5], rng())
    assert (spread.claim.verdict, spread.ratio) == ("insufficient", None)
    assert spread.deviations[0] == pytest.approx(math.sqrt(2.5))
    assert spread.claim.seeds_needed is not None
    assert spread.claim.seeds_needed >= 6
    assert compare_spread([], [0.3], rng()).deviations == (None, None)


def test_a_clear_difference_of_spread_is_shown() -> None:
    a, b = rng(1).normal(0, 0.01, 10).tolist(), rng(2).normal(0, 1, 10).tolist()
    spread = compare_spread(a, b, rng())
    assert spread.claim.shown
    assert spread.ratio is not None
    assert spread.ratio.high < 1
    many = compare_spread(a, b, rng(), questions=10**9)
    assert not many.claim.shown


def test_the_seeds_for_a_ratio_are_more_than_there_were_and_than_for_one_question() -> None:
    a, b = rng(4).normal(0, 1, 12).tolist(), rng(9).normal(0, 1.6, 12).tolist()
    one, ten = (compare_spread(a, b, rng(), questions).claim for questions in (1, 10))
    assert (one.verdict, ten.verdict) == ("not shown", "not shown")
    assert one.seeds_needed is not None
    assert ten.seeds_needed is not None
    assert 12 < one.seeds_needed < ten.seeds_needed
    assert ten.seeds_needed == seeds_for_ratio(a, b, ALPHA / 10)
    # Equal deviations from the median but for one: the variances differ more than the test sees.
    outlier = [0.0, 0.1, -0.1, 0.1, -0.1, 0.1, -0.1, 9.0]
    claim = compare_spread(outlier, [x / 9 for x in outlier[:-1]] + [0.1], rng()).claim
    assert not claim.shown
    assert claim.seeds_needed == 9
    alike = compare_spread([1.0, 2.0, 3.0], [1.0, 2.0, 3.001], rng()).claim
    assert (alike.verdict, alike.seeds_needed) == ("insufficient", None)


def test_seeds_for_a_ratio_suffice_for_normal_scores() -> None:
    a, b = rng(0).normal(0, 1, 50), rng(1).normal(0, 2, 50)
    n = seeds_for_ratio(a.tolist(), b.tolist())
    assert n is not None
    k = math.sqrt(float(np.var(b, ddof=1) / np.var(a, ddof=1)))
    draws = rng(2).normal(size=(2, 4000, n))
    logs = np.log(draws[0].var(1, ddof=1)) - np.log((k * draws[1]).var(1, ddof=1))
    shown = np.abs(logs) > 1.959964 * 2 / math.sqrt(n - 1)
    assert np.mean(shown) == pytest.approx(POWER, abs=0.05)


def test_the_variance_over_values_is_that_of_different_seeds_products() -> None:
    table = rng(5).normal(size=(5, 3))
    centred = table - table.mean(axis=1, keepdims=True)

    def unbiased(rows: list[int]) -> float:
        pairs = itertools.permutations(rows, 2)
        return float(np.mean([centred[a] @ centred[b] / 2 for a, b in pairs]))

    everybody = list(range(5))
    expected = [
        5 * unbiased(everybody) - 4 * unbiased([i for i in everybody if i != left_out])
        for left_out in everybody
    ]
    assert value_variances(table.tolist()) == pytest.approx(expected)
    assert np.mean(expected) == pytest.approx(unbiased(everybody))


# Ranks


def test_ranks_of_well_separated_methods_are_certain() -> None:
    scores = [by_seed(0.9, 0.91), by_seed(0.1, 0.11), by_seed(0.5, 0.51)]
    assert rank_intervals(scores, rng()) == [
        (1, 1),
        (3, 3),
        (2, 2),
    ]


def test_rank_intervals_hold_the_true_rank_at_three_seeds() -> None:
    """A bootstrap of three seeds that does not widen them holds 0.93 of these."""
    held, ranks = [], range(8, 0, -1)
    for i in range(100):
        scores = rng(i).normal(0.6 * np.arange(8)[:, None], 1.0, size=(8, 3))
        found = rank_intervals([by_seed(*row) for row in scores], rng(i))
        held += [low <= rank <= high for rank, (low, high) in zip(ranks, found, strict=True)]
    assert np.mean(held) > 0.96


def test_what_a_seed_does_to_everybody_moves_no_rank() -> None:
    luck = rng(2).normal(0, 1, 5)
    scores = [dict(enumerate(luck + shift)) for shift in (0.02, 0.01, 0.0)]
    assert rank_intervals(scores, rng()) == [(1, 1), (2, 2), (3, 3)]
    others = {seed + 1: score for seed, score in scores[1].items()}
    assert rank_intervals([scores[0], others], rng()) == [(1, 2), (1, 2)]


def test_equal_generators_give_equal_ranks() -> None:
    scores = [by_seed(*row) for row in rng(1).random((4, 5))]
    assert rank_intervals(scores, rng(9)) == rank_intervals(scores, rng(9))


@pytest.mark.parametrize("seed", range(20))
def test_two_methods_share_a_letter_unless_they_were_told_apart(seed: int) -> None:
    names = "pqrstu"
    pairs = [frozenset(pair) for pair in itertools.combinations(names, 2)]
    different = {pair for pair in pairs if rng(seed * 100 + pairs.index(pair)).random() < 0.5}
    found = letters(names, different)
    for pair in pairs:
        a, b = pair
        assert bool(set(found[a]) & set(found[b])) == (pair not in different)
    assert "a" in found["p"]


def test_letters_of_a_chain() -> None:
    assert letters("xyz", {frozenset("xz")}) == {"x": "a", "y": "ab", "z": "b"}
    assert letters("xyz", set()) == dict.fromkeys("xyz", "a")


def shifted_blocks(n: int = 12) -> dict[str, list[float]]:
    noise = rng(3).normal(size=(3, n))
    return {name: (noise[i] + 1.5 * i).tolist() for i, name in enumerate("abc")}


def order_tail(ranks: np.ndarray) -> float:
    """Friedman's exact p by plain enumeration of the orders of all blocks."""
    middle = len(ranks) * (ranks.shape[1] + 1) / 2
    far = [
        sum((sum(column) - middle) ** 2 for column in zip(*rows, strict=True))
        for rows in itertools.product(*(list(itertools.permutations(row)) for row in ranks))
    ]
    observed = float(((ranks.sum(axis=0) - middle) ** 2).sum())
    return float(np.mean([value >= observed - 1e-9 for value in far]))


@pytest.mark.parametrize(
    "table",
    [
        [[1, 2, 3], [1, 3, 2], [2, 1, 3], [1, 2, 3], [1, 2, 3]],
        [[1, 2, 3], [1.5, 1.5, 3], [2, 2, 2], [1, 2, 3], [3, 1, 2]],
        [[1, 2, 3, 4], [2, 1, 3, 4], [1, 2, 4, 3]],
    ],
)
def test_friedmans_p_is_that_of_all_orders(table: list[list[float]]) -> None:
    ranks = np.array(table, dtype=float)
    assert friedman_test(ranks, rng()) == pytest.approx(order_tail(ranks))


def test_friedmans_exact_p_is_the_tabled_one() -> None:
    # Hollander & Wolfe 1999, Table A.22: k = 3, n = 6, P(S >= 7) = 0.029.
    ranks = np.array([[1, 2, 3]] * 4 + [[1, 3, 2], [3, 2, 1]], dtype=float)
    statistic = 6 * 2 * kendalls_w(ranks)
    exact = friedman_test(ranks, rng())
    assert statistic == pytest.approx(4.333, abs=1e-3)
    assert exact == pytest.approx(0.142, abs=5e-4)


def test_where_orders_are_too_many_random_ones_agree_with_the_asymptotic_test() -> None:
    scores = rng(5).normal(size=(40, 9)) + np.arange(9) / 14
    ranks = stats.rankdata(-scores, axis=1)
    expected = float(stats.friedmanchisquare(*scores.T).pvalue)
    assert 0.001 < expected < 0.5
    assert friedman_test(ranks, rng()) == pytest.approx(expected, abs=0.02)


def test_agreement_of_blocks_is_friedmans_and_nemenyis() -> None:
    blocks = shifted_blocks()
    found = block_agreement(blocks, rng())
    assert found.claim.shown
    chi = float(stats.friedmanchisquare(*blocks.values()).statistic)
    # χ² = n (k − 1) W
    assert found.concordance == pytest.approx(chi / (12 * 2))
    oracle = posthoc_nemenyi_friedman(pd.DataFrame(blocks))
    assert found.nemenyi is not None
    np.testing.assert_allclose(found.nemenyi, oracle)
    order = sorted(found.mean_ranks, key=lambda name: found.mean_ranks[name])
    assert order == ["c", "b", "a"]
    apart = found.mean_ranks["a"] - found.mean_ranks["c"]
    assert (apart > found.critical_difference) == (oracle.loc["a", "c"] < 0.05)


def test_six_blocks_can_agree_and_are_too_few_for_nemenyi() -> None:
    found = block_agreement(
        {name: [i + b / 9 for b in range(6)] for i, name in enumerate("abc")}, rng()
    )
    assert found.claim.p == pytest.approx(6 / 6**6)
    assert found.claim.shown
    assert found.nemenyi is None


@pytest.mark.parametrize("blocks", [shifted_blocks(5), {"a": [1.0] * 12, "b": [2.0] * 12}])
def test_too_few_blocks_or_methods_are_insufficient(blocks: dict[str, list[float]]) -> None:
    found = block_agreement(blocks, rng())
    assert found.claim.verdict == "insufficient"
    assert found.nemenyi is None


def test_no_block_at_all_is_insufficient() -> None:
    found = block_agreement({"a": [], "b": [], "c": []}, rng())
    assert found.claim.verdict == "insufficient"


def test_blocks_of_ties_agree_on_nothing() -> None:
    found = block_agreement({name: [0.5] * 12 for name in "abc"}, rng())
    assert (found.claim.verdict, found.concordance) == ("not shown", 0)


def test_blocks_that_do_not_suffice_say_how_many_would() -> None:
    noise = rng(11).normal(size=(3, 12)) + np.array([[0.0], [0.3], [0.5]])
    found = block_agreement({name: noise[i].tolist() for i, name in enumerate("abc")}, rng())
    assert found.claim.verdict == "not shown"
    assert found.concordance is not None
    needed = found.claim.seeds_needed
    assert needed is not None
    shift = needed * 2 * found.concordance
    assert stats.ncx2.sf(stats.chi2.ppf(0.95, 2), 2, shift) == pytest.approx(POWER, abs=0.02)


def test_concordance_is_one_when_all_agree_even_with_ties() -> None:
    assert kendalls_w(np.tile([1.0, 2.0, 3.0], (5, 1))) == pytest.approx(1)
    assert kendalls_w(np.tile([1.5, 1.5, 3.0], (5, 1))) == pytest.approx(1)
    assert kendalls_w(np.array([[1.0, 2.0], [2.0, 1.0]])) == 0


def test_critical_difference_is_demsars() -> None:
    # Demšar 2006, Sec. 3.2.2: q₀.₀₅ = 2.569 for four classifiers; 14 data sets give 1.25.
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)


# Profiles


def test_profile_is_the_share_of_runs_above_each_threshold() -> None:
    profile = performance_profile([[0.2, 0.5, 0.5, 0.9]], [0.0, 0.2, 0.5, 0.9], rng())
    assert profile.share.tolist() == [1, 0.75, 0.25, 0]
    assert all(profile.low <= profile.share)
    assert all(profile.share <= profile.high)


def test_every_task_weighs_the_same_in_a_profile_and_is_resampled_alone() -> None:
    strata = [[0.2, 0.4], [0.6] * 8]
    profile = performance_profile(strata, [0.1, 0.3, 0.5], rng())
    assert profile.share.tolist() == [1, 0.75, 0.5]
    assert (profile.low[1], profile.high[1]) == (0.5, 1)
    assert profile.low[2] == profile.high[2] == 0.5


def test_area_under_the_profile_is_the_mean_normalised_score() -> None:
    scores = normalised([0.05, 0.3, 0.55, 0.99], worst=0.1, best=0.9)
    assert scores == pytest.approx([0, 0.25, 0.5625, 1])
    thresholds = np.linspace(0, 1, 2001)
    profile = performance_profile([scores], thresholds.tolist(), rng())
    assert profile.share[:-1].mean() == pytest.approx(np.mean(scores), abs=1e-3)


def test_band_of_the_profile_covers() -> None:
    draws = rng(6).random((200, 20))
    bands = [performance_profile([row.tolist()], [0.5], rng(i)) for i, row in enumerate(draws)]
    assert np.mean([b.low[0] <= 0.5 <= b.high[0] for b in bands]) > 0.9


def test_shares_of_no_way_at_all_are_zero() -> None:
    assert normalised([0.1, 0.2], worst=0.1, best=0.1) == [0.0, 0.0]
    assert normalised([0.1, 0.2, 0.4], worst=0.1, best=0.3) == pytest.approx([0.0, 0.5, 1.0])
