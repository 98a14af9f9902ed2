"""Ranks with intervals, significance groups, and the agreement of many blocks on an order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import special

from benchmark.analysis.statistics.claims import ALPHA, MOST_SEEDS, POWER, Claim, decide
from benchmark.analysis.statistics.intervals import RESAMPLES, Array
from benchmark.analysis.statistics.sign_flips import CELLS, seeds_to_decide

if TYPE_CHECKING:
    import pandas as pd

FEWEST_BLOCKS = 10
"""Fewest blocks for Nemenyi's test, which is asymptotic (Demšar, JMLR 2006, Sec. 3.2.2)."""
EXACT_STEPS = 500_000
"""Most sums of ranks times orders that are enumerated at a time; beyond, orders are random."""
ORDERS = 19_999
"""Random orders of the methods in every block, where there are too many to enumerate."""


def rank_draws(
    scores: Sequence[Mapping[int, float]], rng: np.random.Generator, confidence: float = 0.95
) -> NDArray[np.int64]:
    """The ranks by mean score in every resample of a bootstrap over seeds, 1 the best.

    Equal seeds are pairs: methods with the same seeds are resampled together, so that an effect
    which a seed has on all of them moves no rank.

    Deviations of resampled means are stretched by √(n/(n−1)) · t/z, so that a mean's interval is
    as wide as Student's. Without it, three seeds would give far too narrow intervals of ranks
    (Hesterberg, "What Teachers Should Know About the Bootstrap", The American Statistician 2015,
    Sec. 4.1.3).

    Args:
        scores: scores by seed, at least one, for each method; a single score does not vary.
        rng: generator of the resamples.
        confidence: level of the intervals that will be taken from the ranks.

    Returns:
        `RESAMPLES` × methods.
    """
    means, chosen = [], {}
    for own in scores:
        seeds, n = tuple(sorted(own)), len(own)
        if seeds not in chosen:
            chosen[seeds] = rng.integers(n, size=(RESAMPLES, n))
        values = np.array([own[seed] for seed in seeds], dtype=float)
        drawn = values[chosen[seeds]].mean(axis=1)
        means.append(values.mean() + _stretch(n, confidence) * (drawn - values.mean()))
    return _ranks_of(np.stack(means, axis=1))


def _ranks_of(drawn: Array) -> NDArray[np.int64]:
    """Ranks of the values within their row: 1 + the number of larger values."""
    order = np.argsort(-drawn, axis=1)
    falling = np.take_along_axis(drawn, order, axis=1)
    places = np.tile(np.arange(1, drawn.shape[1] + 1, dtype=np.int64), (len(drawn), 1))
    # Equal values have the place of the first of them.
    places[:, 1:][falling[:, 1:] == falling[:, :-1]] = 0
    found = np.empty_like(places)
    np.put_along_axis(found, order, np.maximum.accumulate(places, axis=1), axis=1)
    return found


def rank_intervals(
    scores: Sequence[Mapping[int, float]], rng: np.random.Generator, confidence: float = 0.95
) -> list[tuple[int, int]]:
    """The ranks by mean score that a bootstrap over seeds cannot tell apart, 1 the best.

    Args:
        scores, rng: see `rank_draws`.
        confidence: level of each interval.

    Returns:
        Lowest and highest rank of each method.
    """
    tails = [0.5 - confidence / 2, 0.5 + confidence / 2]
    low, high = np.quantile(
        rank_draws(scores, rng, confidence), tails, axis=0, method="inverted_cdf"
    )
    return [(int(a), int(b)) for a, b in zip(low, high, strict=True)]


@cache
def _stretch(n: int, confidence: float) -> float:
    if n < 2:
        return 1.0
    quantile = 0.5 + confidence / 2
    return float(
        math.sqrt(n / (n - 1)) * special.stdtrit(n - 1, quantile) / special.ndtri(quantile)
    )


