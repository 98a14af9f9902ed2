"""Suites: TOML files of tasks × methods × hyper-parameter axes × seeds, at one budget."""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from benchmark.errors import UserError
from benchmark.records.spec import TUNING_SEEDS_FROM
from methods.settings.budget import Budget
from methods.settings.names import NAME
from methods.settings.schedule import NUMBERS

if TYPE_CHECKING:
    from methods.base.method import Method

SUITES = Path(__file__).parent
TEACHERS = "teachers"
TUNED = "tuned"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _seed_list(value: Any) -> Any:
    return parse_seeds(value) if isinstance(value, str) else value


def _settings_or_tuned(value: Any) -> Any:
    if isinstance(value, str) and value != TUNED:
        raise ValueError(
            f"is '{value}'; give settings like {{ temperature = 4.0 }}, or \"{TUNED}\""
        )
    return value


Seed = Annotated[int, Field(ge=0)]
SeedRange = Annotated[list[Seed], BeforeValidator(_seed_list), Field(min_length=1)]
"""Seeds as a list, or as a text like ``"0-4"``."""


class MethodEntry(_Strict):
    """One method of a suite, with fixed parameters and axes to sweep.

    ``params`` are the fixed parameters, or ``"tuned"`` for those that tuning has chosen, which the
    suite's file ``tuned`` holds. ``seeds`` replaces the suite's seeds for this entry. ``tasks``
    names the suite's tasks that the entry is for, if it is not for all of them. ``objective`` is
    what the student minimises, where ``kd`` is the method's own; ``objectives`` names several to
    try.
    """

    name: str
    seeds: SeedRange | None = None
    tasks: Annotated[list[str], Field(min_length=1)] | None = None
    params: Annotated[dict[str, Any] | Literal["tuned"], BeforeValidator(_settings_or_tuned)] = {}
    axes: dict[str, Annotated[list[Any], Field(min_length=1)]] = {}
    objective: str = ""
    objective_params: dict[str, Any] = {}
    objectives: Annotated[list[str], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one_or_several_objectives(self) -> MethodEntry:
        if self.objectives and (self.objective or self.objective_params):
            raise ValueError(
                "'objectives' tries several with their defaults, 'objective' and "
                "'objective_params' set one; use two entries"
            )
        return self

    @model_validator(mode="after")
    def _tuned_or_axes(self) -> MethodEntry:
        if self.is_tuned and self.axes:
            raise ValueError(f'give axes, or params = "{TUNED}"; not both')
        return self

    @property
    def is_tuned(self) -> bool:
        """Whether the parameters are those that tuning has chosen."""
        return self.params == TUNED

    @property
    def fixed(self) -> dict[str, Any]:
        """The parameters that the entry itself fixes; none where tuning has chosen them."""
        return self.params if isinstance(self.params, dict) else {}

    def variants(self) -> list[dict[str, Any]]:
        """The fixed parameters with every combination of the axes' values."""
        names = list(self.axes)
        return [
            {**self.fixed, **dict(zip(names, values, strict=True))}
            for values in itertools.product(*self.axes.values())
        ]


class Suite(_Strict):
    """A grid of runs.

    ``objectives`` are those of every entry that names none. ``budget_axes`` sweeps numbers of the
    budget for every method. ``purpose`` is ``sweep`` for runs that `dfkd compare` reads and that
    are no rows of the leaderboard, and ``tune`` for runs that choose settings. ``draws`` is the
    number of random settings of every method, drawn from its tuning ranges. ``trials`` is the
    number of settings that a choice is made from: the published one and random ones. ``tuned`` is
    the file of choices that entries with ``params = "tuned"`` take theirs from; in a suite file its
    path is relative to that file. ``schedule_of`` names the method by whose paper's schedule all
    methods run at the budget ``paper``, as in that paper's table; by default each has its own.
    """

    name: str
    title: str = ""
    description: str = ""
    budget: str
    tasks: list[str] = Field(min_length=1)
    seeds: SeedRange
    objectives: Annotated[list[str], Field(min_length=1)] = ["kd"]
    purpose: Literal["table", "sweep", "tune"] = "table"
    budget_axes: dict[str, Annotated[list[Any], Field(min_length=1)]] = {}
    draws: int = Field(0, ge=0, le=1000)
    trials: int = Field(0, ge=0, le=1000)
    tuned: str = ""
    schedule_of: str = ""
    methods: list[MethodEntry] = Field(min_length=1)

    @field_validator("budget_axes")
    @classmethod
    def _budget_numbers(cls, value: dict[str, list[Any]]) -> dict[str, list[Any]]:
        from methods.settings.params import nearest

        for name in value:
            if name not in NUMBERS:
                raise ValueError(f"a budget has no number '{name}'; {nearest(name, NUMBERS)}")
        return value

    @model_validator(mode="after")
    def _draws_or_axes(self) -> Suite:
        if self.draws and any(entry.axes for entry in self.methods):
            raise ValueError("give draws, or methods with axes; not both")
        return self

    @model_validator(mode="after")
    def _trials_of_published_settings(self) -> Suite:
        if bool(self.trials) != (self.purpose == "tune"):
            raise ValueError('trials are for purpose = "tune", and it needs them; give both')
        if not self.trials:
            return self
        for seeds in (self.seeds, *(entry.seeds for entry in self.methods)):
            check_tuning_seeds(seeds or ())
        if self.draws or self.budget_axes or any(entry.axes for entry in self.methods):
            raise ValueError("trials are the only thing that a tuning varies; leave draws and axes")
        names = [entry.name for entry in self.methods]
        for entry in self.methods:
            if entry.is_tuned:
                raise ValueError(f"'{entry.name}' is to be tuned here; fix its params, or none")
            if names.count(entry.name) > 1 or len(self.objectives_of(entry)) > 1:
                raise ValueError(f"'{entry.name}' is tuned once, with one objective")
        return self

    @model_validator(mode="after")
    def _file_of_tuned_entries(self) -> Suite:
        if any(entry.is_tuned for entry in self.methods) and not self.tuned:
            raise ValueError(
                f'params = "{TUNED}" needs the file of the choices: {TUNED} = "FILE" at the top'
            )
        return self

    def folder(self, task: str, budget: str) -> str:
        """The name of the folder that has the records of a task at a budget."""
        return tuning_folder(task, budget) if self.purpose == "tune" else self.name

    def with_trials(self, trials: int) -> Suite:
        """This tuning with another number of trials, at least one."""
        return self.model_copy(update={"trials": trials})

    def budgets(self, preset: Budget) -> list[Budget]:
        """A preset with every combination of the budget axes' values.

        Raises:
            UserError: for a number out of range.
        """
        names = list(self.budget_axes)
        try:
            return [
                preset.varied(**dict(zip(names, values, strict=True)))
                for values in itertools.product(*self.budget_axes.values())
            ]
        except ValidationError as error:
            first = error.errors()[0]
            raise UserError(
                f"suite '{self.name}': budget_axes.{first['loc'][0]} has {first['input']!r}: "
                f"{first['msg']}"
            ) from None

    def overrides(
        self, entry: MethodEntry, method: type[Method], family: str
    ) -> list[dict[str, Any]]:
        """The parameters of every run of an entry: trials, random settings, or its axes' values."""
        if not self.draws and not self.trials:
            return entry.variants()
        from methods.base.draws import draw_params, tunable

        if self.draws:
            return draw_params(method, self.draws, entry.fixed, family)
        more = self.trials - 1 if tunable(method, entry.fixed, family) else 0
        return [entry.fixed, *draw_params(method, more, entry.fixed, family)]

    @field_validator("name")
    @classmethod
    def _folder_name(cls, value: str) -> str:
        # The name becomes a folder of the results.
        if value == TEACHERS:
            raise ValueError(f"'{TEACHERS}' is where teachers are kept; choose another")
        if not NAME.fullmatch(value):
            raise ValueError("must be made of letters, digits, '.', '_' and '-'")
        return value

    def objectives_of(self, entry: MethodEntry) -> list[str]:
        """The names of an entry's objectives; ``kd`` is the method's own."""
        if entry.objectives:
            return entry.objectives
        return [entry.objective] if entry.objective else self.objectives

    def only_task(self, task: str) -> Suite:
        """This suite on one task alone: one of its tasks, or another task of the same family.

        Raises:
            UserError: when the suite has no such task and none of its family.
        """
        own = task if task in self.tasks else self._relative(task)
        mine = [entry for entry in self.methods if entry.tasks is None or own in entry.tasks]
        alike = [entry.model_copy(update={"tasks": None}) for entry in mine]
        return self.model_copy(update={"tasks": [task], "methods": alike})

    def _relative(self, task: str) -> str:
        """The suite's first task of the same family as ``task``, whose settings are the same."""
        from benchmark.tasks.registry import all_tasks
        from methods.settings.params import nearest

        known = all_tasks()
        refusal = f"suite '{self.name}' has no task '{task}'"
        if task not in known:
            raise UserError(f"{refusal}; {nearest(task, self.tasks)}")
        family = known[task].family
        for own in self.tasks:
            if own in known and known[own].family == family:
                return own
        raise UserError(f"{refusal} and none of its family '{family}'; {nearest(task, self.tasks)}")


def parse_seeds(text: str) -> list[int]:
    """The seeds of a text: ``"0-4,7"`` gives [0, 1, 2, 3, 4, 7].

    Raises:
        ValueError: with one line that has an example.
    """
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        if not match:
            raise ValueError(f"seed range '{text}' is not understood; write it like 0-4 or 0,2,7")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise ValueError(f"seed range '{text}' runs backwards; write it like 0-4")
        if last - first >= 10_000:
            raise ValueError(f"seed range '{text}' has more than 10,000 seeds")
        seeds.extend(range(first, last + 1))
    return list(dict.fromkeys(seeds))


def check_tuning_seeds(seeds: Sequence[int]) -> None:
    """Refuse to tune on the seeds of tables.

    Raises:
        ValueError: for a seed below `TUNING_SEEDS_FROM`.
    """
    if early := [seed for seed in seeds if seed < TUNING_SEEDS_FROM]:
        raise ValueError(
            f"seed {early[0]} is for tables; tuning has the seeds from {TUNING_SEEDS_FROM} on"
        )


def check_table_seeds(seeds: Sequence[int]) -> None:
    """Refuse tables and sweeps on the seeds of tuning.

    Raises:
        ValueError: for a seed from `TUNING_SEEDS_FROM` on.
    """
    if late := [seed for seed in seeds if seed >= TUNING_SEEDS_FROM]:
        raise ValueError(
            f"seed {late[0]} is for tuning and random draws; tables and sweeps have the seeds "
            f"below {TUNING_SEEDS_FROM}"
        )


def tuning_folder(task: str, budget: str) -> str:
    """The name of the folder with the trials of a task at a budget: ``tune-mnist-cpu``."""
    return f"tune-{task}-{budget}"


def suite_names() -> list[str]:
    """The names of the suites that ship with the package."""
    return sorted(path.stem for path in SUITES.glob("*.toml"))


def load_suite(name: str) -> Suite:
    """A shipped suite by name, or a suite file by path.

    Raises:
        UserError: when there is no such suite, or naming the file and line that are wrong.
    """
    from methods.settings.params import nearest

    path = Path(name) if name.endswith(".toml") else SUITES / f"{name}.toml"
    if not path.is_file():
        hint = nearest(name, suite_names())
        raise UserError(f"there is no suite '{name}'; {hint} (a file of your own ends in .toml)")
    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"suite file '{path}' is not valid TOML: {error}") from None
    except OSError as error:
        raise UserError(f"cannot read suite file '{path}': {error.strerror}") from None
    if isinstance(data.get("tuned"), str):
        data["tuned"] = str(path.parent / data["tuned"])
    try:
        return Suite(**{"name": path.stem, **data})
    except ValidationError as error:
        raise UserError(_suite_error(path, text, error)) from None


