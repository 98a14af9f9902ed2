"""Joint permutations with step-down maxima: all pairs of independent samples at once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from benchmark.analysis.statistics.claims import ALPHA
from benchmark.analysis.statistics.intervals import Array

PERMUTATIONS = 19_999
"""Random divisions of the pooled values into samples of the same sizes."""
CELLS = 2**18
"""Values that are permuted at a time; about as many as a processor's cache holds."""
ROUNDING = 1e-12
"""Variances of pooled values scaled to unit variance that are zero but for rounding."""


class Divisions(NamedTuple):
    """The outcome of `joint_permutations`.

    Attributes:
        corrected: p of every pair of samples, corrected for all pairs, by their places.
        level: the level at which a single pair is tested, in (0, `ALPHA`].
    """

    corrected: dict[tuple[int, int], float]
    level: float


def joint_permutations(
    samples: Sequence[Sequence[float]],
    rng: np.random.Generator,
    permutations: int = PERMUTATIONS,
) -> Divisions:
    """Test that samples have one distribution, all pairs together.

    Values are not paired, so they are divided anew among the samples; the statistic of a pair is
    Welch's t. The p values step down from the largest statistic, as in
    `benchmark.analysis.statistics.sign_flips.joint_sign_flips`. A sample that was told apart from
    all others takes no further part in the divisions: samples are pooled only with those that
    pairs which are still open connect them to.

    The test is of distributions, and exact for them. Because t is divided by its own standard
    error, the test is nearly one of means (Janssen, "Studentized Permutation Tests for Non-i.i.d.
    Hypotheses", Statist. Probab. Lett. 1997).

    Args:
        samples: at least two values each.
        rng: generator of the divisions.
        permutations: number of random divisions.
    """
    pairs = list(itertools.combinations(range(len(samples)), 2))
    if not pairs:
        return Divisions({}, ALPHA)
    values = [np.asarray(own, dtype=float) for own in samples]
    observed = _divided(values, pairs, 0, rng)[:, 0]
    order = np.argsort(-observed, kind="stable")
    falling, least = [pairs[i] for i in order], observed[order] - 1e-9
    corrected: dict[tuple[int, int], float] = {}
    known: list[set[int]] | None = None
    largest, first, p, level = np.zeros((1, 1)), 0, 0.0, ALPHA
    for place, pair in enumerate(falling):
        parts = _connected(falling[place:])
        # Beyond the level nothing is told apart: all further p come of the same divisions.
        if known is None or (parts != known and p <= ALPHA):
            found = np.empty((len(falling) - place, 1 + permutations))
            for part in parts:
                inside = [i for i, own in enumerate(falling[place:]) if own[0] in part]
                found[inside] = _divided(
                    values, [falling[place + i] for i in inside], permutations, rng
                )
            if known is None:
                level = _level(found.max(axis=0), min(map(len, values)), len(pairs))
            # Row by row, the largest of this pair's statistic and of all after it.
            largest, first, known = np.maximum.accumulate(found[::-1], axis=0)[::-1], place, parts
        p = max(p, float(np.mean(largest[place - first] >= least[place])))
        corrected[pair] = p
    return Divisions({pair: corrected[pair] for pair in pairs}, level)


def _connected(pairs: Sequence[tuple[int, int]]) -> list[set[int]]:
    """The samples that pairs connect, directly or by others, in groups."""
    groups: list[set[int]] = []
    for pair in pairs:
        touched = [group for group in groups if not group.isdisjoint(pair)]
        groups = [group for group in groups if group.isdisjoint(pair)]
        groups.append(set(pair).union(*touched))
    return sorted(groups, key=min)


def _divided(
    values: Sequence[Array],
    pairs: Sequence[tuple[int, int]],
    permutations: int,
    rng: np.random.Generator,
) -> Array:
    """Statistics of pairs (rows) as the samples are, and in random divisions of their values."""
    chosen = sorted(set(itertools.chain.from_iterable(pairs)))
    sizes = np.array([len(values[i]) for i in chosen])
    places = np.array([[chosen.index(a), chosen.index(b)] for a, b in pairs])
    pooled = np.concatenate([values[i] for i in chosen])
    spread = pooled.std()
    pooled = (pooled - pooled.mean()) / (spread if spread > 0 else 1.0)
    found = [_statistics(pooled[None], sizes, places)]
    step = max(1, CELLS // len(pooled))
    for start in range(0, permutations, step):
        rows = np.tile(pooled, (min(step, permutations - start), 1))
        found.append(_statistics(rng.permuted(rows, axis=1), sizes, places))
    return np.concatenate(found).T


def _statistics(rows: Array, sizes: NDArray[np.int64], pairs: NDArray[np.int64]) -> Array:
    """t² / (1 + t²) of Welch's t for every pair, in [0, 1]; 0 where nothing differs.

    Args:
        rows: divisions × pooled values, the samples one after the other.
        sizes: of the samples.
        pairs: places of the two samples, pairs × 2.
    """
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(int)
    sums = np.add.reduceat(rows, starts, axis=1)
    means = sums / sizes
    squares = np.add.reduceat(np.square(rows), starts, axis=1)
    variances = np.maximum(squares - sums * means, 0.0) / (sizes - 1) / sizes
    first, second = pairs.T
    gaps = np.square(means[:, first] - means[:, second])
    totals = gaps + variances[:, first] + variances[:, second]
    found: Array = np.where(gaps > ROUNDING, gaps / np.where(totals > 0, totals, 1.0), 0.0)
    return found


def _level(maxima: Array, smallest: int, pairs: int) -> float:
    """The two-sided p of a single pair at which the largest statistic is significant."""
    allowed = max(1, math.floor(ALPHA * len(maxima)))
    critical = min(float(np.partition(maxima, -allowed)[-allowed]), 1 - 1e-9)
    t = math.sqrt(critical / (1 - critical))
    level = 2 * float(special.stdtr(2 * smallest - 2, -t))
    return min(ALPHA, max(ALPHA / pairs, level))


def smallest_p(n: int, m: int) -> float:
    """The smallest p that dividing n and m values in other ways can give."""
    if min(n, m) < 2:
        return 1.0
    return min(1.0, 2 / min(math.comb(n + m, n), 1 + PERMUTATIONS))
