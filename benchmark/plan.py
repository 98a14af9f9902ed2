"""Suites, and what they set out to run.

A suite is a TOML file: tasks × methods × hyper-parameter axes × seeds, at one budget. `plan`
turns it into `PlannedRun`s; together with the data's and the teacher's checksums each becomes a
`Spec`, whose hash is the run's identity.
"""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from benchmark.records import ObjectiveSpec, Spec
from methods.budget import Budget

if TYPE_CHECKING:
    from benchmark.tasks.base import Task
    from methods.base import Method
    from methods.objectives.transfer import TransferObjective
    from methods.params import MethodParams

SUITES = Path(__file__).parent / "suites"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _seed_list(value: Any) -> Any:
    return parse_seeds(value) if isinstance(value, str) else value


SeedRange = Annotated[list[int], BeforeValidator(_seed_list), Field(min_length=1)]
"""Seeds, as a list or as text like ``"0-4"``."""


class MethodEntry(_Strict):
    """One method of a suite, with fixed parameters and axes to sweep.

    ``seeds`` replaces the suite's for this entry, and ``tasks`` names those of the suite's it is
    meant for, when it is not all of them. ``objective`` is what the student minimises, ``kd`` being
    the method's own; ``objectives`` names several to try.
    """

    name: str
    seeds: SeedRange | None = None
    tasks: Annotated[list[str], Field(min_length=1)] | None = None
    params: dict[str, Any] = {}
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

    def variants(self) -> list[dict[str, Any]]:
        """Every combination of the axes' values on top of the fixed parameters."""
        names = list(self.axes)
        return [
            {**self.params, **dict(zip(names, values, strict=True))}
            for values in itertools.product(*self.axes.values())
        ]


class Suite(_Strict):
    """A grid of runs; ``objectives`` are those of every entry that names none."""

    name: str
    title: str = ""
    description: str = ""
    budget: str
    tasks: list[str] = Field(min_length=1)
    seeds: SeedRange
    objectives: Annotated[list[str], Field(min_length=1)] = ["kd"]
    methods: list[MethodEntry] = Field(min_length=1)

    @field_validator("name")
    @classmethod
    def _folder_name(cls, value: str) -> str:
        # The name becomes a folder of results/.
        if not NAME.fullmatch(value):
            raise ValueError("must be made of letters, digits, '.', '_' and '-'")
        return value

    def objectives_of(self, entry: MethodEntry) -> list[str]:
        """What the students of an entry minimise, ``kd`` for the method's own."""
        if entry.objectives:
            return entry.objectives
        return [entry.objective] if entry.objective else self.objectives

    def only_task(self, task: str) -> Suite:
        """This suite without its other tasks.

        Raises:
            UserError: when it has no such task.
        """
        from methods.params import nearest

        if task not in self.tasks:
            raise UserError(
                f"suite '{self.name}' has no task '{task}'; {nearest(task, self.tasks)}"
            )
        mine = [entry for entry in self.methods if entry.tasks is None or task in entry.tasks]
        alike = [entry.model_copy(update={"tasks": None}) for entry in mine]
        return self.model_copy(update={"tasks": [task], "methods": alike})


def parse_seeds(text: str) -> list[int]:
    """``"0-4,7"`` to [0, 1, 2, 3, 4, 7].

    Raises:
        ValueError: one line with an example.
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


def suite_names() -> list[str]:
    """Suites that ship with the package."""
    return sorted(path.stem for path in SUITES.glob("*.toml"))


def load_suite(name: str) -> Suite:
    """A shipped suite by name, or a suite file by path.

    Raises:
        UserError: with file and line.
    """
    from methods.params import nearest

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
    try:
        return Suite(**{"name": path.stem, **data})
    except ValidationError as error:
        raise UserError(_suite_error(path, text, error)) from None


def _suite_error(path: Path, text: str, error: ValidationError) -> str:
    from methods.params import nearest

    first = error.errors()[0]
    keys = [str(part) for part in first["loc"]]
    key = next((k for k in reversed(keys) if not k.isdigit()), "")
    line = next(
        (
            number
            for number, content in enumerate(text.splitlines(), 1)
            if re.match(rf"\s*\[*\s*(\w+\.)*{re.escape(key)}\b", content)
        ),
        1,
    )
    if first["type"] == "extra_forbidden":
        valid = list((MethodEntry if "methods" in keys[:-1] else Suite).model_fields)
        return f"suite file '{path}', line {line}: unknown key '{key}'; {nearest(key, valid)}"
    if first["type"] == "missing":
        return f"suite file '{path}': the key '{'.'.join(keys)}' is missing"
    message = first["msg"].removeprefix("Value error, ")
    return f"suite file '{path}', line {line}: '{'.'.join(keys)}': {message}"


@dataclass(frozen=True)
class PlannedRun:
    """One cell of a suite, validated; what it lacks of a `Spec` are the data's checksums."""

    suite: str
    task: Task
    method: type[Method]
    params: MethodParams
    changed: Mapping[str, Any]
    budget: Budget
    seed: int
    objective: ObjectiveSpec | None = None

    def spec(self, data_checksum: str, proxy_checksum: str = "") -> Spec:
        """The full specification once the data, and the proxy data if any, are known."""
        return Spec(
            suite=self.suite,
            task=self.task.name,
            task_version=self.task.version,
            data=data_checksum,
            method=self.method.name,
            method_version=self.method.version,
            params=self.params.recorded(),
            budget=self.budget.of_method(self.method.inverts_pixels),
            seed=self.seed,
            proxy=proxy_checksum,
            objective=self.objective,
        )


