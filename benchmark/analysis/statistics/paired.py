"""Paired tests on common seeds, with Holm's correction over all pairs of methods."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from benchmark.analysis.statistics.claims import ALPHA, Claim, Verdict, decide, seeds_for_effect
from benchmark.analysis.statistics.effect import paired_effect_size, probability_of_improvement
from benchmark.analysis.statistics.intervals import Array, Interval, all_alike, mean_interval

EXACT_UP_TO = 14
"""Number of pairs up to which all 2ⁿ flips of signs are tried; with more, `flips` random ones."""
FLIPS = 19999
FLIPS_A_QUESTION = 100
"""Random flips per question: 1 / flips, times the number of questions, stays far below `ALPHA`."""
SUMS = 8 * (1 + FLIPS)
"""Flipped sums that are in memory at a time; about as many as a processor's cache holds."""

Scores = Mapping[int, float]
"""Score by seed. Equal seeds of two methods are a pair."""


@dataclass(frozen=True)
class Pair:
    """Two methods on their common seeds.

    Attributes:
        first, second: the methods.
        n: number of common seeds.
        difference: mean of first − second, with its interval; None when n < 2.
        p: p of the sign-flip test, uncorrected.
        p_wilcoxon: p of Wilcoxon's signed-rank test, corrected like the claim's p.
        effect: Hedges' g; None when undefined.
        improvement: probability that a run of the first beats one of the second.
        claim: whether the methods differ, corrected over all pairs asked about.
    """

    first: str
    second: str
    n: int
    difference: Interval | None
    p: float
    p_wilcoxon: float
    effect: float | None
    improvement: float | None
    claim: Claim

    @property
    def better(self) -> str | None:
        """The method that was shown to be better."""
        if not self.claim.shown or self.difference is None:
            return None
        return self.first if self.difference.estimate > 0 else self.second


def sign_flip_tests(
    differences: Sequence[Sequence[float]], rng: np.random.Generator
) -> list[float]:
    """Two-sided p of "the differences are symmetric about zero", by flipping their signs.

    Exact up to `EXACT_UP_TO` pairs, so never below 2 / 2ⁿ; 1 for fewer than two pairs. Samples of
    one size share their flips. Fisher, "The Design of Experiments", 1935.

    Args:
        differences: the pairs' differences, for each question.
        rng: generator of the random flips.
    """
    found = [1.0] * len(differences)
    random = flips(len(differences))
    for n in sorted({len(own) for own in differences if len(own) > 1}):
        signs = np.ascontiguousarray(_signs(n, random, rng).T)
        mine = [i for i, own in enumerate(differences) if len(own) == n]
        size = max(1, SUMS // signs.shape[1])
        for chunk in (mine[start : start + size] for start in range(0, len(mine), size)):
            values = np.array([differences[i] for i in chunk], dtype=float)
            # Sums that differ by rounding alone are equal.
            least = np.abs(values.sum(axis=1)) - 1e-9 * np.abs(values).sum(axis=1)
            sums = values @ signs
            as_far = np.count_nonzero(np.abs(sums, out=sums) >= least[:, None], axis=1)
            for i, count in zip(chunk, as_far, strict=True):
                found[i] = float(count / signs.shape[1])
    return found


def flips(questions: int) -> int:
    """Number of random flips for questions that are asked together."""
    return max(FLIPS, FLIPS_A_QUESTION * questions)


def _signs(n: int, random: int, rng: np.random.Generator) -> Array:
    """Rows of signs, the first all positive: half of all 2ⁿ, or random ones.

    The other half mirrors them, and its sums are equally far from zero.
    """
    if n <= EXACT_UP_TO:
        bits = np.arange(2 ** (n - 1))[:, None] >> np.arange(n) & 1
    else:
        bits = rng.integers(2, size=(1 + random, n))
        bits[0] = 0
    return np.asarray(1 - 2 * bits, dtype=np.float64)


def signed_rank_test(differences: Sequence[float]) -> float:
    """Two-sided p of Wilcoxon's signed-rank test, exact where ties and zeros allow."""
    values = np.asarray(differences, dtype=float)
    from scipy import stats

    return float(stats.wilcoxon(values).pvalue) if values.any() else 1.0


def smallest_p(n: int, questions: int = 1) -> float:
    """The smallest p that a two-sided sign-flip test of n pairs can give.

    Args:
        n: number of pairs.
        questions: number of questions asked together.
    """
    exact = min(1.0, 2.0 ** (1 - n))
    return exact if n <= EXACT_UP_TO else max(exact, 1 / (1 + flips(questions)))


def seeds_to_decide(questions: int = 1) -> int:
    """Fewest pairs for a sign-flip test to reach `ALPHA`, corrected for several questions."""
    return math.ceil(1 + math.log2(questions / ALPHA))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p, in the order given: sound for any dependence of the tests.

    Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scand. J. Statist. 1979.
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in adjusted]


