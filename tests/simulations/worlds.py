"""Scores of which the truth is known: what a method's seeds look like in a simulated table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEVEL, CHANCE, DEVIATION = 0.95, 0.10, 0.01
"""Mean score of a student that did not collapse, score of one that did, and s.d. of the first."""
FEWEST = 6
"""Seeds that a method has at least, where some are missing."""
COLLAPSE = 0.15
"""Share of runs that collapse, where nothing else is said."""

Shape = tuple[int, ...]
Errors = Callable[[np.random.Generator, Shape], Array]
"""Draws deviations from a method's score, in units of `DEVIATION`."""


def normal(rng: np.random.Generator, shape: Shape) -> Array:
    """Standard normal errors."""
    return rng.normal(size=shape)


def skewed(rng: np.random.Generator, shape: Shape) -> Array:
    """Errors with a long tail below: minus an exponential, mean 0, s.d. 1."""
    return 1 - rng.exponential(size=shape)


def collapses(rng: np.random.Generator, shape: Shape, share: float = COLLAPSE) -> Array:
    """Normal errors, and a fall to chance with probability ``share``."""
    fall = (LEVEL - CHANCE) / DEVIATION
    return normal(rng, shape) - fall * (rng.random(shape) < share)


def gaps(rng: np.random.Generator, shape: Shape) -> Array:
    """Normal errors; some methods have the first six seeds alone, some the last seven."""
    errors = normal(rng, shape)
    errors[1::4, FEWEST:] = np.nan
    errors[3::4, : max(0, shape[1] - FEWEST - 1)] = np.nan
    return errors


ERRORS: dict[str, Errors] = {
    "normal": normal,
    "skewed": skewed,
    f"{100 * COLLAPSE:.0f} % of runs collapse": collapses,
    "normal, seeds missing": gaps,
}


def tables(
    rng: np.random.Generator, shifts: Sequence[float], n: int, errors: Errors, count: int
) -> Iterator[Array]:
    """Made-up tables, methods × seeds.

    Args:
        rng: generator of the scores.
        shifts: how much better each method is, in s.d.; equal shifts make methods equal.
        n: number of seeds.
        errors: what varies over seeds.
        count: number of tables.
    """
    base = np.asarray(shifts, dtype=float)[:, None]
    for _ in range(count):
        yield base + errors(rng, (len(shifts), n))


def halves(methods: int, apart: float) -> list[float]:
    """Shifts of methods of which the second half is better."""
    return [0.0] * (methods - methods // 2) + [apart] * (methods // 2)
