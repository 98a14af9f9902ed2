"""Tests of joint sign flips and of joint permutations, with step-down maxima."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from benchmark.analysis.statistics.claims import ALPHA
from benchmark.analysis.statistics.paired import questions_of_all_pairs, verdicts
from benchmark.analysis.statistics.permutations import joint_permutations
from benchmark.analysis.statistics.permutations import smallest_p as smallest_of_divisions
from benchmark.analysis.statistics.sign_flips import (
    EXACT_UP_TO,
    Differences,
    joint_sign_flips,
    seeds_to_decide,
    sign_flip_test,
    smallest_p,
)

Table = dict[str, dict[int, float]]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def table_of(*rows: object) -> Table:
    return {str(i): dict(enumerate(np.asarray(row).tolist())) for i, row in enumerate(rows)}


def noise(methods: int, n: int, seed: int = 0) -> np.ndarray:
    return rng(seed).normal(size=(methods, n))


def all_differences(table: Table) -> dict[tuple[str, str], Differences]:
    return {(q.first, q.second): q.differences for q in questions_of_all_pairs(table)}


def corrected(table: Table, random: int = 0) -> dict[tuple[str, str], float]:
    differences = all_differences(table)
    found = joint_sign_flips(list(differences.values()), rng(random)).corrected
    return dict(zip(differences, found, strict=True))


def by_hand(table: Table) -> dict[tuple[str, str], float]:
    """Step-down max-T by plain loops over flips, steps and questions of one size."""
    differences = all_differences(table)
    n = len(next(iter(differences.values())))

    def t(values: list[float]) -> float:
        return abs(float(stats.ttest_1samp(values, 0).statistic))

    flips = list(itertools.product((1, -1), repeat=n))
    flipped = {
        pair: [t([s * d for s, d in zip(signs, own.values(), strict=True)]) for signs in flips]
        for pair, own in differences.items()
    }
    left = sorted(differences, key=lambda pair: -flipped[pair][0])
    found, least = {}, 0.0
    while left:
        largest = [max(flipped[pair][i] for pair in left) for i in range(len(flips))]
        best = left.pop(0)
        least = max(least, float(np.mean([m >= largest[0] - 1e-9 for m in largest])))
        found[best] = least
    return found


@pytest.mark.parametrize("seed", range(3))
def test_the_largest_statistic_of_every_joint_flip_steps_down(seed: int) -> None:
    table = table_of(*(noise(4, 7, seed) + np.array([[0.0], [0.5], [3.0], [3.0]])))
    assert corrected(table) == pytest.approx(by_hand(table))


@pytest.mark.parametrize("methods", [2, 7, 15])
@pytest.mark.parametrize("n", [6, 10])
def test_the_smallest_p_does_not_know_how_many_rows_there_are(methods: int, n: int) -> None:
    """Holm's smallest p would be that of one pair, times the number of pairs."""
    rows = noise(methods, n)
    rows[0] = rows[1] + 3 + 0.01 * noise(1, n)[0]
    assert corrected(table_of(*rows))["0", "1"] == pytest.approx(2 / 2**n)
    assert smallest_p(n) == 2 / 2**n


def test_an_eighth_row_makes_nothing_insufficient() -> None:
    """Ten seeds answered 21 questions after Holm's correction, and none of 28."""
    rows = noise(8, 10) + np.array([[0.0], [0.0], [0.0], [6.0], [6.0], [6.0], [6.0], [3.0]])
    for methods in (7, 8, 8 * 3):
        table = table_of(*np.resize(rows, (methods, 10)))
        questions = questions_of_all_pairs(table)
        pairs = [(q.first, q.second) for q in questions]
        answers = dict(zip(pairs, verdicts(questions, rng()), strict=True))
        assert "insufficient" not in answers.values()
        assert answers["0", "3"] == "shown"


def test_a_copy_of_a_row_changes_no_p() -> None:
    rows = noise(5, 9) + np.arange(5)[:, None] / 2
    before, after = corrected(table_of(*rows)), corrected(table_of(*rows, rows[2]))
    assert {pair: after[pair] for pair in before} == before
    assert after["2", "5"] == 1


def test_a_row_that_is_far_from_all_others_changes_no_p_but_what_steps_down_from_it() -> None:
    rows = noise(6, 10, 3) + np.array([[0.0], [0.0], [0.8], [0.8], [2.0], [2.0]])
    far = rows[0] + 50 + 0.01 * noise(1, 10, 4)[0]
    before, after = corrected(table_of(*rows)), corrected(table_of(*rows, far))
    apart = [pair for pair in after if "6" in pair]
    assert all(after[pair] <= min(before.values()) for pair in apart)
    assert {pair: after[pair] for pair in before} == pytest.approx(before)


def test_a_row_with_many_more_seeds_changes_p_by_monte_carlo_noise_alone() -> None:
    rows = noise(4, 10, 1) + np.array([[0.0], [0.6], [1.4], [2.0]])
    table = table_of(*rows)
    longer = {**table, "far": dict(enumerate((100 + noise(1, 30)[0]).tolist()))}
    assert len(longer["far"]) > EXACT_UP_TO
    before, after = corrected(table), corrected(longer)
    error = 4 * math.sqrt(0.25 / 19_999)
    assert {pair: after[pair] for pair in before} == pytest.approx(before, abs=error)


