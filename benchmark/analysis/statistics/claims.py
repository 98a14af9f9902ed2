"""The outcome of a test: shown, not shown, or insufficient seeds to decide."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from scipy.special import ndtri

Verdict = Literal["shown", "not shown", "insufficient"]

ALPHA = 0.05
POWER = 0.8
MOST_SEEDS = 1000
"""Largest number of needed seeds that is reported; more than that helps nobody to plan."""


@dataclass(frozen=True)
class Claim:
    """The answer to one question about a difference.

    Attributes:
        verdict: *shown*: p is at most `ALPHA`; *not shown*: p could have been, but is not;
            *insufficient*: no outcome with so few seeds could have given such a p.
        p: p value, corrected for the number of questions asked together; None when nothing was
            computed.
        n: number of seeds (or blocks, or runs of the smaller group) behind it.
        seeds_needed: number of seeds that would show a difference as large as the observed one with
            probability `POWER`; None when shown, or when it is more than `MOST_SEEDS`.
    """

    verdict: Verdict
    p: float | None
    n: int
    seeds_needed: int | None = None

    @property
    def shown(self) -> bool:
        """Whether the difference was shown."""
        return self.verdict == "shown"

    @property
    def words(self) -> str:
        """The verdict with p, n and the number of seeds it would take."""
        p = "" if self.p is None else f"p {format_p(self.p)}, "
        if self.shown:
            return f"shown ({p}n = {self.n})"
        needed = about_seeds(self.seeds_needed)
        return f"{self.verdict} ({p}n = {self.n}; it would take {needed})"


def about_seeds(needed: int | None) -> str:
    """``about 35 seeds``, or ``more than 1,000 seeds`` for None."""
    return f"more than {MOST_SEEDS:,} seeds" if needed is None else f"about {needed} seeds"


def decide(p: float, n: int, attainable: float, seeds_needed: int | None) -> Claim:
    """A claim from a corrected p and the smallest p that n seeds could have given.

    Args:
        p: two-sided p, corrected.
        n: number of seeds.
        attainable: the smallest corrected p of any outcome with n seeds.
        seeds_needed: see `Claim`.
    """
    if attainable > ALPHA:
        return Claim("insufficient", p, n, seeds_needed)
    if p <= ALPHA:
        return Claim("shown", p, n)
    return Claim("not shown", p, n, seeds_needed)


def seeds_for_effect(effect: float, alpha: float = ALPHA) -> int | None:
    """Pairs a two-sided paired t-test needs to show a standardised difference with `POWER`.

    ((z₁₋α⸝₂ + z_power) / effect)² + z²₁₋α⸝₂ / 2: Guenther, "Sample Size Formulas for Normal Theory
    T Tests", The American Statistician 1981.

    Args:
        effect: mean of the differences, divided by their standard deviation.
        alpha: level of the test.

    Returns:
        The number, or None above `MOST_SEEDS`.
    """
    quantile, power = float(ndtri(1 - alpha / 2)), float(ndtri(POWER))
    if abs(effect) < (quantile + power) / math.sqrt(MOST_SEEDS):
        return None
    return math.ceil(((quantile + power) / effect) ** 2 + quantile**2 / 2)


def format_p(p: float) -> str:
    """``= 0.031`` or ``< 0.001``."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
