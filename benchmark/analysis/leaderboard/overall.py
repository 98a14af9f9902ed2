"""One table over several tasks of a budget: mean rank and mean normalised score of every method."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any, Literal, NamedTuple

import numpy as np

from benchmark.analysis.leaderboard.rows import CONTROLS, Row
from benchmark.analysis.leaderboard.tables import DATA_FREE, Table
from benchmark.analysis.statistics.intervals import (
    Interval,
    score_interval,
    stratified_interval,
)
from benchmark.analysis.statistics.profiles import normalised
from benchmark.analysis.statistics.ranks import rank_draws
from benchmark.analysis.text import NO_VALUE, percent

Settings = Literal["as published", "tuned"]
FEWEST_TASKS = 2
"""A mean over fewer tasks would only repeat the task's own table."""


class MeanRank(NamedTuple):
    """A mean rank over tasks, and the ends of its 95 % bootstrap interval over seeds."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Standing:
    """One method over the tasks of its access class.

    Attributes:
        rows: the row it is judged by, by task.
        scores: normalised scores of the seeds, by task; failed runs at 0, missing runs left out.
        ranks: rank among the ranked methods of its access class, by task; empty without a rank.
        rank: mean rank over the tasks; None for a control, and for a method some of whose rows are
            incomplete or over budget.
    """

    method: str
    title: str
    rows: dict[str, Row]
    scores: dict[str, list[float]]
    ranks: dict[str, int]
    rank: MeanRank | None

    @cached_property
    def score(self) -> float:
        """Mean over tasks of the mean normalised score."""
        return fmean(fmean(own) for own in self.scores.values())

    @cached_property
    def interval(self) -> Interval | None:
        """The score's 95 % interval; None where a task has a single seed."""
        half = stratified_interval(list(self.scores.values()))
        if half is None:
            return None
        return score_interval(self.score, self.score - half, self.score + half)

    @property
    def unranked(self) -> str:
        """Why the method has no rank; empty if it has one."""
        reasons = {row.standing for row in self.rows.values()} - {"ranked"}
        return ", ".join(sorted(reasons - {"reference"} or reasons))


@dataclass(frozen=True)
class OverallClass:
    """The methods of one access class over the tasks that all of them share, the best first.

    ``left_out`` are the titles of methods that ran on fewer than `FEWEST_TASKS` tasks.
    """

    access: str
    tasks: list[str]
    standings: list[Standing]
    left_out: list[str]

    def caption(self) -> str:
        """The tasks, and who is left out."""
        left = f" Left out, on one task only: {', '.join(self.left_out)}." if self.left_out else ""
        return f"Over {len(self.tasks)} tasks: {', '.join(self.tasks)}.{left}"


@dataclass(frozen=True)
class Overall:
    """Every access class of a budget whose methods share tasks, at one kind of setting."""

    budget: str
    settings: Settings
    classes: list[OverallClass]

    @property
    def title(self) -> str:
        """Heading of its section."""
        return f"Overall, budget {self.budget}, {self.settings}"

    def caption(self) -> str:
        """The settings and the scale behind the numbers."""
        nearest = (
            " (at its suite's setting, named below, where it has no run as published)"
            if self.settings == "as published"
            else ""
        )
        return (
            f"Every method {self.settings}{nearest}, at budget `{self.budget}`, over the tasks "
            "that the methods of its access class share. Ranks are within an access class; a score "
            "of 100 is the teacher's, 0 is chance."
        )


def overalls(tables: Sequence[Table]) -> list[Overall]:
    """One `Overall` for every budget and kind of setting with an access class that shares tasks.

    Where a task and budget have several tables, of other teachers or data, the one counts in which
    the most methods have a rank, then the one with the latest run.
    """
    budgets: dict[str, dict[str, Table]] = defaultdict(dict)
    for table in sorted(tables, key=_use, reverse=True):
        budgets[table.budget.title].setdefault(table.task, table)
    kinds: tuple[Settings, ...] = ("as published", "tuned")
    found = [
        Overall(budget, kind, list(_classes(own, kind)))
        for budget, own in sorted(budgets.items())
        for kind in kinds
    ]
    return [overall for overall in found if overall.classes]


def _use(table: Table) -> tuple[int, str, str]:
    """How many methods are ranked in a table, when its latest run was made, and its teacher."""
    ranked = {row.method for row in table.headline if row.standing == "ranked"}
    latest = max(record.created for row in table.rows for record in row.records)
    return len(ranked), latest, table.teacher


def _classes(tables: Mapping[str, Table], kind: Settings) -> Iterator[OverallClass]:
    """The access classes whose methods share tasks, data-free first."""
    classes: dict[str, dict[str, dict[str, Row]]] = defaultdict(lambda: defaultdict(dict))
    for task, table in sorted(tables.items()):
        # Not in the table's order, which goes by score: no score may choose a method's row.
        for row in sorted(table.headline, key=lambda row: (row.choice, row.label)):
            if _is_of(row, kind) and row.score is not None:
                classes[row.access][row.method].setdefault(task, row)
    for access, methods in sorted(
        classes.items(), key=lambda item: (item[0] != DATA_FREE, item[0])
    ):
        found = _class(access, methods, tables)
        if found is not None:
            yield found


