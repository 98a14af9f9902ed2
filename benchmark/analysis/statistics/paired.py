"""Paired comparisons on common seeds; all pairs of methods are tested together."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from benchmark.analysis.statistics.claims import ALPHA, Claim, Verdict, decide, seeds_for_effect
from benchmark.analysis.statistics.effect import paired_effect_size, probability_of_improvement
from benchmark.analysis.statistics.intervals import Interval, all_alike, mean_interval
from benchmark.analysis.statistics.sign_flips import (
    Differences,
    Family,
    joint_sign_flips,
    seeds_to_decide,
    smallest_p,
)

Scores = Mapping[int, float]
"""Score by seed. Equal seeds of two methods are a pair."""


@dataclass(frozen=True)
class Pair:
    """Two methods on their common seeds.

    Attributes:
        first, second: the methods.
        n: number of common seeds.
        difference: mean of first − second, with its interval; None when n < 2.
        p: p of the sign-flip test, as if it were the only question.
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

    @property
    def winner_first(self) -> Pair:
        """The same answer, told of the method that was shown to be better, if it is the second."""
        d = self.difference
        if d is None or self.better != self.second:
            return self
        return replace(
            self,
            first=self.second,
            second=self.first,
            difference=d._replace(estimate=-d.estimate, low=-d.high, high=-d.low),
            effect=None if self.effect is None else -self.effect,
            improvement=None if self.improvement is None else 1 - self.improvement,
        )


class Question(NamedTuple):
    """Two methods with their scores by seed."""

    first: str
    second: str
    scores: Scores
    others: Scores

    @property
    def differences(self) -> dict[int, float]:
        """First − second by common seed.

        Raises:
            ValueError: for a score that is not finite, about which no verdict could be true.
        """
        common = sorted(self.scores.keys() & self.others.keys())
        for name, scores in ((self.first, self.scores), (self.second, self.others)):
            for seed in common:
                if not math.isfinite(scores[seed]):
                    raise ValueError(f"the score of '{name}' on seed {seed} is {scores[seed]}")
        return {seed: self.scores[seed] - self.others[seed] for seed in common}


def questions_of_all_pairs(scores: Mapping[str, Scores]) -> list[Question]:
    """Every two methods, in the order given."""
    return [Question(a, b, scores[a], scores[b]) for a, b in itertools.combinations(scores, 2)]


def compare(
    questions: Sequence[Question],
    rng: np.random.Generator,
    within: tuple[float, float] | None = None,
) -> list[Pair]:
    """Answer questions that are asked together: tests, effect sizes and claims.

    Args:
        questions: the whole family.
        rng: generator of random flips and of bootstrap intervals.
        within: the lowest and the highest possible difference; None without bounds.
    """
    differences = [question.differences for question in questions]
    tested = family_test(differences, rng)
    signed_ranks = family_test([_signed_ranks(own) for own in differences], rng).corrected
    return [
        Pair(
            question.first,
            question.second,
            len(own),
            mean_interval(list(own.values()), rng, within=within),
            p,
            p_wilcoxon,
            paired_effect_size(list(own.values())),
            _improvement(question),
            paired_claim(list(own.values()), corrected, tested.level),
        )
        for question, own, p, corrected, p_wilcoxon in zip(
            questions, differences, tested.p, tested.corrected, signed_ranks, strict=True
        )
    ]


def verdicts(questions: Sequence[Question], rng: np.random.Generator) -> list[Verdict]:
    """The verdicts of `compare` alone, which is faster for many questions."""
    differences = [question.differences for question in questions]
    able, tested = _decidable(differences, rng)
    answers: list[Verdict] = ["insufficient"] * len(questions)
    for i, p in zip(able, tested.corrected, strict=True):
        answers[i] = "shown" if p <= ALPHA else "not shown"
    return answers


def family_test(differences: Sequence[Differences], rng: np.random.Generator) -> Family:
    """`joint_sign_flips` of the questions that have seeds enough to be decided.

    The others cannot be answered falsely, so they are no part of the family (Tarone, "A Modified
    Bonferroni Method for Discrete Data", Biometrics 1990); their p is that of the question alone.
    """
    able, tested = _decidable(differences, rng)
    p, corrected = [1.0] * len(differences), [1.0] * len(differences)
    for i, alone, together in zip(able, tested.p, tested.corrected, strict=True):
        p[i], corrected[i] = alone, together
    for i in sorted(set(range(len(differences))) - set(able)):
        p[i] = corrected[i] = joint_sign_flips([differences[i]], rng).p[0]
    return Family(p, corrected, tested.level)


def _decidable(
    differences: Sequence[Differences], rng: np.random.Generator
) -> tuple[list[int], Family]:
    """The places of the questions that can be decided, and their test."""
    fewest = seeds_to_decide()
    able = [i for i, own in enumerate(differences) if len(own) >= fewest]
    return able, joint_sign_flips([differences[i] for i in able], rng)


def _signed_ranks(differences: Differences) -> dict[int, float]:
    """Ranks of the sizes with the signs, of which sign flips are Wilcoxon's signed-rank test.

    Zeros stay zero and have no rank. Wilcoxon, "Individual Comparisons by Ranking Methods",
    Biometrics Bulletin 1945.
    """
    from scipy import stats

    values = np.round(list(differences.values()), 12)  # equal sizes, but for rounding, are ties
    ranks = np.zeros(len(values))
    ranks[values != 0] = stats.rankdata(np.abs(values[values != 0]))
    return dict(zip(differences, (np.sign(values) * ranks).tolist(), strict=True))


def paired_claim(differences: Sequence[float], corrected: float, level: float) -> Claim:
    """The claim of a paired test.

    Args:
        differences: the pairs' differences.
        corrected: p, corrected for all questions asked together.
        level: the level at which one of these questions is tested.
    """
    n = len(differences)
    values = np.asarray(differences, dtype=float)
    needed: int | None = seeds_to_decide()
    if n > 1 and not values.any():
        needed = None
    elif n > 1 and not all_alike(values):
        effect = float(values.mean() / values.std(ddof=1))
        power = seeds_for_effect(effect, level)
        needed = None if power is None else max(seeds_to_decide(), power, n + 1)
    return decide(corrected, n, smallest_p(n), needed)


def _improvement(question: Question) -> float | None:
    seeds = sorted(question.scores.keys() & question.others.keys())
    if not seeds:
        return None
    return probability_of_improvement(
        [question.scores[seed] for seed in seeds], [question.others[seed] for seed in seeds]
    )