def holm_of(p_values: Sequence[float], asked: Sequence[int]) -> list[float]:
    """The p values, with those at the places ``asked`` corrected by Holm over them alone."""
    corrected = list(p_values)
    for place, value in zip(asked, holm([p_values[i] for i in asked]), strict=True):
        corrected[place] = value
    return corrected


def paired_claim(
    differences: Sequence[float], corrected: float, attainable: float, questions: int = 1
) -> Claim:
    """The claim of a paired test.

    Args:
        differences: the pairs' differences.
        corrected: p, corrected for all questions asked together.
        attainable: the smallest corrected p of any outcome.
        questions: number of questions asked together.
    """
    n = len(differences)
    values = np.asarray(differences, dtype=float)
    needed: int | None = seeds_to_decide(questions)
    if n > 1 and not values.any():
        needed = None
    elif n > 1 and not all_alike(values):
        effect = float(values.mean() / values.std(ddof=1))
        power = seeds_for_effect(effect, ALPHA / questions)
        needed = None if power is None else max(seeds_to_decide(questions), power, n + 1)
    return decide(corrected, n, attainable, needed)


class Question(NamedTuple):
    """Two methods with their scores by seed."""

    first: str
    second: str
    scores: Scores
    others: Scores


def questions_of_all_pairs(scores: Mapping[str, Scores]) -> list[Question]:
    """Every two methods, in the order given."""
    return [Question(a, b, scores[a], scores[b]) for a, b in itertools.combinations(scores, 2)]


def compare(questions: Sequence[Question], rng: np.random.Generator) -> list[Pair]:
    """Answer questions that are asked together: tests, effect sizes and claims."""
    answers = _answers(questions, rng)
    decidable = [i for i, answer in enumerate(answers) if answer.decidable]
    signed_ranks = holm_of([signed_rank_test(own.differences) for own in answers], decidable)
    return [
        Pair(
            question.first,
            question.second,
            len(own.differences),
            mean_interval(own.differences, rng),
            own.p,
            p_wilcoxon,
            paired_effect_size(own.differences),
            _improvement(question),
            paired_claim(own.differences, own.corrected, own.attainable, max(1, len(decidable))),
        )
        for question, own, p_wilcoxon in zip(questions, answers, signed_ranks, strict=True)
    ]


def verdicts(questions: Sequence[Question], rng: np.random.Generator) -> list[Verdict]:
    """The verdicts of `compare` alone, which is faster for many questions."""
    return [
        decide(own.corrected, len(own.differences), own.attainable, None).verdict
        for own in _answers(questions, rng)
    ]


class _Answer(NamedTuple):
    """A question's differences, p before and after the correction, and the smallest corrected p.

    A question is ``decidable`` when it has pairs enough to show a difference if asked alone.
    """

    differences: list[float]
    p: float
    corrected: float
    attainable: float
    decidable: bool


def _answers(questions: Sequence[Question], rng: np.random.Generator) -> list[_Answer]:
    """Sign-flip tests of questions asked together.

    Holm's correction runs over the decidable ones: the others cannot be answered falsely (Tarone,
    "A Modified Bonferroni Method for Discrete Data", Biometrics 1990). It steps down, so a question
    with few seeds is corrected less when more of the others have more seeds: the smallest corrected
    p values are those of the smallest p values.
    """
    differences = [[q.scores[seed] - q.others[seed] for seed in _common(q)] for q in questions]
    p_values = sign_flip_tests(differences, rng)
    smallest = [smallest_p(len(own), len(questions)) for own in differences]
    decidable = [least <= ALPHA for least in smallest]
    asked = [i for i, able in enumerate(decidable) if able]
    corrected, attainable = holm_of(p_values, asked), holm_of(smallest, asked)
    columns = zip(differences, p_values, corrected, attainable, decidable, strict=True)
    return [_Answer(*column) for column in columns]


def _common(question: Question) -> list[int]:
    return sorted(question.scores.keys() & question.others.keys())


def _improvement(question: Question) -> float | None:
    seeds = _common(question)
    if not seeds:
        return None
    return probability_of_improvement(
        [question.scores[seed] for seed in seeds], [question.others[seed] for seed in seeds]
    )
