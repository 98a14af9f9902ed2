"""Paired tests on common seeds, with Holm's correction over all pairs of methods."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

from benchmark.analysis.statistics.claims import ALPHA, Claim, Verdict, decide, seeds_for_effect
from benchmark.analysis.statistics.effect import (
    paired_effect_size,
    probability_of_improvement,
)
from benchmark.analysis.statistics.intervals import Array, Interval, mean_interval

EXACT_UP_TO = 14
"""Pairs up to which all 2ⁿ flips of signs are tried; beyond, `FLIPS` random ones and none."""
FLIPS = 19999
CHUNK = 64
"""Questions whose flipped sums are in memory at a time."""

Scores = Mapping[int, float]
"""Score by seed. Equal seeds of two methods are a pair."""


@dataclass(frozen=True)
class Pair:
    """Two methods on their common seeds.

    Attributes:
        first, second: the methods.
        n: common seeds.
        difference: mean of first − second, with its interval; None when n < 2.
        p: of the sign-flip test, uncorrected.
        p_wilcoxon: of Wilcoxon's signed-rank test, uncorrected.
        effect: Hedges' g; None when undefined.
        improvement: probability that a run of the first beats one of the second.
        claim: whether they differ, corrected over all pairs asked about.
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
        differences: of the pairs, for each question.
        rng: of the random flips.
    """
    found = [1.0] * len(differences)
    for n in sorted({len(own) for own in differences if len(own) > 1}):
        signs = _signs(n, rng)
        mine = [i for i, own in enumerate(differences) if len(own) == n]
        for chunk in (mine[start : start + CHUNK] for start in range(0, len(mine), CHUNK)):
            values = np.array([differences[i] for i in chunk], dtype=float)
            # Sums that differ by rounding alone are equal.
            least = np.abs(values.sum(axis=1)) - 1e-9 * np.abs(values).sum(axis=1)
            p = np.mean(np.abs(signs @ values.T) >= least, axis=0)
            for i, value in zip(chunk, p, strict=True):
                found[i] = float(value)
    return found


def _signs(n: int, rng: np.random.Generator) -> Array:
    """Rows of signs, the first all positive: all 2ⁿ, or random ones."""
    if n <= EXACT_UP_TO:
        bits = np.arange(2**n)[:, None] >> np.arange(n) & 1
    else:
        bits = rng.integers(2, size=(1 + FLIPS, n))
        bits[0] = 0
    return np.asarray(1 - 2 * bits, dtype=np.float64)


def signed_rank_test(differences: Sequence[float]) -> float:
    """Two-sided p of Wilcoxon's signed-rank test, exact where ties and zeros allow."""
    values = np.asarray(differences, dtype=float)
    return float(stats.wilcoxon(values).pvalue) if values.any() else 1.0


def smallest_p(n: int) -> float:
    """The smallest p that a two-sided sign-flip or signed-rank test of n pairs can give."""
    return min(1.0, 2.0 ** (1 - n))


def seeds_to_decide(questions: int = 1) -> int:
    """Pairs from which on a sign-flip test can reach `ALPHA`, corrected for several questions."""
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


def paired_claim(differences: Sequence[float], corrected: float, questions: int = 1) -> Claim:
    """What a paired test came to.

    Args:
        differences: of the pairs.
        corrected: p, corrected for all questions asked together.
        questions: how many those are.
    """
    n = len(differences)
    values = np.asarray(differences, dtype=float)
    needed: int | None = seeds_to_decide(questions)
    if n > 1 and not values.any():
        needed = None
    elif n > 1 and np.ptp(values) > 0:
        effect = float(values.mean() / values.std(ddof=1))
        power = seeds_for_effect(effect, ALPHA / questions)
        needed = None if power is None else max(seeds_to_decide(questions), power, n + 1)
    return decide(corrected, n, smallest_p(n) * questions, needed)


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
    """Answer questions that are asked together, with everything there is to say about each."""
    answers, asked = _answers(questions, rng)
    return [
        Pair(
            question.first,
            question.second,
            len(differences),
            mean_interval(differences, rng),
            p,
            signed_rank_test(differences),
            paired_effect_size(differences),
            _improvement(question),
            paired_claim(differences, corrected, asked),
        )
        for question, (differences, p, corrected) in zip(questions, answers, strict=True)
    ]


def verdicts(questions: Sequence[Question], rng: np.random.Generator) -> list[Verdict]:
    """The bare verdicts of `compare`, for many questions."""
    answers, asked = _answers(questions, rng)
    return [
        decide(corrected, len(own), smallest_p(len(own)) * asked, None).verdict
        for own, _, corrected in answers
    ]


def _answers(
    questions: Sequence[Question], rng: np.random.Generator
) -> tuple[list[tuple[list[float], float, float]], int]:
    """Differences, p and corrected p of each question; and for how many p was corrected.

    Holm's correction runs over those with seeds enough to decide anything: the others cannot be
    answered falsely (Tarone, "A Modified Bonferroni Method for Discrete Data", Biometrics 1990).
    """
    differences = [[q.scores[seed] - q.others[seed] for seed in _common(q)] for q in questions]
    p_values = sign_flip_tests(differences, rng)
    decidable = [i for i, own in enumerate(differences) if smallest_p(len(own)) <= ALPHA]
    corrected = list(p_values)
    for i, value in zip(decidable, holm([p_values[i] for i in decidable]), strict=True):
        corrected[i] = value
    return list(zip(differences, p_values, corrected, strict=True)), max(1, len(decidable))


def _common(question: Question) -> list[int]:
    return sorted(seed for seed in question.scores if seed in question.others)


def _improvement(question: Question) -> float | None:
    seeds = _common(question)
    if not seeds:
        return None
    return probability_of_improvement(
        [question.scores[seed] for seed in seeds], [question.others[seed] for seed in seeds]
    )
