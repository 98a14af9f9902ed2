"""A paper's table compared with the records: our number for each of its numbers, and a verdict.

Pure functions of the frame of `benchmark.analysis.frame` and of the published data.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

import pandas as pd
from scipy import special

from benchmark.analysis.frame import METRIC_NAMES, OWN_OBJECTIVE
from benchmark.analysis.preference import Preference, older, preference
from benchmark.analysis.statistics.intervals import Interval, mean_interval
from benchmark.analysis.text import counted
from benchmark.published.papers import SCORES, Pair, PublishedTable, Result
from benchmark.records.record import FAILED, OVER_BUDGET, SCORED
from benchmark.records.spec import TUNING_SEEDS_FROM
from methods.settings.params import format_value

Verdict = Literal[
    "agrees", "differs", "budgets differ", "not comparable", "insufficient seeds", "not run"
]
LEGEND: dict[Verdict, str] = {
    "agrees": "the published number lies in the 95 % prediction interval for the mean of as many "
    "further runs of ours as it is a mean of",
    "differs": "the published number lies outside that interval",
    "budgets differ": "our runs do not follow the paper's schedule, so they are not comparable",
    "not comparable": "something else differs, as said below",
    "insufficient seeds": "there are too few runs to tell",
    "not run": "there is no such record at this budget",
}
"""What every verdict means."""
RESOLUTION = 0.05
"""Half-width, as a fraction, above which an interval would agree with almost any number."""
CHECKPOINTS = {
    "oracle": " of the checkpoint that is best on test",
    "agreement": " of the checkpoint that agrees best with the teacher",
}
"""What the last word of a score's name says of the checkpoint."""
TEACHER_GAP = 0.01
"""Difference of two teachers' scores above which the verdict's reason names it."""


@dataclass(frozen=True)
class Ours:
    """Our runs that are compared with one published row.

    Attributes:
        task: name of the task they ran on.
        extra: settings that are neither the method's usual ones nor named by the row.
        scores: scores of the finished runs, by column of the frame.
        runs: number of runs that count: they ended with a student, or failed.
        failed: number of those that failed.
        over_budget: number of runs that spent more than their budget, and do not count.
        teacher: score of their teacher.
        schedule: short name of the paper whose schedule they followed; empty for no paper's.
        behind: by how many versions their method is older than the program's.
        old: that it is older, in words; empty if it is not.
    """

    task: str
    extra: dict[str, Any]
    scores: dict[str, list[float]]
    runs: int
    failed: int
    over_budget: int
    teacher: float
    behind: int
    old: str
    schedule: str = ""


@dataclass(frozen=True)
class ScoreComparison:
    """One published score and ours.

    ``mean``, its 95 % ``interval`` and ``difference`` (ours − published) are fractions, None where
    there is nothing to compute them from. ``reason`` names what is not as in the paper, or why the
    verdict is no firmer.
    """

    result: Result
    metric: str
    published: float
    verdict: Verdict
    reason: str = ""
    mean: float | None = None
    interval: Interval | None = None
    n: int = 0
    runs: int = 0

    @property
    def difference(self) -> float | None:
        """Ours minus published."""
        return None if self.mean is None else self.mean - self.published


@dataclass(frozen=True)
class PairComparison:
    """All rows of one pair; ``teachers`` are our teachers' scores, one each."""

    pair: Pair
    teachers: list[float]
    rows: list[ScoreComparison]


def our_metric(metric: str, selection: str) -> str:
    """The column of the frame that a paper's checkpoint selection compares with."""
    suffix = {"best-on-test": "_oracle", "agreement": "_agreement"}.get(selection, "")
    return metric + suffix


def in_words(column: str) -> str:
    """``the pixel accuracy of the checkpoint that is best on test`` for a column of the frame."""
    metric, _, selection = column.rpartition("_")
    if selection not in CHECKPOINTS:
        metric, selection = column, ""
    names = {str(name): text for name, text in METRIC_NAMES.items()}
    return f"the {names.get(metric, metric.replace('_', ' '))}{CHECKPOINTS.get(selection, '')}"


def available_budget(table: PublishedTable, frame: pd.DataFrame) -> str:
    """The table's budget if it has records, else one of those that do; ``paper`` without any.

    It is the preset at which the most methods of the table ran on the most of its tasks, then the
    one with the most student steps, then the first by name.

    Args:
        table: the published table.
        frame: the records, one row per run.
    """
    if frame.empty:
        return table.budget or "paper"
    tasks = {name for pair in table.pairs for name in (pair.task, pair.stand_in) if name}
    methods = {result.method for _, result in table.results()}
    own = frame[frame["task"].isin(tasks) & frame["method"].isin(methods)]
    if own.empty or table.budget in set(own["budget"]):
        return table.budget or "paper"

    def use(budget: str) -> tuple[int, int, str]:
        runs = own[own["budget"] == budget]
        steps = max(json.loads(text)["student_steps"] for text in runs["budget_numbers"].unique())
        return -len(runs[["task", "method"]].drop_duplicates()), -steps, budget

    return min((str(name) for name in own["budget"].unique()), key=use)


