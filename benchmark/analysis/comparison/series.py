"""The runs that a comparison takes: one method's scores at every value of a swept setting."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean
from types import MappingProxyType
from typing import Any

from benchmark.analysis.frame import METRIC_NAMES, Run
from benchmark.analysis.preference import (
    Preference,
    changes,
    newest_version,
    older,
    preference,
)
from benchmark.analysis.scores import counted_score
from benchmark.errors import UserError
from benchmark.records.canonical import canonical
from benchmark.records.record import FAILED
from methods.settings.params import nearest
from methods.settings.schedule import NUMBERS
from methods.settings.versions import Versions


@dataclass(frozen=True)
class Place:
    """Task, budget, teacher and metric, which a comparison never mixes, and the swept setting."""

    task: str
    budget: str
    teacher: str
    metric: str
    over: str | None


@dataclass(frozen=True)
class Series:
    """A method with everything but one setting fixed.

    Attributes:
        settings: settings that differ from the paper's, without the swept one.
        points: what a run counts for (`benchmark.analysis.scores.counted_score`) by seed, for every
            value of the swept setting (None when none is swept).
        collapsed: runs that ended at chance level, failed ones included, by value.
        chance: the score of a guess.
        note: what else a reader must know: that its runs are of an older version.
    """

    method: str
    title: str
    settings: dict[str, Any]
    points: dict[Any, dict[int, float]]
    collapsed: dict[Any, int]
    run_ids: frozenset[str]
    chance: float = 0.0
    note: str = ""

    def at_chance(self, values: Sequence[Any]) -> bool:
        """Whether it was no better than chance over these values.

        Its mean is at chance, or most of its runs ended there.
        """
        scores = [score for value in values for score in self.points.get(value, {}).values()]
        lost = sum(self.collapsed.get(value, 0) for value in values)
        return bool(scores) and (fmean(scores) <= self.chance or 2 * lost > len(scores))

    @property
    def label(self) -> str:
        """Title with its settings."""
        text = "; ".join(filter(None, [changes(self.settings), self.note]))
        return f"{self.title} ({text})" if text else self.title


Valued = tuple[Run, Any]
"""A run with its value of the swept setting."""

AddedDefaults = Callable[[str], Mapping[tuple[str, int], Any]]
"""Gives the default of a parameter that records leave out, by method and version.

Records leave out a parameter that was added to its method later while it has its default. It is
called only when a record lacks the swept setting.
"""


def no_added_defaults(name: str) -> Mapping[tuple[str, int], Any]:
    """For records that leave nothing out."""
    return {}


def select(
    runs: Sequence[Run],
    methods: Sequence[str],
    task: str,
    budget: str | None = None,
    over: str | None = None,
    added_defaults: AddedDefaults = no_added_defaults,
    versions: Mapping[str, Versions] | None = None,
) -> tuple[Place, list[Series]]:
    """The series to compare; neither scores nor numbers of runs choose them.

    Every method is taken at its published setting, of its newest version, as in the leaderboard; a
    method that never ran so, at the setting that departs least (`benchmark.analysis.preference`).
    Of settings to sweep ``over``, those with several values of it come first. Tuned settings are
    taken only where there are no others. Where there are several budgets and teachers, the one is
    taken at which the most methods ran, then at which the most ran as published, then the one with
    the most student steps.
    Random draws from tuning ranges, and students with another objective than their method's own,
    are left out.

    Args:
        runs: as `benchmark.analysis.frame.runs_of` gives them.
        methods: names, in the order wanted.
        task: its name.
        budget: preset; see above when None.
        over: a parameter of every method, or a number of the budget.
        added_defaults: what records without ``over`` were run at.
        versions: the versions that the program has, by method.

    Raises:
        UserError: for a name that no run has.
    """
    runs = _wanted(runs, methods, task, budget)
    usual = _usual(over, runs, added_defaults)
    chosen: list[Valued]
    if over is None:
        chosen = [(run, None) for run in runs if not run.variant]
    elif over in NUMBERS:
        chosen = [(run, _read(run.budget_numbers).get(over, 0)) for run in runs]
    else:
        # What another version of a method does not know has no value there.
        chosen = [
            (run, _read(run.params).get(over, usual.get(run.owner)))
            for run in runs
            if not run.variant and (over in _read(run.params) or run.owner in usual)
        ]
    if not chosen:
        raise UserError(
            f"no run of {', '.join(methods)} on '{task}' has ended at a budget's own numbers and "
            "with its method's own objective"
        )
    newest = _newest([run for run, _ in chosen], versions or {})
    homes: dict[str, list[Valued]] = defaultdict(list)
    for run, value in chosen:
        homes[f"{_without(run.budget_numbers, over)} {run.teacher}"].append((run, value))
    chosen = homes[min(homes, key=lambda name: (*_use(homes[name], over, newest), name))]
    first, _ = chosen[0]
    place = Place(task, first.budget, first.teacher, METRIC_NAMES[first.metric], over)
    by_method: dict[str, list[Valued]] = defaultdict(list)
    for run, value in chosen:
        by_method[run.method].append((run, value))
    return place, [_series(by_method[name], name, over, newest) for name in methods]


def _newest(runs: Sequence[Run], known: Mapping[str, Versions]) -> Mapping[str, int]:
    """The newest version of every run's method with its parameters, by run id."""
    recorded: dict[str, int] = defaultdict(int)
    for run in runs:
        recorded[run.method] = max(recorded[run.method], run.version)
    return {
        run.run_id: newest_version(known, run.method, _read(run.params), recorded[run.method])
        for run in runs
    }


