"""Rank and significance group of the rows that are compared, within their access class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from benchmark.analysis.leaderboard.rows import Row
from benchmark.analysis.leaderboard.tables import Table, access_classes
from benchmark.analysis.statistics.paired import questions_of_all_pairs, verdicts
from benchmark.analysis.statistics.ranks import letters, rank_intervals
from benchmark.analysis.statistics.sign_flips import seeds_to_decide
from benchmark.analysis.text import NO_VALUE


def ranks(table: Table) -> dict[Row, str]:
    """Rank of every row of the headline within its access class, or why it has none.

    A rank is the interval of a bootstrap over seeds. Rows as published are ranked among themselves,
    and so are those that were tuned in the same way, so that no method takes two places.
    """
    shown = {
        row: NO_VALUE if row.standing in ("ranked", "untried") else row.standing
        for row in table.headline
    }
    ranked = [row for row in table.headline if row.standing == "ranked"]
    fields = [field for own in access_classes(ranked) for field in _fields(own)]
    for peers, own in fields:
        intervals = rank_intervals([row.by_seed for row in peers], np.random.default_rng(0))
        scores = [_score(row) for row in peers]
        for row, score, (best, last) in zip(peers, scores, intervals, strict=True):
            position = 1 + sum(other > score for other in scores)
            if not row.scored or row not in own:
                continue
            if len(row.scored) < 2:
                shown[row] = f"{position} (insufficient)"
            else:
                shown[row] = str(best) if best == last else f"{best}–{last}"
    return shown


def _fields(rows: Sequence[Row]) -> Iterator[tuple[list[Row], list[Row]]]:
    """Rows of one access class that are ranked together, and those of them whose rank it is.

    A method for which tuning chose the published setting is ranked as published, and stands among
    the tuned ones for the others.
    """
    published = [row for row in rows if not row.tuned]
    if published:
        yield published, published
    for choice in sorted({choice for row in rows if row.tuned for choice in row.choices}):
        alike = [row for row in rows if choice in row.choices]
        yield alike, [row for row in alike if row.tuned]


def _score(row: Row) -> float:
    assert row.score is not None, "a ranked row has a run that ended"
    return row.score


def groups(table: Table) -> dict[Row, str]:
    """Letters of every row of the headline; rows that were not told apart share a letter.

    Controls take part, because a method should be told from them.
    """
    shown = dict.fromkeys(table.headline, NO_VALUE)
    complete = [row for row in table.headline if row.standing in ("ranked", "reference")]
    for peers in access_classes(complete):
        if len(peers) > 1:
            shown |= zip(peers, _letters(peers), strict=True)
    return shown


def _letters(peers: Sequence[Row]) -> list[str]:
    names = [str(i) for i in range(len(peers))]
    scores = {name: row.by_seed for name, row in zip(names, peers, strict=True)}
    pairs = questions_of_all_pairs(scores)
    answers = verdicts(pairs, np.random.default_rng(0))
    told = {
        frozenset((pair.first, pair.second))
        for pair, answer in zip(pairs, answers, strict=True)
        if answer == "shown"
    }
    decided = {
        name
        for pair, answer in zip(pairs, answers, strict=True)
        if answer != "insufficient"
        for name in (pair.first, pair.second)
    }
    able = [name for name in names if name in decided]
    found = letters(able, told)
    needed = seeds_to_decide()
    return [found.get(name, f"insufficient ({needed})") for name in names]