def compare(
    table: PublishedTable, frame: pd.DataFrame, budget: str, paper: str = ""
) -> list[PairComparison]:
    """Compare every score of a published table with the records of one budget.

    A record belongs to the result of its method whose settings it has; where there are several, to
    the result that names the most settings. Where records with different settings belong to one
    result, those of the newest version count, then those that depart from the method's usual
    settings as the whole table does, then those that depart least, then those whose teacher is
    nearest to the paper's. Neither scores nor numbers of runs have a say. Runs of an older version
    than the program has are not set beside a published number.

    Args:
        table: the published table.
        frame: the records, one row per run.
        budget: name of the preset whose runs are compared.
        paper: short name of the table's paper. At the budget ``paper`` a method has the schedule of
            its own paper; runs by the schedule of another one are not those of the table.
    """
    comparisons = []
    for pair in table.pairs:
        mine = _assign(pair, _runs(pair, frame, budget))
        teachers = sorted({ours.teacher for groups in mine.values() for ours in groups})
        chosen = [_chosen(mine.get(i, []), pair, paper) for i in range(len(pair.results))]
        rows = [
            _compare(table, pair, result, metric, chosen[i], budget, paper)
            for i, result in enumerate(pair.results)
            for metric in result.numbers
            if metric in SCORES
        ]
        comparisons.append(PairComparison(pair, teachers, rows))
    return comparisons


def _runs(pair: Pair, frame: pd.DataFrame, budget: str) -> pd.DataFrame:
    """Runs of the pair's task, or of its stand-in where it has none, with their own objective."""
    if not frame.empty:
        own = frame[(frame["budget"] == budget) & (frame["objective"] == OWN_OBJECTIVE)]
        own = own[~own["purpose"].isin(("draw", "tune")) & (own["seed"] < TUNING_SEEDS_FROM)]
        for task in filter(None, (pair.task, pair.stand_in)):
            runs = own[own["task"] == task]
            if not runs.empty:
                return runs.drop_duplicates("run_id")
    return frame.head(0)


def _assign(pair: Pair, runs: pd.DataFrame) -> dict[int, list[Ours]]:
    """Our runs in groups of equal settings, by the index of the result they belong to."""
    found: dict[int, list[Ours]] = {}
    if runs.empty:
        return found
    keys = ["method", "version", "params", "proxy", "teacher", "variant", "budget_numbers"]
    for key, group in runs.groupby(keys, sort=True):
        method, version, params_text, *_, variant, numbers = key
        newest = int(group["newest_version"].iloc[0])
        changed = json.loads(group["changed"].iloc[0])
        params = {**json.loads(str(params_text)), **changed}
        epochs = _epochs(json.loads(str(numbers)))
        fitting = [
            (len(result.params) + (result.generator_epochs is not None), -i)
            for i, result in enumerate(pair.results)
            if result.method == method
            and result.settings_match(params)
            # A sweep's budget belongs to a row that names the swept number, and to no other.
            and result.generator_epochs in ((epochs,) if variant else (None, epochs))
        ]
        if not fitting:
            continue
        index = -max(fitting)[1]
        extra = {k: v for k, v in changed.items() if k not in pair.results[index].params}
        scored = group[group["status"].isin(SCORED)]
        scores = {
            column: scored[column].dropna().astype(float).tolist()
            for column in map(str, scored.columns)
            if column.startswith(SCORES)
        }
        found.setdefault(index, []).append(
            Ours(
                task=str(group["task"].iloc[0]),
                extra=extra,
                scores=scores,
                runs=int(group["status"].isin(SCORED | FAILED).sum()),
                failed=int(group["status"].isin(FAILED).sum()),
                over_budget=int((group["status"] == OVER_BUDGET).sum()),
                teacher=float(group["teacher_score"].iloc[0]),
                behind=max(0, newest - int(str(version))),
                old=older(int(str(version)), newest),
                schedule=str(group["schedule"].iloc[0]),
            )
        )
    return found


def _epochs(budget: dict[str, Any]) -> int | None:
    """Generator epochs of a budget; None where they are no whole number."""
    epochs, rest = divmod(budget["synthesis_steps"], budget["epoch_steps"])
    return None if rest else epochs