def _use(
    own: Sequence[Valued], over: str | None, newest: Mapping[str, int]
) -> tuple[int, int, int]:
    """The least comes first: most methods, most of them as published, most student steps."""
    values: dict[str, set[str]] = defaultdict(set)
    for run, value in own:
        values[run.method].add(canonical(value))
    compared = sum(len(different) > 1 or over is None for different in values.values())
    published = {
        run.method
        for run, _ in own
        if not _departures(run, over) and run.version >= newest[run.run_id]
    }
    steps = max(_read(run.budget_numbers).get("student_steps", 0) for run, _ in own)
    return -compared, -len(published), -steps


def _departures(run: Run, over: str | None) -> dict[str, Any]:
    """Settings that are not as published, without the swept one."""
    return {name: value for name, value in _read(run.changed).items() if name != over}


def _wanted(
    runs: Sequence[Run], methods: Sequence[str], task: str, budget: str | None
) -> list[Run]:
    """The scored and failed runs asked for, each once."""
    for column, wanted in (("task", [task]), ("method", methods), ("budget", [budget])):
        have = sorted({getattr(run, column) for run in runs})
        for name in wanted:
            if name is not None and name not in have:
                where = "" if column == "task" else f" on task '{task}'"
                raise UserError(
                    f"there are no records of {column} '{name}'{where}; {nearest(name, have)}"
                )
        if None not in wanted:
            runs = [run for run in runs if getattr(run, column) in wanted]
    once: dict[str, Run] = {}
    # Where several suites have a run, its finished copy is taken.
    for run in sorted(runs, key=lambda run: (run.status in FAILED, run.purpose != "table")):
        if run.counts:
            once.setdefault(run.run_id, run)
    return list(once.values())


def _usual(
    over: str | None, runs: Sequence[Run], added_defaults: AddedDefaults
) -> Mapping[tuple[str, int], Any]:
    """The value of ``over`` in records that lack it, by method and version.

    Raises:
        UserError: when a method has no such parameter.
    """
    if over is None or over in NUMBERS or all(over in _read(run.params) for run in runs):
        return {}
    usual = added_defaults(over)
    known: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        known[run.method].update(_read(run.params))
    for method, names in sorted(known.items()):
        if over not in names and method not in {name for name, _ in usual}:
            raise UserError(
                f"--over: {method} has no parameter '{over}', and a budget no such number; "
                f"{nearest(over, [*sorted(names), *NUMBERS])}"
            )
    return usual


@lru_cache(maxsize=10_000)
def _read(text: str) -> Mapping[str, Any]:
    """Settings from their text; many runs share one."""
    values: dict[str, Any] = json.loads(text)
    return MappingProxyType(values)


@lru_cache(maxsize=10_000)
def _without(text: str, over: str | None) -> str:
    left_out = {over, "inversion_images", "inversion_steps"}
    return canonical({name: value for name, value in _read(text).items() if name not in left_out})


def _series(
    own: Sequence[Valued], method: str, over: str | None, newest: Mapping[str, int]
) -> Series:
    if not own:
        return Series(method, method, {}, {}, {}, frozenset())
    families: dict[str, list[Valued]] = defaultdict(list)
    for run, value in own:
        # Values of one setting may be of several versions that are all the newest.
        behind = max(0, newest[run.run_id] - run.version)
        families[f"{behind} {_without(run.params, over)} {run.proxy}"].append((run, value))

    def order(family: str) -> tuple[int, bool, bool, bool, Preference]:
        runs = [run for run, _ in families[family]]
        alone = over is not None and len({canonical(value) for _, value in families[family]}) < 2
        fewest = min((_departures(run, over) for run in runs), key=len)
        behind = max(0, newest[runs[0].run_id] - runs[0].version)
        tuned = bool(fewest) and any(run.tuned for run in runs)
        # A setting that no table has comes after the tables' own; as published, it is one of them.
        of_sweeps = bool(fewest) and all(run.purpose != "table" for run in runs)
        return behind, alone, tuned, of_sweeps, preference(behind, fewest)

    def latest(family: str) -> tuple[str, str]:
        return max(run.created for run, _ in families[family]), family

    own = families[min(sorted(families, key=latest, reverse=True), key=order)]
    points: dict[Any, dict[int, float]] = defaultdict(dict)
    guesses: dict[Any, dict[int, bool]] = defaultdict(dict)
    for run, value in own:
        counted = counted_score(run.status, run.score, run.chance)
        if counted is not None:
            points[value][int(run.seed)] = counted
            guesses[value][int(run.seed)] = run.status != "ok"
    first, _ = own[0]
    ordered = sorted(points, key=lambda v: (isinstance(v, str), v) if v is not None else (True, ""))
    return Series(
        method,
        first.title,
        _departures(first, over),
        {value: dict(sorted(points[value].items())) for value in ordered},
        {value: sum(guesses[value].values()) for value in ordered},
        frozenset(run.run_id for run, _ in own),
        float(first.chance),
        older(first.version, newest[first.run_id]),
    )