def test_equal_generators_give_equal_p_where_flips_are_random() -> None:
    table = table_of(*noise(3, 20))
    assert corrected(table, 5) == corrected(table, 5)
    assert corrected(table, 5) != corrected(table, 6)


def test_identical_rows_are_not_told_apart_and_a_constant_difference_is() -> None:
    rows = noise(2, 8)
    found = corrected(table_of(rows[0], rows[0], rows[0] + 0.1, rows[1]))
    assert found["0", "1"] == 1
    assert found["0", "2"] == found["1", "2"] == 2 / 2**8


def test_equal_statistics_have_equal_p_whatever_their_order() -> None:
    a, b = noise(2, 7, 2)
    differences = [dict(enumerate(x.tolist())) for x in (a, b, 3 * a, -a, b / 7)]
    found = joint_sign_flips(differences, rng()).corrected
    assert found[0] == found[2] == found[3]
    assert found[1] == found[4]


def test_pairs_with_few_common_seeds_are_no_part_of_the_family() -> None:
    rows = noise(3, 6, 7) + np.array([[0.0], [0.2], [4.0]])
    alone, few = table_of(*rows), {str(9 + i): {i: 9.0, i + 1: 0.0} for i in range(9)}
    questions = questions_of_all_pairs({**alone, **few})
    pairs = [(q.first, q.second) for q in questions]
    answers = dict(zip(pairs, verdicts(questions, rng()), strict=True))
    expected = verdicts(questions_of_all_pairs(alone), rng())
    assert [answers[pair] for pair in itertools.combinations("012", 2)] == expected
    assert set(answers.values()) - set(expected) == {"insufficient"}


def test_every_pair_takes_the_signs_of_its_own_seeds() -> None:
    a, b = noise(2, 12, 9)
    first, second = dict(enumerate(a[:6] + 9)), dict(enumerate(b[6:] + 0.9, 6))
    found = joint_sign_flips([first, second], rng())
    assert found.p[0] == 2 / 2**6
    assert found.p == [sign_flip_test(list(own.values()), rng()) for own in (first, second)]
    assert found.corrected[0] >= found.p[0]


def test_six_seeds_decide() -> None:
    assert seeds_to_decide() == 6
    assert smallest_p(6) <= ALPHA < smallest_p(5)
    assert smallest_p(40) <= 1e-4


def test_the_level_of_a_question_lies_between_bonferronis_and_that_of_one() -> None:
    differences = list(all_differences(table_of(*noise(7, 10))).values())
    level = joint_sign_flips(differences, rng()).level
    assert 1.05 * ALPHA / len(differences) < level < ALPHA / 2
    copies = joint_sign_flips([differences[0]] * 21, rng()).level
    assert copies == joint_sign_flips(differences[:1] * 2, rng()).level


@pytest.mark.parametrize("differences", [[], [{}], [{}, {3: 0.5}]])
def test_no_pairs_give_no_answer(differences: list[Differences]) -> None:
    found = joint_sign_flips(differences, rng())
    assert found.p == found.corrected == [1.0] * len(differences)


# Independent samples


def test_two_samples_are_divided_as_scipy_divides_them() -> None:
    a, b = noise(2, 9, 5) + np.array([[0.0], [1.0]])

    def welch(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        return np.asarray(stats.ttest_ind(x, y, axis=axis, equal_var=False).statistic)

    oracle = stats.permutation_test((a, b), welch, vectorized=True, n_resamples=19_999, rng=rng(1))
    found = joint_permutations([a.tolist(), b.tolist()], rng()).corrected
    assert found == {(0, 1): pytest.approx(oracle.pvalue, abs=0.006)}


def test_a_sample_told_apart_from_all_others_leaves_the_pool() -> None:
    samples = (noise(3, 12, 6) + np.array([[0.0], [1.3], [1.3]])).tolist()
    far = (100 + noise(1, 12, 8)[0]).tolist()
    before = joint_permutations(samples, rng()).corrected
    after = joint_permutations([*samples, far], rng()).corrected
    assert all(after[i, 3] <= 2e-4 for i in range(3))
    assert {pair: after[pair] for pair in before} == pytest.approx(before, abs=0.015)
    assert 0.01 < min(before.values()) < 0.5


def test_equal_samples_are_seldom_told_apart_beside_one_at_chance() -> None:
    """Where one pool of all samples is divided, a sixth of these tables are."""
    random, wrong = rng(3), []
    for _ in range(150):
        samples = np.vstack([np.zeros((1, 8)), 0.6 + 0.05 * random.normal(size=(5, 8))]).tolist()
        found = joint_permutations(samples, random, 399).corrected
        wrong.append(any(p <= ALPHA for pair, p in found.items() if 0 not in pair))
    assert np.mean(wrong) <= 0.1


def test_equal_samples_and_samples_that_do_not_vary_have_their_p() -> None:
    collapsed, fine = [0.0] * 8, [0.9] * 8
    found = joint_permutations([collapsed, collapsed, fine], rng()).corrected
    assert found[0, 1] == 1
    assert found[0, 2] == found[1, 2] < 0.01
    assert smallest_of_divisions(4, 4) == pytest.approx(2 / 70)
    assert smallest_of_divisions(1, 9) == 1
