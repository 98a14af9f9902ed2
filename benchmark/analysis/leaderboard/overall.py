"""One table over all tasks of a budget: mean rank and mean normalised score of every method."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any

import numpy as np

from benchmark.analysis.leaderboard.rows import Row
from benchmark.analysis.leaderboard.tables import DATA_FREE, Table
from benchmark.analysis.statistics.intervals import stratified_interval
from benchmark.analysis.statistics.profiles import normalised
from benchmark.analysis.statistics.ranks import rank_draws
from benchmark.analysis.text import NO_VALUE, percent
from benchmark.records.record import FAILED, SCORED


@dataclass(frozen=True)
class Standing:
    """One method over the tasks of a budget.

    Attributes:
        rows: the row it is judged by, by task.
        scores: normalised scores of the seeds, by task; failed and missing runs at 0.
        ranks: ranks among the methods of its access class, by task.
        rank: mean rank over its tasks, and the ends of its 95 % bootstrap interval over seeds.
        complete: whether it lacks no task.
    """

    method: str
    title: str
    access: str
    rows: dict[str, Row]
    scores: dict[str, list[float]]
    ranks: dict[str, int]
    rank: tuple[float, float, float]
    complete: bool

    @cached_property
    def score(self) -> float:
        """Mean over tasks of the mean normalised score."""
        return fmean(fmean(own) for own in self.scores.values())

    @property
    def interval(self) -> float | None:
        """Half-width of the score's 95 % interval."""
        return stratified_interval(list(self.scores.values()))


@dataclass(frozen=True)
class Overall:
    """Every method of a budget, grouped by access class, the best first."""

    budget: str
    tasks: list[str]
    standings: list[Standing]

    @property
    def access_classes(self) -> list[str]:
        """Access classes, data-free first."""
        return list(dict.fromkeys(own.access for own in self.standings))

    def caption(self) -> str:
        """The tasks and the scale behind the numbers."""
        count = f"{len(self.tasks)} task{'s' if len(self.tasks) != 1 else ''}"
        return (
            f"Over {count} at budget `{self.budget}`: {', '.join(self.tasks)}. Ranks are within an "
            "access class; a score of 100 is the teacher's, 0 is chance."
        )


def overalls(tables: Sequence[Table]) -> list[Overall]:
    """One `Overall` for every budget.

    Where a task and budget have several tables, the one with the most finished runs counts.
    """
    budgets: dict[str, dict[str, Table]] = defaultdict(dict)
    for table in sorted(tables, key=lambda t: -sum(len(row.scored) for row in t.rows)):
        budgets[table.budget.title].setdefault(table.task, table)
    found = (_overall(budget, tables) for budget, tables in sorted(budgets.items()))
    return [overall for overall in found if overall.standings]


def _overall(budget: str, tables: dict[str, Table]) -> Overall:
    tasks = sorted(tables)
    rows: dict[str, dict[str, dict[str, Row]]] = defaultdict(lambda: defaultdict(dict))
    for task in tasks:
        for row in headline_rows(tables[task]):
            rows[row.access][row.method][task] = row
    standings = [
        standing
        for access, methods in rows.items()
        for standing in _standings(access, methods, tables)
    ]
    return Overall(budget, tasks, sorted(standings, key=_order))


def headline_rows(table: Table) -> list[Row]:
    """Every method at one setting: the one with the most runs, then the one nearest the paper's.

    Scores have no say in it. Rows whose student has another objective than the method's own, or
    that have no run that finished or failed, are left out.
    """
    found: dict[str, Row] = {}
    for row in sorted(table.rows, key=lambda r: (-len(r.records), len(r.changed), r.label)):
        own = [r for r in row.records if r.status in SCORED | FAILED and not r.spec.objective]
        if own:
            found.setdefault(row.method, row)
    return list(found.values())


def normalised_scores(row: Row, table: Table) -> list[float]:
    """Score of every seed, scaled so that 0 is chance and 1 the teacher's score."""
    return normalised(list(row.by_seed.values()), row.chance, table.teacher_score)


def _standings(
    access: str, methods: dict[str, dict[str, Row]], tables: dict[str, Table]
) -> list[Standing]:
    """The methods of one access class, each over the tasks that it has rows of."""
    scores = {
        method: {task: normalised_scores(row, tables[task]) for task, row in own.items()}
        for method, own in methods.items()
    }
    rng = np.random.default_rng(0)
    ranks: dict[str, dict[str, int]] = defaultdict(dict)
    draws: dict[str, list[Any]] = defaultdict(list)
    for task in tables:
        peers = sorted(method for method, own in methods.items() if task in own)
        if not peers:
            continue
        means = [fmean(scores[method][task]) for method in peers]
        by_seed = [
            dict(zip(methods[method][task].by_seed, scores[method][task], strict=True))
            for method in peers
        ]
        drawn = rank_draws(by_seed, rng)
        for place, method in enumerate(peers):
            ranks[method][task] = 1 + sum(mean > means[place] for mean in means)
            draws[method].append(drawn[:, place])
    found = []
    for method, rows in methods.items():
        low, high = np.quantile(np.mean(draws[method], axis=0), [0.025, 0.975])
        rank = (fmean(ranks[method].values()), float(low), float(high))
        title = next(iter(rows.values())).title
        complete = len(rows) == len(tables)
        found.append(
            Standing(method, title, access, rows, scores[method], ranks[method], rank, complete)
        )
    return found


def _order(own: Standing) -> tuple[Any, ...]:
    free = own.access != DATA_FREE
    return (free, own.access, not own.complete, own.rank[0], -own.score, own.title, own.method)


def overall_cells(overall: Overall, access: str) -> tuple[list[str], list[list[str]], str]:
    """Headings and body of an access class's table, and its methods' settings as text."""
    names = ["mean rank", "method", "mean score, %", *overall.tasks, "n ok/planned", "collapsed"]
    body, settings = [], []
    for own in overall.standings:
        if own.access != access:
            continue
        half = own.interval
        means = [_rank(own), percent(own.score)]
        means[1] += "" if half is None else f" ± {percent(half)}"
        if not own.complete:
            means = [f"({mean})" for mean in means]
        rows = own.rows.values()
        done = sum(len(row.scored) for row in rows)
        collapsed = sum(r.status == "collapsed" for row in rows for r in row.records)
        by_task = [
            f"{percent(fmean(own.scores[task]))} ({own.ranks[task]})"
            if task in own.rows
            else NO_VALUE
            for task in overall.tasks
        ]
        planned = sum(len(row.planned) for row in rows)
        body.append(
            [means[0], own.title, means[1], *by_task, f"{done}/{planned}", f"{collapsed}/{done}"]
        )
        settings += [
            f"{own.title} on {task}: {row.settings}"
            for task, row in own.rows.items()
            if row.settings
        ]
    return names, body, "; ".join(settings)


def _rank(own: Standing) -> str:
    """``1.5 [1.0–2.5]``; without the interval where some task has a single seed."""
    mean, low, high = own.rank
    spread = "" if min(map(len, own.scores.values())) < 2 else f" [{low:.1f}–{high:.1f}]"
    return f"{mean:.1f}{spread}"