def letters(names: Sequence[str], different: Collection[frozenset[str]]) -> dict[str, str]:
    """Compact letter display: two names share a letter unless they are in ``different``.

    Piepho, "An Algorithm for a Letter-Based Representation of All-Pairwise Comparisons", J. Comp.
    Graph. Statist. 2004: insert and absorb.

    Args:
        names: in the order in which letters are given out.
        different: the pairs that were told apart.
    """
    columns = [set(names)]
    for pair in sorted(different, key=lambda pair: sorted(map(names.index, pair))):
        split = [column - {name} for column in columns if pair <= column for name in pair]
        kept = [column for column in columns if not pair <= column]
        columns = []
        for column in sorted([*kept, *split], key=len, reverse=True):
            if not any(column <= other for other in columns):
                columns.append(column)
    columns.sort(key=lambda column: sorted(map(names.index, column)))
    return {
        name: "".join(_letter(i) for i, column in enumerate(columns) if name in column)
        for name in names
    }


def _letter(index: int) -> str:
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    return alphabet[index % 26] + ("" if index < 26 else str(index // 26))


@dataclass(frozen=True)
class Agreement:
    """Whether blocks (seeds) agree on an order of methods.

    Attributes:
        mean_ranks: mean rank by method, 1 the best; empty without blocks.
        concordance: Kendall's W, from 0 (no agreement) to 1; None without ranks to compare.
        claim: Friedman's test that some method differs.
        critical_difference: Nemenyi's critical difference of mean ranks at `ALPHA`.
        nemenyi: p of every pair, methods by methods; None unless the claim is shown and there are
            `FEWEST_BLOCKS` blocks.
    """

    mean_ranks: dict[str, float]
    concordance: float | None
    claim: Claim
    critical_difference: float
    nemenyi: pd.DataFrame | None


def block_agreement(blocks: Mapping[str, Sequence[float]], rng: np.random.Generator) -> Agreement:
    """Friedman's test with Kendall's W, and Nemenyi's test of all pairs where it is valid.

    Demšar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 2006. The p of
    Friedman's test is that of `friedman_test`. It says *insufficient* with fewer than three methods
    or than `seeds_to_decide` blocks.

    Args:
        blocks: scores of each method in the same blocks, in the same order.
        rng: generator of random orders.
    """
    from scipy import stats

    table = np.asarray(list(blocks.values()), dtype=float).T
    n, k = table.shape
    fewest = seeds_to_decide()
    if n == 0:
        return Agreement({}, None, Claim("insufficient", None, 0, fewest), math.inf, None)
    ranks = stats.rankdata(-table, axis=1)
    mean_ranks = dict(zip(blocks, map(float, ranks.mean(axis=0)), strict=True))
    critical = critical_difference(k, n)
    if k < 3 or n < fewest:
        return Agreement(mean_ranks, None, Claim("insufficient", None, n, fewest), critical, None)
    concordance = kendalls_w(ranks)
    needed = _blocks_to_show(concordance, k)
    needed = None if needed is None else max(needed, n + 1)
    claim = decide(friedman_test(ranks, rng), n, 0.0, needed)
    nemenyi = None
    if claim.shown and n >= FEWEST_BLOCKS and critical <= k - 1:
        import pandas as pd
        from scikit_posthocs import posthoc_nemenyi_friedman

        nemenyi = posthoc_nemenyi_friedman(pd.DataFrame(table, columns=list(blocks)))
    return Agreement(mean_ranks, concordance, claim, critical, nemenyi)


def friedman_test(ranks: Array, rng: np.random.Generator, orders: int = ORDERS) -> float:
    """p of Friedman's test: the share of orders of the ranks that agree as much, or more.

    All orders of the ranks in every block are equally likely where no method differs. They are
    enumerated where `EXACT_STEPS` allows, by the distribution of the sums of ranks; elsewhere
    random ones are drawn. Friedman, "The Use of Ranks to Avoid the Assumption of Normality
    Implicit in the Analysis of Variance", JASA 1937.

    Args:
        ranks: blocks × methods, tied ranks their mean.
        rng: generator of the random orders.
        orders: number of random orders.
    """
    n, k = ranks.shape
    doubled = np.rint(2 * ranks).astype(np.int64)  # ranks of ties are halves
    middle = n * (k + 1)
    observed = int(np.square(doubled.sum(axis=0) - middle).sum())
    exact = _exact_tail(doubled, observed, middle)
    if exact is not None:
        return exact
    count, step = 1, max(1, CELLS // doubled.size)
    for start in range(0, orders, step):
        rows = min(step, orders - start)
        drawn = rng.permuted(np.tile(doubled, (rows, 1, 1)), axis=2).sum(axis=1)
        count += int(np.count_nonzero(np.square(drawn - middle).sum(axis=1) >= observed))
    return count / (1 + orders)


def _exact_tail(doubled: NDArray[np.int64], observed: int, middle: int) -> float | None:
    """Share of all orders whose sums are as far from their mean; None where there are too many.

    Sums are kept in rising order, because the statistic does not know which method has which.
    """
    k = doubled.shape[1]
    if math.factorial(k) > EXACT_STEPS:
        return None
    orders = np.array(list(itertools.permutations(range(k))))
    sums: NDArray[np.int64] = np.zeros((1, k), dtype=np.int64)
    shares: Array = np.ones(1)
    for block in doubled:
        steps = block[orders]
        if len(sums) * len(steps) > EXACT_STEPS:
            return None
        reached = np.sort((sums[:, None] + steps[None]).reshape(-1, k), axis=1)
        # One number for all sums of a row makes the search for equal rows fast.
        base = int(reached.max()) + 1
        if base**k > np.iinfo(np.int64).max:
            return None
        _, first, places = np.unique(
            reached @ base ** np.arange(k), return_index=True, return_inverse=True
        )
        sums = reached[first]
        parts = np.repeat(shares / len(steps), len(steps))
        shares = np.bincount(places.ravel(), parts).astype(np.float64)
    far = np.square(sums - middle).sum(axis=1) >= observed
    return min(1.0, float(shares[far].sum()))


def _blocks_to_show(concordance: float, methods: int) -> int | None:
    """Blocks in which Friedman's test would show the observed concordance with `POWER`.

    From the noncentral χ² with noncentrality N (k − 1) W; None above `MOST_SEEDS`.
    """
    from scipy import optimize, stats

    critical = stats.chi2.ppf(1 - ALPHA, methods - 1)
    needed = optimize.brentq(
        lambda shift: stats.ncx2.sf(critical, methods - 1, shift) - POWER, 1e-6, 100.0
    )
    if needed > MOST_SEEDS * (methods - 1) * concordance:
        return None
    return math.ceil(needed / ((methods - 1) * concordance))


def kendalls_w(ranks: Array) -> float:
    """Kendall's coefficient of concordance of ranks (blocks × methods), corrected for ties.

    Kendall and Babington Smith, "The Problem of m Rankings", 1939; 0 when all ranks are tied.
    """
    n, k = ranks.shape
    deviation = float(((ranks.sum(axis=0) - n * (k + 1) / 2) ** 2).sum())
    counts = [np.unique(row, return_counts=True)[1] for row in ranks]
    ties = sum(float((count**3 - count).sum()) for count in counts)
    largest = n**2 * (k**3 - k) - n * ties
    return 12 * deviation / largest if largest else 0.0


def critical_difference(methods: int, blocks: int) -> float:
    """Nemenyi's critical difference: mean ranks further apart differ at `ALPHA`.

    q / √2 · √(k (k + 1) / 6 N).
    """
    return (
        _studentized_range(methods)
        / math.sqrt(2)
        * math.sqrt(methods * (methods + 1) / (6 * blocks))
    )


@cache
def _studentized_range(methods: int) -> float:
    from scipy import stats

    return float(stats.studentized_range.ppf(1 - ALPHA, methods, np.inf))
