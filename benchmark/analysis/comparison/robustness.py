"""Robustness: how well a method does at random draws from its tuning ranges."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import fmean

import numpy as np

from benchmark.analysis.scores import counted_score
from benchmark.analysis.statistics.claims import ALPHA, Claim, decide, seeds_for_effect
from benchmark.analysis.statistics.intervals import mean_interval
from benchmark.analysis.statistics.permutations import joint_permutations, smallest_p
from benchmark.analysis.statistics.profiles import normalised
from benchmark.analysis.text import NO_VALUE
from benchmark.records.canonical import canonical
from benchmark.records.record import Record, one_a_run
from benchmark.records.spec import PlannedEntry
from benchmark.records.store import Scan

ROBUSTNESS = "robustness"
"""Heading of the leaderboard's column."""


def robustness_scores(
    records: Sequence[Record], planned: Iterable[tuple[str, str, str]] = ()
) -> dict[str, list[float]]:
    """Scores of random draws from each method's tuning ranges; their mean is its robustness.

    A score is (student's − chance) / (teacher's − chance), cut to [0, 1] and averaged over the
    seeds of a draw; what a run counts for is `benchmark.analysis.scores.counted_score`. The mean
    over draws is the area under their performance profile. Students with another objective than
    their method's own do not count.

    Args:
        records: records of one task, budget and teacher; only random draws count.
        planned: planned draws, each as run id, method and canonical parameters. They tell which
            runs of another suite are draws too.

    Returns:
        The scores of the draws, by method.
    """
    runs: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for record in drawn_records(records, planned):
        chance = record.teacher.chance
        counted = counted_score(record.status, record.score, chance)
        if counted is not None:
            (score,) = normalised([counted], chance, record.teacher.score)
            runs[record.spec.method][canonical(record.spec.params)][record.run_id] = score
    return {
        method: [fmean(seeds.values()) for _, seeds in sorted(draws.items())]
        for method, draws in sorted(runs.items())
    }


def drawn_records(
    records: Sequence[Record], planned: Iterable[tuple[str, str, str]] = ()
) -> list[Record]:
    """The random draws among records, each once; see `robustness_scores`."""
    drawn = {run_id for run_id, _, _ in planned}
    # What another suite had run already counts too.
    return [
        record
        for record in one_a_run(records)
        if not record.spec.objective and (record.spec.purpose == "draw" or record.run_id in drawn)
    ]


def drawn_ranges(draws: Sequence[Record]) -> dict[str, dict[str, tuple[float, float]]]:
    """The lowest and the highest value of every setting that differs among the draws, by method."""
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in draws:
        for name, value in record.spec.params.items():
            if isinstance(value, float):
                values[record.spec.method][name].append(value)
    return {
        method: {
            name: (min(own), max(own)) for name, own in sorted(by_name.items()) if len(set(own)) > 1
        }
        for method, by_name in sorted(values.items())
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
    """``0.62 ± 0.10 (8)``: the score, its 95 % t-interval, the number of draws."""
    if not draws:
        return NO_VALUE
    interval = mean_interval(draws)
    spread = "" if interval is None else interval.around()
    return f"{fmean(draws):.2f}{spread} ({len(draws)})"


def score_claims(scores: Mapping[str, Sequence[float]]) -> dict[tuple[str, str], Claim]:
    """Whether the mean scores of two methods' draws differ: joint permutations over all pairs.

    The score is a mean, so means are tested; where draws collapse, ranks say something else. Draws
    of different methods are not paired. The seeds of a claim are draws here.
    """
    sizes = {name: len(own) for name, own in scores.items()}
    able = [
        name
        for name in scores
        if any(other != name and smallest_p(sizes[name], sizes[other]) <= ALPHA for other in scores)
    ]
    tested = joint_permutations([scores[name] for name in able], np.random.default_rng(0))
    p_values = {(able[i], able[j]): p for (i, j), p in tested.corrected.items()}
    claims = {}
    for a, b in itertools.combinations(scores, 2):
        smallest = smallest_p(sizes[a], sizes[b])
        needed = _draws_needed(scores[a], scores[b], tested.level)
        p = p_values.get((a, b)) if smallest <= ALPHA else None
        claims[a, b] = (
            Claim("insufficient", None, min(sizes[a], sizes[b]), needed)
            if p is None
            else decide(p, min(sizes[a], sizes[b]), smallest, needed)
        )
    return claims


def _draws_needed(first: Sequence[float], second: Sequence[float], level: float) -> int | None:
    """Draws of each method that would show the observed difference, computed as for a t-test."""
    enough = next(n for n in itertools.count(2) if smallest_p(n, n) <= ALPHA)
    enough = max(enough, min(len(first), len(second)) + 1)
    if min(len(first), len(second)) < 2:
        return enough
    variance = (np.var(first, ddof=1) + np.var(second, ddof=1)) / 2
    if variance == 0:
        return enough
    # The variance of a difference of two draws is twice that of one.
    effect = float(np.mean(first) - np.mean(second)) / math.sqrt(2 * variance)
    needed = seeds_for_effect(effect, level)
    return None if needed is None else max(enough, needed)
