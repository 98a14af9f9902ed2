"""One method's scores at every value of a swept setting, chosen from a frame of results."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean
from types import MappingProxyType
from typing import Any

import pandas as pd

from benchmark.analysis.frame import METRIC_NAMES
from benchmark.canonical import canonical
from benchmark.errors import UserError
from benchmark.records import FAILED, SCORED
from methods.budget import Budget
from methods.params import format_value, nearest

BUDGET_NUMBERS = [name for name in Budget.model_fields if name not in ("name", "variant")]


@dataclass(frozen=True)
class Place:
    """What a comparison never mixes."""

    task: str
    budget: str
    teacher: str
    metric: str
    over: str | None


@dataclass(frozen=True)
class Series:
    """A method with everything but one setting fixed.

    Attributes:
        settings: what differs from the paper's, without the swept one.
        points: score by seed, by value of the swept setting (None when none is swept); failed runs
            at chance.
        collapsed: runs that ended at chance level, failed ones included, by value.
        chance: what a guess scores.
    """

    method: str
    title: str
    settings: dict[str, Any]
    points: dict[Any, dict[int, float]]
    collapsed: dict[Any, int]
    run_ids: frozenset[str]
    chance: float = 0.0

    def at_chance(self, values: Sequence[Any]) -> bool:
        """Whether over these values it was no better than guesses: its mean is theirs, or most of
        its runs ended at chance level."""
        scores = [score for value in values for score in self.points.get(value, {}).values()]
        lost = sum(self.collapsed.get(value, 0) for value in values)
        return bool(scores) and (fmean(scores) <= self.chance or 2 * lost > len(scores))

    @property
    def label(self) -> str:
        """Title with its settings."""
        text = ", ".join(f"{name}={format_value(v)}" for name, v in self.settings.items())
        return f"{self.title} ({text})" if text else self.title


def select(
    frame: pd.DataFrame,
    methods: Sequence[str],
    task: str,
    budget: str | None = None,
    over: str | None = None,
) -> tuple[Place, list[Series]]:
    """The series to compare, chosen by how many runs there are and never by their scores.

    Of several budgets and teachers the one with the most runs is taken; of a method's settings,
    those with the most values of ``over`` (without it, with the most runs in the leaderboard), then
    with the most runs, then nearest the paper's.
    Random draws from tuning ranges and students with another objective than their method's own take
    no part.

    Args:
        frame: of `benchmark.load_results`.
        methods: names, in the order wanted.
        task: its name.
        budget: preset; the one with the most runs when None.
        over: a parameter of every method, or a number of the budget.

    Raises:
        UserError: for a name that the frame does not have.
    """
    rows = _runs(frame, methods, task, budget)
    settings = rows["params"].map(_read)
    numbers = rows["budget_numbers"].map(_read)
    usual = _usual(over, rows.assign(settings=settings))
    # Objects: pandas would turn the integers beside a missing value into floats, and it into NaN.
    if over in BUDGET_NUMBERS:
        values = [n.get(over, 0) for n in numbers]
        rows = rows.assign(value=pd.Series(values, rows.index, dtype=object))
    else:
        owners = list(zip(rows["method"], rows["version"], strict=True))
        values = [s.get(over, usual.get(own)) for s, own in zip(settings, owners, strict=True)]
        # What another version of a method does not know has no value there.
        known = [
            over is None or over in s or own in usual
            for s, own in zip(settings, owners, strict=True)
        ]
        rows = rows.assign(value=pd.Series(values, rows.index, dtype=object))
        rows = rows[(rows["variant"] == "") & pd.Series(known, rows.index, dtype=bool)]
    if rows.empty:
        raise UserError(
            f"no run of {', '.join(methods)} on '{task}' has ended at a budget's own numbers and "
            "with its method's own objective"
        )
    rows = rows.assign(
        home=rows["budget_numbers"].map(lambda own: _without(own, over)) + " " + rows["teacher"],
        family=rows["params"].map(lambda own: _without(own, over))
        + rows["version"].astype(str)
        + rows["proxy"],
    )
    sizes = rows.groupby("home", sort=True).size()
    rows = rows[rows["home"] == sizes.idxmax()]
    place = Place(
        task,
        str(rows["budget"].iloc[0]),
        str(rows["teacher"].iloc[0]),
        METRIC_NAMES[rows["metric"].iloc[0]],
        over,
    )
    return place, [_series(rows[rows["method"] == name], name, over) for name in methods]


def _runs(
    frame: pd.DataFrame, methods: Sequence[str], task: str, budget: str | None
) -> pd.DataFrame:
    """The scored and failed runs asked for, each once."""
    rows = frame
    for column, wanted in (("task", [task]), ("method", methods), ("budget", [budget])):
        for name in wanted:
            have = [] if rows.empty else sorted(set(rows[column]))
            if name is not None and name not in have:
                where = "" if column == "task" else f" on task '{task}'"
                raise UserError(
                    f"there are no records of {column} '{name}'{where}; {nearest(name, have)}"
                )
        if None not in wanted:
            rows = rows[rows[column].isin(wanted)]
    rows = rows[
        rows["status"].isin(SCORED | FAILED)
        & (rows["purpose"] != "draw")
        & (rows["objective"] == "kd")
    ]
    failed = rows["status"].isin(FAILED)
    score = rows["score"].where(~failed, rows["chance"])
    rows = rows.assign(score=score, ended=~failed, in_table=rows["purpose"] == "table")
    # Of a run that several suites have, the finished copy.
    rows = rows.sort_values(["ended", "in_table"], ascending=False, kind="stable")
    return rows.drop_duplicates("run_id").reset_index(drop=True)


def _usual(over: str | None, rows: pd.DataFrame) -> dict[tuple[str, int], Any]:
    """What a record without the parameter ``over`` was run at, by method and version.

    Raises:
        UserError: when a method has no such parameter.
    """
    lacking = [over not in settings for settings in rows["settings"]]
    if over is None or over in BUDGET_NUMBERS or not any(lacking):
        return {}
    usual = _added_defaults(over)
    for method, own in rows.groupby("method", sort=True):
        names = sorted(set().union(*own["settings"]))
        if over not in names and method not in {name for name, _ in usual}:
            raise UserError(
                f"--over: {method} has no parameter '{over}', and a budget no such number; "
                f"{nearest(over, [*names, *BUDGET_NUMBERS])}"
            )
    return usual


def _added_defaults(over: str) -> dict[tuple[str, int], Any]:
    """The default of a parameter in every method to which it was added, by name and version.

    Records leave it out while it has that default (`methods.params.param`).
    """
    # They import torch, which no other table or comparison has to wait for.
    from methods.registry import RegistryError, discover

    try:
        known = discover()
    except RegistryError:
        return {}  # of a method that does not import as little is known as of one not installed
    return {
        (name, cls.version): cls.Params.model_fields[over].default
        for name, cls in known.items()
        if over in cls.Params.model_fields and cls.Params.info(over).added
    }


@lru_cache(maxsize=10_000)
def _read(text: str) -> Mapping[str, Any]:
    """Settings, of which many runs have the same."""
    values: dict[str, Any] = json.loads(text)
    return MappingProxyType(values)


@lru_cache(maxsize=10_000)
def _without(text: str, over: str | None) -> str:
    left_out = {over, "inversion_images", "inversion_steps"}
    return canonical({name: value for name, value in _read(text).items() if name not in left_out})


def _series(rows: pd.DataFrame, method: str, over: str | None) -> Series:
    if rows.empty:
        return Series(method, method, {}, {}, {}, frozenset())
    changes = rows["changed"].map(_read)
    families = {str(family): own for family, own in rows.groupby("family", sort=False)}

    def preference(family: str) -> tuple[int, int, int, int, str]:
        own = families[family]
        in_table = 0 if over else int(own["in_table"].sum())
        fewest = min(len(changes[i]) for i in own.index)
        return (-own["value"].map(canonical).nunique(), -in_table, -len(own), fewest, family)

    rows = families[min(families, key=preference)]
    points: dict[Any, dict[int, float]] = defaultdict(dict)
    guesses: dict[Any, dict[int, bool]] = defaultdict(dict)
    for value, seed, score, status in zip(
        rows["value"], rows["seed"], rows["score"], rows["status"], strict=True
    ):
        points[value][int(seed)] = float(score)
        guesses[value][int(seed)] = status != "ok"
    settings = {name: v for name, v in changes[rows.index[0]].items() if name != over}
    ordered = sorted(points, key=lambda v: (isinstance(v, str), v) if v is not None else (True, ""))
    return Series(
        method,
        str(rows["title"].iloc[0]),
        settings,
        {value: dict(sorted(points[value].items())) for value in ordered},
        {value: sum(guesses[value].values()) for value in ordered},
        frozenset(rows["run_id"]),
        float(rows["chance"].iloc[0]),
    )