def plan(
    suite: Suite,
    methods: Mapping[str, type[Method]],
    *,
    budget: str | None = None,
    seeds: Sequence[int] | None = None,
    only: Sequence[str] = (),
) -> list[PlannedRun]:
    """Every run of a suite: seeds outermost, so that all methods grow together.

    Args:
        suite: the grid.
        methods: known methods by name.
        budget: overrides the suite's.
        seeds: override the suite's.
        only: method names to keep; all when empty.

    Raises:
        UserError: for an unknown task, method, objective or budget.
        methods.params.ParameterError: for an unknown, invalid or ineffective parameter.
    """
    from benchmark.tasks.registry import get_task
    from methods.objectives.registry import discover_objectives
    from methods.params import nearest

    objectives = discover_objectives()
    names = [entry.name for entry in suite.methods]
    for name in [*names, *only]:
        if name not in methods:
            raise UserError(f"there is no method '{name}'; {nearest(name, list(methods))}")
    for name in only:
        if name not in names:
            raise UserError(f"suite '{suite.name}' has no method '{name}'; {nearest(name, names)}")
    for entry in suite.methods:
        for name in entry.tasks or ():
            if name not in suite.tasks:
                raise UserError(
                    f"suite '{suite.name}': its entry of '{entry.name}' is for the task '{name}', "
                    f"which the suite has not got; {nearest(name, suite.tasks)}"
                )
    runs: list[PlannedRun] = []
    for task_name in suite.tasks:
        task = get_task(task_name)
        preset = budget or suite.budget
        if preset not in task.budgets:
            raise UserError(
                f"task '{task.name}' has no budget '{preset}'; "
                f"{nearest(preset, list(task.budgets))}"
            )
        entries = [e for e in suite.methods if e.tasks is None or task_name in e.tasks]
        of_entry = [set(seeds or entry.seeds or suite.seeds) for entry in entries]
        for seed in sorted(set().union(*of_entry)):
            for entry, wanted in zip(entries, of_entry, strict=True):
                if seed not in wanted or (only and entry.name not in only):
                    continue
                cls = methods[entry.name]
                usual = cls.build_params({}, task.family)
                for overrides in entry.variants():
                    params = cls.build_params(overrides, task.family)
                    changed = {
                        key: value
                        for key, value in params.model_dump(mode="json").items()
                        if value != usual.model_dump(mode="json")[key]
                    }
                    cell = PlannedRun(
                        suite.name, task, cls, params, changed, task.budgets[preset], seed
                    )
                    runs.extend(
                        with_objective(cell, name, entry.objective_params, objectives)
                        for name in suite.objectives_of(entry)
                    )
    return runs


def with_objective(
    run: PlannedRun,
    name: str,
    overrides: Mapping[str, Any],
    known: Mapping[str, type[TransferObjective]],
) -> PlannedRun:
    """The run with an objective on its method; the run itself for ``kd``, the method's own.

    Raises:
        UserError: for an unknown objective, or parameters without one.
        methods.params.ParameterError: for an unknown, invalid or ineffective parameter.
    """
    from methods.objectives.registry import OWN
    from methods.params import nearest

    if name == OWN:
        if overrides:
            raise UserError(
                f"objective '{OWN}' is the method's own and has no parameters; set those of "
                f"'{run.method.name}', or choose another objective"
            )
        return run
    if name not in known:
        raise UserError(f"there is no objective '{name}'; {nearest(name, [OWN, *known])}")
    cls = known[name]
    params = cls.build_params(overrides)
    usual = cls.build_params({}).model_dump(mode="json")
    settings = params.model_dump(mode="json")
    changed = {key: value for key, value in settings.items() if value != usual[key]}
    return replace(
        run,
        changed={**run.changed, "objective": name, **changed},
        objective=ObjectiveSpec(name=name, version=cls.version, params=params.recorded()),
    )