def _is_of(row: Row, kind: Settings) -> bool:
    """Whether an overall judges a method by this row; controls have nothing to tune."""
    if kind == "tuned":
        return bool(row.choice) or row.method in CONTROLS
    return not row.tuned


def _class(
    access: str, methods: Mapping[str, dict[str, Row]], tables: Mapping[str, Table]
) -> OverallClass | None:
    """An access class over the tasks that its real methods share; None if they are too few."""
    real = {method: own for method, own in methods.items() if method not in CONTROLS}
    several = {method: own for method, own in real.items() if len(own) >= FEWEST_TASKS}
    if not several:
        return None
    tasks = sorted(set.intersection(*(set(own) for own in several.values())))
    if len(tasks) < FEWEST_TASKS:
        return None
    left_out = sorted(_title(own) for method, own in real.items() if method not in several)
    taking_part = {
        method: {task: own[task] for task in tasks}
        for method, own in methods.items()
        if own.keys() >= set(tasks)
    }
    return OverallClass(access, tasks, _standings(taking_part, tables), left_out)


def _title(rows: Mapping[str, Row]) -> str:
    return next(iter(rows.values())).title


def normalised_scores(row: Row, table: Table) -> list[float]:
    """Score of every seed, scaled so that 0 is chance and 1 the teacher's score."""
    return normalised(list(row.by_seed.values()), row.chance, table.teacher_score)


def _standings(
    methods: Mapping[str, dict[str, Row]], tables: Mapping[str, Table]
) -> list[Standing]:
    """The methods of one access class, those with a rank first."""
    scores = {
        method: {task: normalised_scores(row, tables[task]) for task, row in own.items()}
        for method, own in methods.items()
    }
    ranked = {
        method: own
        for method, own in methods.items()
        if all(row.standing == "ranked" for row in own.values())
    }
    places = _task_ranks(ranked, scores)
    means = _mean_ranks(ranked, scores, places)
    found = [
        Standing(
            method, _title(own), own, scores[method], places.get(method, {}), means.get(method)
        )
        for method, own in methods.items()
    ]
    return sorted(found, key=_order)


def _task_ranks(
    ranked: Mapping[str, dict[str, Row]], scores: Mapping[str, Mapping[str, list[float]]]
) -> dict[str, dict[str, int]]:
    """The rank of every method on every task, by mean normalised score."""
    means = {
        method: {task: fmean(scores[method][task]) for task in own}
        for method, own in ranked.items()
    }
    return {
        method: {
            task: 1 + sum(other[task] > mean for other in means.values())
            for task, mean in own.items()
        }
        for method, own in means.items()
    }


def _mean_ranks(
    ranked: Mapping[str, dict[str, Row]],
    scores: Mapping[str, Mapping[str, list[float]]],
    places: Mapping[str, Mapping[str, int]],
) -> dict[str, MeanRank]:
    """Mean ranks over the tasks, with the interval of a bootstrap over the seeds of each task."""
    rng = np.random.default_rng(0)
    names = sorted(ranked)
    if not names:
        return {}
    by_task = [
        rank_draws(
            [dict(zip(ranked[m][task].by_seed, scores[m][task], strict=True)) for m in names], rng
        )
        for task in ranked[names[0]]
    ]
    lows, highs = np.quantile(np.mean(by_task, axis=0), [0.025, 0.975], axis=0)
    return {
        method: MeanRank(fmean(places[method].values()), float(low), float(high))
        for method, low, high in zip(names, lows, highs, strict=True)
    }


def _order(own: Standing) -> tuple[Any, ...]:
    """Ranked methods, then the controls, then what has no rank yet, or lost it."""
    rank = own.rank.mean if own.rank else 0.0
    return (own.unranked not in ("", "reference"), own.rank is None, rank, -own.score, own.title)


def overall_cells(own: OverallClass) -> tuple[list[str], list[list[str]], str]:
    """Headings and body of an access class's table, and its methods' settings as text."""
    names = ["mean rank", "method", "mean score, %", *own.tasks, "n ok/planned", "collapsed"]
    body = [_cells(standing, own.tasks) for standing in own.standings]
    settings = [
        f"{standing.title} on {task}: {row.settings}"
        for standing in own.standings
        for task, row in standing.rows.items()
        if row.settings
    ]
    return names, body, "; ".join(settings)


def _cells(own: Standing, tasks: Sequence[str]) -> list[str]:
    rows = own.rows.values()
    done = sum(len(row.scored) for row in rows)
    planned = sum(len(row.planned) for row in rows)
    return [
        _rank(own),
        own.title,
        percent(own.score) + ("" if own.interval is None else own.interval.plus_minus),
        *(_task_cell(own, task) for task in tasks),
        f"{done}/{planned}",
        f"{sum(row.collapsed for row in rows)}/{done}",
    ]


def _task_cell(own: Standing, task: str) -> str:
    """``97.06 (2)``: score and rank on a task."""
    place = f" ({own.ranks[task]})" if own.ranks else ""
    return percent(fmean(own.scores[task])) + place


def _rank(own: Standing) -> str:
    """``1.5 [1.0–2.5]``; without the interval where some task has a single seed."""
    if own.rank is None:
        return own.unranked or NO_VALUE
    several = min(map(len, own.scores.values())) > 1
    spread = f" [{own.rank.low:.1f}–{own.rank.high:.1f}]" if several else ""
    return f"{own.rank.mean:.1f}{spread}"
