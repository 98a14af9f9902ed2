"""Joint permutations with step-down maxima: all pairs of independent samples at once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
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


def joint_permutations(samples: Sequence[Sequence[float]], rng: np.random.Generator) -> Divisions:
    """Test that samples have equal means, all pairs together.

    Values are not paired, so they are divided anew among all samples; the statistic of a pair is
    Welch's t. A statistic divided by its own standard error keeps its size where two samples have
    equal means and different spreads (Janssen, "Studentized Permutation Tests for Non-i.i.d.
    Hypotheses", Statist. Probab. Lett. 1997), and depends little on what the other samples add to
    the pool. The p values step down from the largest statistic, as in
    `benchmark.analysis.statistics.sign_flips.joint_sign_flips`.

    Args:
        samples: at least two values each.
        rng: generator of the divisions.
    """
    pairs = list(itertools.combinations(range(len(samples)), 2))
    if not pairs:
        return Divisions({}, ALPHA)
    sizes = np.array([len(own) for own in samples])
    pooled = np.concatenate([np.asarray(own, dtype=float) for own in samples])
    spread = pooled.std()
    pooled = (pooled - pooled.mean()) / (spread if spread > 0 else 1.0)
    observed = _statistics(pooled[None], sizes, pairs)[0]
    least = observed - 1e-9
    order = np.argsort(observed, kind="stable")
    counts = np.ones(len(pairs))
    maxima = [observed[order[-1:]]]
    step = max(1, CELLS // len(pooled))
    for start in range(0, PERMUTATIONS, step):
        rows = min(step, PERMUTATIONS - start)
        divided = rng.permuted(np.tile(pooled, (rows, 1)), axis=1)
        largest = np.maximum.accumulate(_statistics(divided, sizes, pairs)[:, order], axis=1)
        counts[order] += np.count_nonzero(largest >= least[order], axis=0)
        maxima.append(largest[:, -1])
    falling = order[::-1]
    counts[falling] = np.maximum.accumulate(counts[falling])
    corrected = dict(zip(pairs, (counts / (1 + PERMUTATIONS)).tolist(), strict=True))
    return Divisions(corrected, _level(np.concatenate(maxima), int(sizes.min()), len(pairs)))


def _statistics(rows: Array, sizes: Array, pairs: Sequence[tuple[int, int]]) -> Array:
    """t² / (1 + t²) of Welch's t for every pair, in [0, 1]; 0 where nothing differs.

    Args:
        rows: divisions × pooled values, the samples one after the other.
        sizes: of the samples.
        pairs: places of the two samples.
    """
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(int)
    sums = np.add.reduceat(rows, starts, axis=1)
    means = sums / sizes
    squares = np.add.reduceat(np.square(rows), starts, axis=1)
    variances = np.maximum(squares - sums * means, 0.0) / (sizes - 1) / sizes
    first, second = np.array(pairs).T
    gaps = np.square(means[:, first] - means[:, second])
    totals = gaps + variances[:, first] + variances[:, second]
    return np.where(gaps > ROUNDING, gaps / np.where(totals > 0, totals, 1.0), 0.0)


def _level(maxima: Array, smallest: int, pairs: int) -> float:
    """The two-sided p of a single pair at which the largest statistic is significant."""
    allowed = math.floor(ALPHA * len(maxima))
    critical = min(float(np.partition(maxima, -allowed)[-allowed]), 1 - 1e-9)
    t = math.sqrt(critical / (1 - critical))
    level = 2 * float(special.stdtr(2 * smallest - 2, -t))
    return min(ALPHA, max(ALPHA / pairs, level))


def smallest_p(n: int, m: int) -> float:
    """The smallest p that dividing n and m values in other ways can give."""
    if min(n, m) < 2:
        return 1.0
    return min(1.0, 2 / min(math.comb(n + m, n), 1 + PERMUTATIONS))
