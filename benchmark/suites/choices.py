"""The file in which a tuning leaves its choices, and from which suites take them.

It is TOML, for people to read, and holds the settings with all that says how they were chosen.
This module imports no torch.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmark.errors import UserError

By = Literal["agreement", "dev"]
"""By what trials are compared: the student's agreement with the teacher on synthetic images, which
needs no data, or its score on the development split, which does."""

FILE = "chosen.toml"
"""The name of the file beside the records of its trials."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Choice(_Strict):
    """The trial that was chosen for one method.

    Attributes:
        version: the version of the method.
        trials: how many settings there were; 1 for a method in which nothing is tuned.
        chosen: the number of the best trial; 0 is the published setting.
        params: its parameters that differ from the method's published ones for the task.
        score: its mean score over the tuning seeds.
        published: that of trial 0; None where it failed.
        failed: how many trials have a run that failed or spent more than its budget.
        runs: the ids of the chosen trial's runs, by ascending seed.
    """

    version: int
    trials: int = Field(ge=1)
    chosen: int = Field(ge=0)
    params: dict[str, Any] = {}
    score: float
    published: float | None = None
    failed: int = Field(ge=0)
    runs: list[str]


class Choices(_Strict):
    """What a tuning on one task, at one budget, has chosen for every method.

    Attributes:
        task: the task.
        budget: the name of the budget.
        by: see `By`.
        seeds: the tuning seeds.
        teacher: the teacher's checksum.
        methods: the choices by the methods' names.
    """

    task: str
    budget: str
    by: By
    seeds: Annotated[list[int], Field(min_length=1)]
    teacher: str
    methods: dict[str, Choice] = {}

    def how(self, method: str) -> str:
        """How a method's setting was chosen, for tables: ``16 trials, by agreement``."""
        count = self.methods[method].trials
        return f"{count} trial{'s' if count != 1 else ''}, by {self.by}"

    def with_those_of(self, older: Choices) -> Choices:
        """These choices, and the older ones of other methods, if they were made the same way."""
        head = {"methods"}
        if self.model_dump(exclude=head) != older.model_dump(exclude=head):
            return self
        return self.model_copy(update={"methods": {**older.methods, **self.methods}})

    def to_toml(self) -> str:
        """The file's text; equal choices give equal texts."""
        head = self.model_dump(exclude={"methods"})
        lines = [
            "# Settings chosen by `dfkd tune`. A suite that says",
            f'#   tuned = "{FILE}"          (the path of this file)',
            '# runs them in its entries with params = "tuned".',
            *_lines(head),
        ]
        for name in sorted(self.methods):
            lines += ["", f"[methods.{name}]", *_lines(self.methods[name].model_dump())]
        return "\n".join(lines) + "\n"


def load_choices(path: Path, task: str, budget: str) -> Choices:
    """The choices of a file that `dfkd tune` wrote.

    Args:
        path: the file.
        task: the task that they are wanted for, for the message.
        budget: the budget likewise.

    Raises:
        UserError: when there is no such file, saying which command makes it, or it is damaged.
    """
    try:
        return Choices.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(
            f"there are no tuned settings in '{path}' yet; "
            f"`{_command(task, budget)} --write {path}` chooses them"
        ) from None
    except OSError as error:
        raise UserError(f"cannot read '{path}': {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"'{path}' is no file of `dfkd tune`: {where}: {first['msg']}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"'{path}' is not valid TOML: {error}") from None


def choice_of(
    choices: Choices, method: str, version_of: Callable[[Choice], int], path: Path
) -> Choice:
    """The choice for a method.

    Args:
        choices: all choices of a file.
        method: the method's name.
        version_of: the version that runs of the method with a choice's parameters have now.
        path: the file, for the messages.

    Raises:
        UserError: when there is none, or it was made for another version of the method.
    """
    again = f"`{_command(choices.task, choices.budget)} --method {method}` chooses it"
    if method not in choices.methods:
        raise UserError(f"'{path}' has no tuned setting of '{method}'; {again}")
    choice = choices.methods[method]
    version = version_of(choice)
    if choice.version != version:
        raise UserError(
            f"'{path}' was chosen for version {choice.version} of '{method}', which is at version "
            f"{version} with these parameters; {again} anew"
        )
    return choice


def check_teacher(chosen_with: str, teacher: str, task: str, budget: str) -> None:
    """Refuse settings that were chosen with another teacher.

    Args:
        chosen_with: checksum of the teacher with which they were chosen.
        teacher: checksum of the teacher of the run.
        task: the run's task.
        budget: the name of its budget.

    Raises:
        UserError: naming both teachers, when they differ.
    """
    if chosen_with != teacher:
        raise UserError(
            f"the tuned settings on '{task}' were chosen with the teacher {chosen_with}, but the "
            f"teacher here is {teacher}; `{_command(task, budget)}` chooses them anew"
        )


def _command(task: str, budget: str) -> str:
    """The command that tunes a task: its shipped suite, which may fix parameters, or the task."""
    suite = f"tune-{task}"
    shipped = Path(__file__).with_name(f"{suite}.toml").is_file()
    return f"dfkd tune {suite if shipped else task} --budget {budget}"


def _lines(values: Mapping[str, Any]) -> list[str]:
    return [f"{name} = {_toml(value)}" for name, value in values.items() if value is not None]


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        inner = ", ".join(f"{name} = {_toml(value[name])}" for name in sorted(value))
        return f"{{ {inner} }}" if inner else "{}"
    # Numbers, truth values, and texts without control characters read the same in JSON and TOML.
    return json.dumps(value, ensure_ascii=False)