def _chosen(groups: Sequence[Ours], pair: Pair, paper: str) -> Ours | None:
    def order(ours: Ours) -> tuple[int, bool, int, Preference, float]:
        apart = sum(ours.extra.get(name) != value for name, value in pair.departs.items())
        gap = abs(ours.teacher - (pair.teacher_score or ours.teacher))
        unlike = ours.schedule != paper
        return ours.behind, unlike, apart, preference(ours.behind, ours.extra), gap

    return min(groups, key=order, default=None)


def _compare(
    table: PublishedTable,
    pair: Pair,
    result: Result,
    metric: str,
    ours: Ours | None,
    budget: str,
    paper: str,
) -> ScoreComparison:
    published = result.numbers[metric]
    column = our_metric(metric, table.selection)
    scores = ours.scores.get(column, []) if ours else []
    if ours is None:
        return ScoreComparison(result, metric, published, "not run")
    if ours.old:
        return ScoreComparison(result, metric, published, "not run", ours.old)
    if not scores:
        lacking = f"none of our {counted(ours.runs, 'run')} has {in_words(column)}"
        lacking = lacking if ours.runs else ""
        reason = _lost(ours) or lacking
        missing: Verdict = "not comparable" if ours.scores.get(metric) else "not run"
        return ScoreComparison(result, metric, published, missing, reason)
    verdict, why = _verdict(table, pair, result, published, ours, scores, budget, paper)
    reasons = [*_departures(pair, result, ours), _lost(ours), why]
    return ScoreComparison(
        result,
        metric,
        published,
        verdict,
        "; ".join(filter(None, reasons)),
        mean=fmean(scores),
        interval=mean_interval(scores),
        n=len(scores),
        runs=ours.runs,
    )


def _lost(ours: Ours) -> str:
    """How many runs have no score to compare, and why."""
    failed = f"{ours.failed} of {ours.runs} failed" if ours.failed else ""
    spent = f"{ours.over_budget} over budget, not counted" if ours.over_budget else ""
    return "; ".join(filter(None, [failed, spent]))


def _departures(pair: Pair, result: Result, ours: Ours) -> list[str]:
    """Everything but the budget in which our runs differ from the paper's."""
    gap = abs(ours.teacher - pair.teacher_score) if pair.teacher_score else 0.0
    return [
        f"{ours.task} stands in" if ours.task != pair.task else "",
        f"the paper's: {unlike}" if (unlike := result.unlike or pair.unlike) else "",
        ", ".join(f"{name}={value}" for name, value in sorted(ours.extra.items())),
        f"teachers {100 * gap:.1f} points apart" if gap > TEACHER_GAP else "",
    ]


def _verdict(
    table: PublishedTable,
    pair: Pair,
    result: Result,
    published: float,
    ours: Ours,
    scores: list[float],
    budget: str,
    paper: str,
) -> tuple[Verdict, str]:
    """The verdict on a published score and ours, and why it is no firmer."""
    if ours.task != pair.task or result.unlike or pair.unlike:
        return "not comparable", ""
    if budget != table.budget:
        return "budgets differ", ""
    if ours.schedule != paper:
        return "budgets differ", f"ours by the schedule of {ours.schedule or 'no paper'}"
    if ours.extra:
        return "not comparable", ""
    within = further_mean_interval(scores, table.seeds)
    if within is None:
        return "insufficient seeds", "one run has no spread"
    if abs(fmean(scores) - published) > within:
        return "differs", ""
    if within > RESOLUTION:
        return "insufficient seeds", f"anything within ± {100 * within:.1f} would agree"
    return "agrees", ""


def further_mean_interval(
    scores: Sequence[float], runs: int, confidence: float = 0.95
) -> float | None:
    """Half-width of the prediction interval of the mean of ``runs`` further runs.

    t · s · √(1/n + 1/m) about the mean of n scores: a paper's number, the mean of m runs, has a
    spread of its own, so that it need not lie in the interval of our mean. None when n < 2.

    Args:
        scores: scores of n runs.
        runs: m, the number of further runs.
        confidence: level of the interval.
    """
    n = len(scores)
    if n < 2:
        return None
    spread = float(pd.Series(scores, dtype=float).std(ddof=1))
    quantile = float(special.stdtrit(n - 1, 0.5 + confidence / 2))
    return quantile * spread * math.sqrt(1 / n + 1 / runs)


def label(pair: Pair, result: Result) -> str:
    """The method and the settings that tell its results apart."""
    alike = [other for other in pair.results if other.method == result.method]
    varied = {
        name: format_value(value)
        for name, value in result.params.items()
        if any(other.params.get(name) != value for other in alike)
    }
    if result.generator_epochs is not None:
        varied["generator epochs"] = str(result.generator_epochs)
    settings = result.label or ", ".join(f"{name}={value}" for name, value in varied.items())
    return f"{result.method} ({settings})" if settings else result.method
