"""The answers of several comparisons in one table: which method won which question."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from benchmark.analysis.comparison.compare import Comparison
from benchmark.analysis.comparison.sentences import Steadiness
from benchmark.analysis.statistics.claims import Claim
from benchmark.analysis.text import NO_VALUE, markdown_grid
from methods.settings.params import format_value


def summary_section(
    comparisons: Sequence[Comparison],
    draws: Mapping[tuple[str, str], Claim],
    scores: Mapping[str, Sequence[float]],
) -> str:
    """A section of Markdown: one row per question, one column per two methods.

    Args:
        comparisons: comparisons of the same methods; the first is at one setting each.
        draws: whether the robustness scores of two methods differ.
        scores: the robustness scores of the draws, by method.
    """
    series = comparisons[0].series
    pairs = list(itertools.combinations([own.method for own in series], 2))
    titles = {own.method: own.title for own in series}
    found = {
        frozenset(pair): _cell(claim, max(pair, key=lambda name: fmean(scores[name])), titles)
        for pair, claim in draws.items()
    }
    rows = [row for one in comparisons for row in _rows(one, titles)]
    if found:
        rows.append(("more robust over whole tuning ranges", found))
    names = ["", *(f"{titles[a]} or {titles[b]}" for a, b in pairs)]
    body = [
        [question, *(answers.get(frozenset(pair), NO_VALUE) for pair in pairs)]
        for question, answers in rows
    ]
    table = markdown_grid(names, body, names)
    explanation = (
        "Each row asks one question about two methods. A cell names the method for which the "
        "answer was shown, or says why no method is named."
    )
    return f"## Summary\n\n{explanation}\n\n{table}"


def _rows(
    comparison: Comparison, titles: Mapping[str, str]
) -> Iterator[tuple[str, dict[frozenset[str], str]]]:
    over = comparison.place.over
    for value, pairs in comparison.better.items():
        at = f"at `{over}` = {format_value(value)}" if over else "at one setting each"
        if not pairs:
            continue
        yield (
            f"better {at}",
            {
                frozenset((pair.first, pair.second)): _cell(pair.claim, pair.better, titles)
                for pair in pairs
            },
        )
        yield f"spreads less over seeds {at}", _steadier(comparison.spreads[value], titles)
    if over:
        yield f"less sensitive to `{over}`", _steadier(comparison.sensitivity, titles)


def _steadier(
    answers: Sequence[Steadiness], titles: Mapping[str, str]
) -> dict[frozenset[str], str]:
    found = {}
    for own in answers:
        cell = _cell(own.claim, own.winner, titles)
        if own.less is not None and own.winner is None:
            cell = f"{titles[own.less]} is at chance"
        found[frozenset((own.first, own.second))] = cell
    return found


def _cell(claim: Claim, winner: str | None, titles: Mapping[str, str]) -> str:
    return f"**{titles[winner]}**" if claim.shown and winner else claim.verdict
