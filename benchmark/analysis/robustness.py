"""How a method fares away from its chosen settings, and how steadily its generator trains."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np
from scipy import stats

from benchmark.analysis.statistics.claims import ALPHA, Claim, decide, seeds_for_effect
from benchmark.analysis.statistics.intervals import t_interval
from benchmark.analysis.statistics.paired import holm
from benchmark.analysis.statistics.profiles import normalised
from benchmark.records import FAILED, SCORED, Record, canonical

ROBUSTNESS = "robustness"
"""The column's name."""


def robustness_scores(records: Sequence[Record]) -> dict[str, list[float]]:
    """Scores of random draws from each method's tuning ranges; their mean is its robustness.

    A score is (student's − chance) / (teacher's − chance), cut to [0, 1] and averaged over the
    seeds of a draw; a failed run scores 0. The mean over draws is the area under their
    performance profile.

    Args:
        records: of one task, budget and teacher; only those of random draws count.

    Returns:
        By method, a score for every draw.
    """
    runs: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for record in records:
        if record.spec.purpose != "draw" or record.status not in SCORED | FAILED:
            continue
        chance = record.teacher.chance
        reached = record.score if record.status in SCORED else None
        (score,) = normalised(
            [chance if reached is None else reached], chance, record.teacher.score
        )
        runs[record.spec.method][canonical(record.spec.params)][record.run_id] = score
    return {
        method: [fmean(seeds.values()) for _, seeds in sorted(draws.items())]
        for method, draws in sorted(runs.items())
    }


def robustness_cell(draws: Sequence[float] | None) -> str:
    """``0.62 ± 0.10 (8)``: the score, half its 95 % t-interval, the number of draws."""
    if not draws:
        return "–"
    half = t_interval(draws)
    spread = "" if half is None else f" ± {half:.2f}"
    return f"{fmean(draws):.2f}{spread} ({len(draws)})"


def score_claims(scores: Mapping[str, Sequence[float]]) -> dict[tuple[str, str], Claim]:
    """Whether the scores of every two methods' draws differ: Mann and Whitney's test with Holm's.

    Draws of different methods are no pairs. A claim's seeds are draws here.
    """
    pairs = list(itertools.combinations(scores, 2))
    p_values = [float(stats.mannwhitneyu(scores[a], scores[b]).pvalue) for a, b in pairs]
    claims = {}
    for (a, b), p in zip(pairs, holm(p_values), strict=True):
        n, m = len(scores[a]), len(scores[b])
        smallest = min(1.0, 2 / math.comb(n + m, n)) * len(pairs)
        claims[a, b] = decide(
            p, min(n, m), smallest, _draws_needed(scores[a], scores[b], len(pairs))
        )
    return claims


def _draws_needed(first: Sequence[float], second: Sequence[float], questions: int) -> int | None:
    """Draws of each method that would show the observed difference, as for a t-test."""
    enough = next(n for n in itertools.count(2) if 2 / math.comb(2 * n, n) * questions <= ALPHA)
    variance = (np.var(first) + np.var(second)) / 2
    if variance == 0:
        return enough
    # The variance of a difference of two draws is twice that of one.
    effect = float(np.mean(first) - np.mean(second)) / math.sqrt(2 * variance)
    needed = seeds_for_effect(effect, ALPHA / questions)
    return None if needed is None else max(enough, needed)


def fluctuation(values: Sequence[float]) -> float | None:
    """How much a curve jumps from one point to the next, in the curve's own unit.

    √(Σ (xᵢ₊₁ − xᵢ)² / 2 (n − 1)): the standard deviation of the noise around a slow trend, which
    the trend itself does not enter (von Neumann et al., "The Mean Square Successive Difference",
    Ann. Math. Statist. 1941).

    Returns:
        The number; None for fewer than three points.
    """
    if len(values) < 3:
        return None
    steps = np.diff(np.asarray(values, dtype=float))
    return float(np.sqrt(np.mean(steps**2) / 2))


def loss_stability(records: Sequence[Record]) -> dict[str, dict[int, float]]:
    """Fluctuation of the terms of the generator's loss over the second half of its training.

    What RDSKD (Han et al., ICASSP 2021) shows in Figure 3. The first half is left out, for there
    the terms fall, and fall fast.

    Args:
        records: of one method, with one setting.

    Returns:
        By term (``one_hot``, ``entropy``, ...; ``loss`` is their total), the fluctuation by seed.
    """
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for record in records:
        for name, curve in record.curves.items():
            phase, _, term = name.partition("/")
            if phase in ("synthesis", "joint"):
                value = fluctuation(_second_half(curve))
                if value is not None:
                    found[term][record.spec.seed] = value
    return {term: dict(sorted(seeds.items())) for term, seeds in sorted(found.items())}


def _second_half(curve: Mapping[str, Sequence[float]]) -> list[float]:
    if not curve["step"]:
        return []
    middle = (curve["step"][0] + curve["step"][-1]) / 2
    return [v for step, v in zip(curve["step"], curve["value"], strict=True) if step >= middle]
