"""Joint sign flips with step-down maxima: every question of a family is tested at once.

Westfall and Young, "Resampling-Based Multiple Testing", 1993; Romano and Wolf, "Exact and
Approximate Stepdown Methods for Multiple Hypothesis Testing", JASA 2005.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from benchmark.analysis.statistics.claims import ALPHA
from benchmark.analysis.statistics.intervals import Array

EXACT_UP_TO = 14
"""Number of seeds up to which all 2ⁿ flips of signs are tried; with more, `FLIPS` random ones."""
FLIPS = 19999
CELLS = 2**15
"""Statistics that are in memory at a time; about as many as a processor's cache holds."""
ALIKE = 1e-9
"""Least 1 − r²: differences that vary by less than a thirty-thousandth of their mean are equal."""

Differences = Mapping[int, float]
"""Difference of two methods by seed."""


class Family(NamedTuple):
    """The outcome of `joint_sign_flips`.

    Attributes:
        p: two-sided p of each question as if asked alone.
        corrected: p of each question, corrected for all of them.
        level: the level at which a single question of this family is tested, in (0, `ALPHA`].
    """

    p: list[float]
    corrected: list[float]
    level: float


def joint_sign_flips(differences: Sequence[Differences], rng: np.random.Generator) -> Family:
    """Test that differences are symmetric about zero, all questions together.

    A flip draws one sign for every seed and gives it to that seed's differences in **all**
    questions, so that the questions keep their dependence. The statistic of a question is Student's
    t of its differences, as a normal score, so that questions with different numbers of seeds can
    be compared. The largest statistic is compared with the largest of all questions in every flip,
    the second largest with the largest of all but the first, and so on (step-down max-T).

    The flips are all 2ⁿ up to `EXACT_UP_TO` seeds. The smallest corrected p is then 2 / 2ⁿ, however
    many questions there are. A question whose differences are all zero has p = 1, and takes nothing
    from the others. Neither does a copy of a question.

    Args:
        differences: differences by seed, for each question; an empty one has p = 1.
        rng: generator of the random flips.
    """
    count = len(differences)
    seeds = sorted(set().union(*differences)) if differences else []
    if not seeds:
        return Family([1.0] * count, [1.0] * count, ALPHA)
    place = {seed: i for i, seed in enumerate(seeds)}
    # A seed that a question lacks adds zero to its sums, whatever the sign.
    values = np.zeros((count, len(seeds)))
    for row, own in zip(values, differences, strict=True):
        row[[place[seed] for seed in own]] = list(own.values())
    sizes = np.array([max(1, len(own)) for own in differences])
    norms = np.sqrt(sizes * np.square(values).sum(axis=1))
    units = values / np.where(norms > 0, norms, 1.0)[:, None]
    signs = _signs(len(seeds), rng)
    observed = _statistics(units @ signs[:, :1], sizes)[:, 0]
    order = np.argsort(observed, kind="stable")
    units, sizes, observed = units[order], sizes[order], observed[order]
    least = observed * (1 - 1e-6) - 1e-12  # statistics that differ by rounding alone are equal
    alone, together = np.zeros(count), np.zeros(count)
    maxima = []
    flips = signs.shape[1]
    step = max(1, CELLS // count)
    for start in range(0, flips, step):
        found = _statistics(units @ signs[:, start : start + step], sizes)
        alone += np.count_nonzero(found >= least[:, None], axis=1)
        np.maximum.accumulate(found, axis=0, out=found)
        together += np.count_nonzero(found >= least[:, None], axis=1)
        maxima.append(found[-1].copy())
    # From the largest statistic down, no p is below the one before it.
    together = np.maximum.accumulate(together[::-1])[::-1]
    p, corrected = np.empty(count), np.empty(count)
    p[order], corrected[order] = alone / flips, together / flips
    return Family(p.tolist(), corrected.tolist(), _level(np.concatenate(maxima), count))


def sign_flip_test(differences: Sequence[float], rng: np.random.Generator) -> float:
    """Two-sided p of one question: Fisher, "The Design of Experiments", 1935."""
    return joint_sign_flips([dict(enumerate(differences))], rng).p[0]


def _signs(n: int, rng: np.random.Generator) -> Array:
    """Signs of the seeds (rows) in every flip, the first all positive: half of all 2ⁿ, or random.

    The other half mirrors them, and its statistics are the same.
    """
    if n <= EXACT_UP_TO:
        bits = np.arange(2 ** (n - 1)) >> np.arange(n)[:, None] & 1
    else:
        bits = rng.integers(2, size=(n, 1 + FLIPS))
        bits[:, 0] = 0
    return np.asarray(1 - 2 * bits, dtype=np.float64)


def _statistics(cosines: Array, sizes: Array) -> Array:
    """Squares of the normal scores of Student's t, from r = Σd / √(n Σd²) in [−1, 1].

    t² / (n − 1) is r² / (1 − r²), and the normal score is Wallace's, z² = k² ν ln(1 + t² / ν) with
    ν = n − 1 and k = (8ν + 1) / (8ν + 3) ("Bounds on Normal Approximations to Student's and the
    Chi-Square Distributions", Ann. Math. Statist. 1959).

    Args:
        cosines: r, questions × flips.
        sizes: number of differences of each question.
    """
    freedom = sizes - 1.0
    scale = -freedom * ((8 * freedom + 1) / (8 * freedom + 3)) ** 2
    found: Array = np.maximum(1 - np.square(cosines), ALIKE)
    np.log(found, out=found)
    found *= scale[:, None]
    return found


def _level(maxima: Array, questions: int) -> float:
    """The two-sided p of a single question at which the largest of a family is significant."""
    allowed = max(1, math.floor(ALPHA * len(maxima)))
    critical = float(np.partition(maxima, -allowed)[-allowed])
    level = float(2 * ndtr(-math.sqrt(critical)))
    return min(ALPHA, max(ALPHA / questions, level))


def smallest_p(n: int) -> float:
    """The smallest p that two-sided sign flips of n seeds can give, however many questions."""
    exact = min(1.0, 2.0 ** (1 - n))
    return exact if n <= EXACT_UP_TO else max(exact, 1 / (1 + FLIPS))


def seeds_to_decide() -> int:
    """Fewest common seeds with which sign flips can reach `ALPHA`."""
    return math.ceil(1 + math.log2(1 / ALPHA))
