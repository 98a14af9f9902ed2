"""What tests and intervals make of made-up tables, counted."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmark.analysis.statistics.claims import ALPHA
from benchmark.analysis.statistics.intervals import collapse_bound, mean_interval
from benchmark.analysis.statistics.paired import family_test
from benchmark.analysis.statistics.permutations import joint_permutations
from benchmark.analysis.statistics.ranks import friedman_test
from benchmark.analysis.statistics.sign_flips import smallest_p
from tests.simulations import worlds
from tests.simulations.worlds import Array, Errors, Shape

Pairs = list[tuple[int, int]]
METHODS = (3, 7, 15)
SEEDS = (6, 10)


class Tested(NamedTuple):
    """The benchmark's test of all pairs of a table's rows.

    Attributes:
        p: of every pair, as if asked alone.
        corrected: of every pair, corrected for all of them.
        smallest: the smallest p that these seeds can give to a pair alone.
    """

    p: Array
    corrected: Array
    smallest: float


class Answer(NamedTuple):
    """Which pairs are told apart, and whether any outcome could have told one apart."""

    told: NDArray[np.bool_]
    could: bool


Test = Callable[[Tested], Answer]


def pairs_of(methods: int) -> Pairs:
    """Every two rows."""
    return list(itertools.combinations(range(methods), 2))


def tested(table: Array) -> Tested:
    """Test all pairs of a table, methods × seeds (nan: missing), with the benchmark's own code."""
    gaps = (table[a] - table[b] for a, b in pairs_of(len(table)))
    differences = [{s: float(d) for s, d in enumerate(own) if d == d} for own in gaps]
    found = family_test(differences, np.random.default_rng(0))
    return Tested(np.array(found.p), np.array(found.corrected), smallest_p(table.shape[1]))


def joint(found: Tested) -> Answer:
    """The benchmark's test."""
    return Answer(found.corrected <= ALPHA, found.smallest <= ALPHA)


def holm(found: Tested) -> Answer:
    """The same sign flips, pair by pair, with Holm's correction."""
    return Answer(holms(found.p) <= ALPHA, found.smallest * len(found.p) <= ALPHA)


def alone(found: Tested) -> Answer:
    """The same sign flips without a correction."""
    return Answer(found.p <= ALPHA, found.smallest <= ALPHA)


def holms(p: Array) -> Array:
    """Holm's adjusted p: "A Simple Sequentially Rejective Multiple Test Procedure", 1979."""
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.clip(adjusted, 0.0, 1.0)


class Rates(NamedTuple):
    """Shares over tables, in [0, 1].

    Attributes:
        error: tables in which equal rows were told apart.
        power: pairs of unequal rows that were told apart; nan without such pairs.
    """

    error: float
    power: float


def rates(
    tests: Sequence[Test], shifts: Sequence[float], n: int, errors: Errors, count: int, seed: int
) -> list[Rates]:
    """The rates of each test on the same tables; arguments are those of `worlds.tables`."""
    truth = np.array([shifts[a] == shifts[b] for a, b in pairs_of(len(shifts))])
    wrong = np.zeros(len(tests))
    right: list[list[float]] = [[] for _ in tests]
    for table in worlds.tables(np.random.default_rng(seed), shifts, n, errors, count):
        found = tested(table)
        for i, test in enumerate(tests):
            told = test(found).told
            wrong[i] += told[truth].any()
            if not truth.all():
                right[i].append(float(told[~truth].mean()))
    powers = [float(np.mean(own)) if own else float("nan") for own in right]
    return [Rates(error, power) for error, power in zip(wrong / count, powers, strict=True)]


class Changes(NamedTuple):
    """What a further row does to the pairs of the others, shares in [0, 1].

    Attributes:
        verdicts: pairs whose verdict changes.
        lost: pairs that were told apart and no longer are.
        insufficient: pairs about which nothing can be said any more.
    """

    verdicts: float
    lost: float
    insufficient: float


def added_row(
    tests: Sequence[Test],
    shifts: Sequence[float],
    further: Callable[[Array, np.random.Generator], Array],
    n: int,
    count: int,
    seed: int,
) -> list[Changes]:
    """Compare the verdicts of a table before and after a row is added.

    Args:
        tests: the tests.
        shifts, n, count: see `worlds.tables`; errors are normal.
        further: makes the row from the table.
        seed: of the generator.
    """
    rng = np.random.default_rng(seed)
    old = [i for i, (_, b) in enumerate(pairs_of(len(shifts) + 1)) if b < len(shifts)]
    changes: list[list[tuple[float, float, float]]] = [[] for _ in tests]
    for table in worlds.tables(rng, shifts, n, worlds.normal, count):
        before, after = tested(table), tested(np.vstack([table, further(table, rng)]))
        for i, test in enumerate(tests):
            had, has = test(before), test(after)
            told = has.told[old]
            changes[i].append(
                (
                    float(np.mean(had.told != told)),
                    float(np.mean(had.told & ~told)),
                    float(had.could and not has.could),
                )
            )
    return [Changes(*map(float, np.mean(own, axis=0))) for own in changes]


def copy(table: Array, rng: np.random.Generator) -> Array:
    """The first row once more."""
    first: Array = table[0]
    return first


def like(shift: float, table: Array, rng: np.random.Generator) -> Array:
    """A row of its own, better by ``shift`` s.d. than the first."""
    return worlds.normal(rng, table.shape[1:]) + shift


class Letters(NamedTuple):
    """Shares of tables in which methods of equal mean were told apart.

    Attributes:
        joint: by the benchmark's test.
        holm: by Holm's correction.
        unmet: tables in which the method that collapses did not.
    """

    joint: float
    holm: float
    unmet: float