def _line_of(keys: list[str], key: str, text: str) -> int:
    """The line of a key, given the path to it; it lies in its own entry of ``[[methods]]``."""
    lines = text.splitlines()
    entries = [i for i, line in enumerate(lines) if re.match(r"\s*\[\[\s*methods\s*\]\]", line)]
    start, stop = 0, entries[0] if entries and keys[:1] != ["methods"] else len(lines)
    if keys[:1] == ["methods"] and len(keys) > 1 and int(keys[1]) < len(entries):
        start = entries[int(keys[1])]
        stop = [*entries, len(lines)][int(keys[1]) + 1]
    if key in ("", "methods"):
        return start + 1
    found = re.compile(rf"\s*\[*\s*(\w+\.)*{re.escape(key)}\b")
    return 1 + next((i for i in range(start, stop) if found.match(lines[i])), start)


def _suite_error(path: Path, text: str, error: ValidationError) -> str:
    from methods.settings.params import nearest

    first = error.errors()[0]
    keys = [str(part) for part in first["loc"]]
    key = next((k for k in reversed(keys) if not k.isdigit()), "")
    if keys == ["name"] and not re.search(r"^\s*name\s*=", text.partition("[[")[0], re.M):
        message = first["msg"].removeprefix("Value error, ")
        return f"suite file '{path}': its name is the suite's unless it has a 'name', and {message}"
    line = _line_of(keys, key, text)
    if first["type"] == "extra_forbidden":
        valid = list((MethodEntry if "methods" in keys[:-1] else Suite).model_fields)
        return f"suite file '{path}', line {line}: unknown key '{key}'; {nearest(key, valid)}"
    if first["type"] == "missing":
        return f"suite file '{path}': the key '{'.'.join(keys)}' is missing"
    message = first["msg"].removeprefix("Value error, ")
    return f"suite file '{path}', line {line}: '{'.'.join(keys)}': {message}"


def parse_settings(pairs: Sequence[str], option: str = "--set") -> dict[str, Any]:
    """The settings of texts like ``["tau=4", "joint=true"]``; numbers and booleans are recognised.

    Raises:
        UserError: for a text that is not of this form, or a setting that is given twice.
    """
    import tomllib

    settings: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise UserError(f"{option} '{pair}' is not a setting; write it like temperature=4")
        if name in settings:
            raise UserError(f"{option} gives '{name}' twice; leave one of them out")
        try:
            found = tomllib.loads(f"value = {text}")
        except tomllib.TOMLDecodeError:
            found = {}
        # TOML may read a text of several lines as several settings; here it is one.
        settings[name] = found["value"] if len(found) == 1 else text
    return settings
