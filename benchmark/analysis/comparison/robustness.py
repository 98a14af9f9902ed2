"""Robustness: how well a method does at random draws from its tuning ranges."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import fmean

import numpy as np

from benchmark.analysis.statistics.claims import ALPHA, Claim, decide, seeds_for_effect
from benchmark.analysis.statistics.intervals import t_interval
from benchmark.analysis.statistics.paired import holm
from benchmark.analysis.statistics.profiles import normalised
from benchmark.analysis.text import NO_VALUE
from benchmark.records.canonical import canonical
from benchmark.records.record import FAILED, SCORED, Record, one_a_run
from benchmark.records.spec import PlannedEntry
from benchmark.records.store import Scan

ROBUSTNESS = "robustness"
"""Heading of the leaderboard's column."""


def robustness_scores(
    records: Sequence[Record], planned: Iterable[tuple[str, str, str]] = ()
) -> dict[str, list[float]]:
    """Scores of random draws from each method's tuning ranges; their mean is its robustness.

    A score is (student's − chance) / (teacher's − chance), cut to [0, 1] and averaged over the
    seeds of a draw. A planned run without a student scores 0, as in the tables, unless the method
    said beforehand that it does not support the task. The mean over draws is the area under their
    performance profile. Students with another objective than their method's own do not count.

    Args:
        records: records of one task, budget and teacher; only random draws count.
        planned: planned draws, each as run id, method and canonical parameters. A method without
            a single run that ended has no score.

    Returns:
        The scores of the draws, by method.
    """
    runs: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    asked = list(planned)
    drawn = {run_id for run_id, _, _ in asked}
    ended, skipped = set(), set()
    for record in one_a_run(records):
        # What another suite had run already counts too.
        if record.spec.objective or not (record.spec.purpose == "draw" or record.run_id in drawn):
            continue
        if record.status == "skipped":
            skipped.add(record.run_id)
            continue
        if record.status in SCORED | FAILED:
            ended.add(record.spec.method)
        chance = record.teacher.chance
        reached = record.score if record.status in SCORED else None
        (score,) = normalised(
            [chance if reached is None else reached], chance, record.teacher.score
        )
        runs[record.spec.method][canonical(record.spec.params)][record.run_id] = score
    for run_id, method, params in asked:
        if run_id not in skipped:
            runs[method][params].setdefault(run_id, 0.0)
    return {
        method: [fmean(seeds.values()) for _, seeds in sorted(draws.items())]
        for method, draws in sorted(runs.items())
        if method in ended
    }


def planned_draws(
    scan: Scan, wanted: Callable[[PlannedEntry], bool]
) -> Iterator[tuple[str, str, str]]:
    """Planned random draws, as `robustness_scores` takes them."""
    for suite in sorted(scan.planned):
        for run_id, entry in sorted(scan.planned[suite].items()):
            if entry.purpose == "draw" and not entry.objective and wanted(entry):
                yield run_id, entry.method, canonical(entry.params)


def robustness_cell(draws: Sequence[float] | None) -> str:
    """``0.62 ± 0.10 (8)``: the score, half its 95 % t-interval, the number of draws."""
    if not draws:
        return NO_VALUE
    half = t_interval(draws)
    spread = "" if half is None else f" ± {half:.2f}"
    return f"{fmean(draws):.2f}{spread} ({len(draws)})"


def score_claims(scores: Mapping[str, Sequence[float]]) -> dict[tuple[str, str], Claim]:
    """Whether the mean scores of two methods' draws differ: permutation tests, Holm's correction.

    The score is a mean, so means are tested; where draws collapse, ranks say something else. Draws
    of different methods are not paired. The seeds of a claim are draws here.
    """
    pairs = list(itertools.combinations(scores, 2))
    p_values = [_permutation_test(scores[a], scores[b]) for a, b in pairs]
    sizes = [(len(scores[a]), len(scores[b])) for a, b in pairs]
    attainable = holm([_smallest_p(n, m) for n, m in sizes])
    claims = {}
    for (a, b), (n, m), p, smallest in zip(pairs, sizes, holm(p_values), attainable, strict=True):
        claims[a, b] = decide(
            p, min(n, m), smallest, _draws_needed(scores[a], scores[b], len(pairs))
        )
    return claims


PERMUTATIONS = 99_999
"""Random divisions of two methods' draws; all divisions are tried where they are fewer."""


def _permutation_test(first: Sequence[float], second: Sequence[float]) -> float:
    """Two-sided p of the difference of the means, by dividing the draws in other ways."""
    if min(len(first), len(second)) < 2:
        return 1.0
    from scipy import stats

    found = stats.permutation_test(
        (np.asarray(first, dtype=float), np.asarray(second, dtype=float)),
        lambda x, y, axis: np.mean(x, axis=axis) - np.mean(y, axis=axis),
        vectorized=True,
        n_resamples=PERMUTATIONS,
        batch=1000,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)


def _smallest_p(n: int, m: int) -> float:
    """The smallest p that `_permutation_test` of n and m draws can give."""
    if min(n, m) < 2:
        return 1.0
    return min(1.0, 2 / min(math.comb(n + m, n), 1 + PERMUTATIONS))


def _draws_needed(first: Sequence[float], second: Sequence[float], questions: int) -> int | None:
    """Draws of each method that would show the observed difference, computed as for a t-test."""
    enough = next(n for n in itertools.count(2) if 2 / math.comb(2 * n, n) * questions <= ALPHA)
    enough = max(enough, min(len(first), len(second)) + 1)
    if min(len(first), len(second)) < 2:
        return enough
    variance = (np.var(first, ddof=1) + np.var(second, ddof=1)) / 2
    if variance == 0:
        return enough
    # The variance of a difference of two draws is twice that of one.
    effect = float(np.mean(first) - np.mean(second)) / math.sqrt(2 * variance)
    needed = seeds_for_effect(effect, ALPHA / questions)
    return None if needed is None else max(enough, needed)