def rare_collapse(share: float, n: int, count: int, seed: int, methods: int = 2) -> Letters:
    """One method collapses now and then; the others never do, and have the same mean.

    Args:
        share: of its runs that collapse.
        n: number of seeds.
        count: number of tables.
        seed: of the generator.
        methods: number of methods, the collapsing one among them.
    """
    rng = np.random.default_rng(seed)
    fall = (worlds.LEVEL - worlds.CHANCE) / worlds.DEVIATION
    found: list[list[bool]] = []
    for _ in range(count):
        table = rng.normal(size=(methods, n))
        lost = rng.random(n) < share
        table[0] -= fall * lost
        table[1:] -= fall * share
        answers = tested(table)
        told, by_holm = joint(answers).told, holm(answers).told
        equal = slice(methods - 1)  # the pairs of the first method
        found.append([bool(own.any()) for own in (told[equal], by_holm[equal])] + [not lost.any()])
    return Letters(*(float(value) for value in np.mean(found, axis=0)))


class Coverage(NamedTuple):
    """Shares of tables, in [0, 1], in which an interval holds the truth.

    Attributes:
        interval: the interval of the mean, as it is shown, holds the mean.
        uncut: the same interval before it is cut to what a score can be.
        bound: the bound of the collapse rate is no lower than the rate.
    """

    interval: float
    uncut: float
    bound: float


def coverage(share: float, n: int, count: int, seed: int) -> Coverage:
    """Intervals of the mean score of a method of which a share of the runs collapses."""
    rng = np.random.default_rng(seed)
    mean = worlds.LEVEL - share * (worlds.LEVEL - worlds.CHANCE)
    held = []
    for _ in range(count):
        lost = rng.random(n) < share
        fine = worlds.LEVEL + worlds.DEVIATION * rng.normal(size=n)
        scores = np.where(lost, worlds.CHANCE, np.clip(fine, 0, 1)).tolist()
        cut, uncut = mean_interval(scores), mean_interval(scores, within=None)
        assert cut is not None
        assert uncut is not None
        held.append(
            [
                cut.low <= mean <= cut.high,
                uncut.low <= mean <= uncut.high,
                collapse_bound(int(lost.sum()), n) >= share,
            ]
        )
    return Coverage(*(float(value) for value in np.mean(held, axis=0)))


def _steady(rng: np.random.Generator, shape: Shape) -> Array:
    return 0.6 + 0.05 * rng.normal(size=shape)


def _failing(rng: np.random.Generator, shape: Shape) -> Array:
    fine = 0.8 + 0.05 * rng.normal(size=shape)
    return np.where(rng.random(shape) < 0.25, 0.0, fine)


DRAWS: dict[str, Callable[[np.random.Generator, int, int], Array]] = {
    "all equal, uniform": lambda rng, k, n: rng.random((k, n)),
    "all equal, a quarter at chance": lambda rng, k, n: _failing(rng, (k, n)),
    "all but one equal, that one at chance": lambda rng, k, n: np.vstack(
        [np.zeros((1, n)), _steady(rng, (k - 1, n))]
    ),
    "all but one equal, that one spread widely": lambda rng, k, n: np.vstack(
        [0.3 * rng.random((1, n)), _steady(rng, (k - 1, n))]
    ),
    "equal means, one method with a quarter at chance": lambda rng, k, n: np.vstack(
        [_failing(rng, (1, n)), _steady(rng, (k - 1, n))]
    ),
}
"""Normalised scores of random draws, methods × draws."""

MEANS_ALONE = "equal means, one method with a quarter at chance"
"""The world whose methods have equal means and not one distribution."""
UNEQUAL_FIRST = frozenset(name for name in DRAWS if name.startswith("all but one"))
"""Worlds in which the first method differs, so that telling it apart is no error."""


def draws(world: str, methods: int, n: int, count: int, seed: int, permutations: int) -> float:
    """Share of tables in which methods of equal mean robustness were told apart.

    Args:
        world: one of `DRAWS`.
        methods: number of methods.
        n: number of draws of each.
        count: number of tables.
        seed: of the generator.
        permutations: number of random divisions a table.
    """
    rng = np.random.default_rng(seed)
    wrong = 0
    for _ in range(count):
        samples = DRAWS[world](rng, methods, n).tolist()
        found = joint_permutations(samples, rng, permutations).corrected
        wrong += any(
            p <= ALPHA for (a, _), p in found.items() if a > 0 or world not in UNEQUAL_FIRST
        )
    return wrong / count


def friedman(methods: int, blocks: int, count: int, seed: int, orders: int) -> tuple[float, float]:
    """Share of tables of equal methods in which they differ: by orders, and by χ²."""
    rng = np.random.default_rng(seed)
    ranks = 1.0 + np.arange(methods)
    wrong = [0, 0]
    for _ in range(count):
        table = rng.permuted(np.tile(ranks, (blocks, 1)), axis=1)
        wrong[0] += friedman_test(table, rng, orders) <= ALPHA
        wrong[1] += float(stats.friedmanchisquare(*table.T).pvalue) <= ALPHA
    return wrong[0] / count, wrong[1] / count


FURTHER: dict[str, Callable[[Array, np.random.Generator], Array]] = {
    "a copy of a row": copy,
    "a row far above all others": partial(like, 50.0),
    "one more of the better rows": partial(like, 2.0),
    "one more of the worse rows": partial(like, 0.0),
}
"""Rows that are added to a table of `worlds.halves`, two s.d. apart."""
