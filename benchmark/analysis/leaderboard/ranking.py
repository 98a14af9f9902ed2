"""Rank and significance group of every row, within its access class."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from benchmark.analysis.leaderboard.rows import Row
from benchmark.analysis.leaderboard.tables import Table
from benchmark.analysis.statistics.paired import questions_of_all_pairs, verdicts
from benchmark.analysis.statistics.ranks import letters, rank_intervals
from benchmark.analysis.statistics.sign_flips import seeds_to_decide
from benchmark.analysis.text import NO_VALUE
from benchmark.records.record import FAILED, SCORED


def ranks(table: Table) -> list[str]:
    """Every row's rank within its access class, as the interval of a bootstrap over seeds."""
    shown = {id(row): NO_VALUE for row in table.rows}
    for peers in filter(None, map(_tried, access_classes(table))):
        intervals = rank_intervals([row.by_seed for row in peers], np.random.default_rng(0))
        scores = [row.score for row in peers]
        for row, score, (best, last) in zip(peers, scores, intervals, strict=True):
            position = 1 + sum(other > score for other in scores)
            if not row.scored:
                continue
            if len(row.scored) < 2:
                shown[id(row)] = f"{position} (insufficient)"
            else:
                shown[id(row)] = str(best) if best == last else f"{best}–{last}"
    return [shown[id(row)] for row in table.rows]


def groups(table: Table) -> list[str]:
    """Every row's letters; rows that were not told apart share a letter."""
    shown = {id(row): NO_VALUE for row in table.rows}
    for peers in map(_tried, access_classes(table)):
        if len(peers) < 2:
            continue
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
        for name, row in zip(names, peers, strict=True):
            shown[id(row)] = found.get(name, f"insufficient ({needed})")
    return [shown[id(row)] for row in table.rows]


def _tried(peers: list[Row]) -> list[Row]:
    """Rows with a run that ended, well or not; a method that could not run is not compared."""
    return [row for row in peers if any(r.status in SCORED | FAILED for r in row.records)]


def access_classes(table: Table) -> list[list[Row]]:
    """The rows of each access class, in the table's order."""
    classes: dict[str, list[Row]] = defaultdict(list)
    for row in table.rows:
        classes[row.access].append(row)
    return list(classes.values())
