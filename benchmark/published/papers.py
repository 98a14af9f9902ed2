"""The papers' numbers as data, one TOML file per paper in ``benchmark/published/``.

Scores are fractions in [0, 1]. Methods and tasks of this package have their names here; other
methods and data sets have the names that the papers use.
"""

from __future__ import annotations

import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from benchmark.errors import UserError
from methods.settings.params import nearest

FOLDER = Path(__file__).parent
SCORES = ("accuracy", "miou", "pixel_accuracy")
"""Metrics in which records are compared; the first one that a result has is its headline."""
SELECTIONS = {
    "last": "last step",
    "best-on-test": "best on test",
    "agreement": "best agreement with the teacher",
    "unknown": "checkpoint not stated",
}

Selection = Literal["last", "best-on-test", "agreement", "unknown"]

Source = Literal["paper", "repository", "later papers"]
SOURCES: dict[Source, str] = {
    "paper": "read in the paper",
    "repository": "read in the authors' repository",
    "later papers": "as later papers quote it",
}
"""Where a number was read, and what a reader is told of it."""

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Result(_Strict):
    """One row of a table.

    ``params`` and ``generator_epochs`` are the settings a record must have to be compared with it.
    ``unlike`` says why no run of this package can be compared with it, at any budget. ``headline``
    marks the number to quote for its task and method; only one result may have it. ``verified`` is
    false where the number was found in none of the sources that `Source` names. ``schedule``,
    ``selection`` and ``source`` are given where they are not those of the pair or table.
    ``quoted`` names the paper that the number is copied from, whose protocol and teacher it has.
    """

    method: str
    label: str = ""
    params: dict[str, Any] = {}
    generator_epochs: int | None = Field(None, ge=1)
    unlike: str = ""
    schedule: str = ""
    selection: Selection | None = None
    source: Source | None = None
    quoted: str = ""
    headline: bool = False
    verified: bool = True
    accuracy: Fraction | None = None
    miou: Fraction | None = None
    pixel_accuracy: Fraction | None = None
    inception_score: Annotated[float, Field(ge=1)] | None = None
    fid: Positive | None = None
    lpips: Positive | None = None
    seconds: Positive | None = None
    gpu_hours: Positive | None = None

    @model_validator(mode="after")
    def _has_a_number(self) -> Result:
        if not self.numbers:
            raise ValueError("a result needs at least one number, such as accuracy")
        return self

    @property
    def numbers(self) -> dict[str, float]:
        """Every published number, by metric."""
        names = (*SCORES, "inception_score", "fid", "lpips", "seconds", "gpu_hours")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    @property
    def score(self) -> tuple[str, float] | None:
        """The metric to rank by and its value; None when the row has costs only."""
        return next(((n, v) for n, v in self.numbers.items() if n in SCORES), None)

    def settings_match(self, params: Mapping[str, Any]) -> bool:
        """Whether a run with these parameters has every setting this result names."""
        return all(name in params and params[name] == v for name, v in self.params.items())


class Pair(_Strict):
    """Results on one dataset with one teacher and one student.

    ``task`` is the task of this package with the same data and networks, if there is one.
    ``stand_in`` is a smaller task, whose runs may be shown in its place but never compared.
    ``departs`` are settings in which the suite departs from the paper in every row; runs with them
    are preferred. ``schedules`` are given where they are not the table's. ``teacher_training`` says
    how the teacher was trained, as far as the paper or its code tells.
    """

    dataset: str
    teacher: str
    student: str
    task: str = ""
    stand_in: str = ""
    teacher_score: Fraction | None = None
    teacher_training: str = ""
    schedules: dict[str, str] = {}
    unlike: str = ""
    departs: dict[str, Any] = {}
    results: list[Result] = []


class PublishedTable(_Strict):
    """One table of a paper.

    ``suite`` names the suite that runs it; without one, it is the suite of the table's full name,
    if there is one. ``selection`` is the checkpoint that the numbers belong to, and ``seeds`` the
    number of runs behind each. ``schedules`` say by method how long was trained, in steps and
    images, as far as the paper or its code tells; ``*`` stands for every other method. ``source``
    is where the numbers were read. ``budget`` is the preset that follows the paper's schedule;
    empty when none does.
    """

    paper: str = ""
    name: str
    title: str
    caption: str = ""
    suite: str = ""
    selection: Selection
    source: Source
    schedules: dict[str, str] = {}
    seeds: int = Field(1, ge=1)
    budget: str = ""
    notes: list[str] = []
    pairs: list[Pair] = Field(min_length=1)

    def results(self) -> Iterator[tuple[Pair, Result]]:
        """Every row with the pair it belongs to."""
        for pair in self.pairs:
            for result in pair.results:
                yield pair, result


@dataclass(frozen=True)
class Protocol:
    """How a published number came about: what a reader must know to compare it with another.

    Attributes:
        schedule: how long was trained, empty when it is not known.
        selection: the checkpoint that was scored.
        seeds: number of runs that the number is a mean of.
        teacher_score: score of the teacher, a fraction, None when it is not stated.
        teacher_training: how the teacher was trained, empty when it is not known.
        source: where the number was read.
        quoted: the paper it is copied from, empty for the authors' own run.
        unlike: why no run of this package can be compared with it, empty when one can.
        verified: whether the number was found in its source.
    """

    schedule: str
    selection: Selection
    seeds: int
    teacher_score: float | None
    teacher_training: str
    source: Source
    quoted: str
    unlike: str
    verified: bool

    @property
    def teacher(self) -> str:
        """The teacher's score and training, such as ``teacher 97.94 (SGD, 200 epochs)``."""
        score = "" if self.teacher_score is None else f"{100 * self.teacher_score:.2f}"
        training = f"({self.teacher_training})" if self.teacher_training else ""
        told = " ".join(filter(None, [score, training]))
        return f"teacher {told}" if told else ""

    @property
    def text(self) -> str:
        """The whole protocol as one phrase, its parts separated by semicolons."""
        source = SOURCES[self.source] if self.verified else "not verified"
        schedule = self.schedule or "schedule not stated"
        parts = (
            "" if schedule in self.unlike else schedule,
            SELECTIONS[self.selection],
            f"mean of {self.seeds} runs" if self.seeds > 1 else "",
            self.teacher,
            self.unlike,
            f"copied from {self.quoted}" if self.quoted else "",
            source,
        )
        return "; ".join(filter(None, parts))


def protocol(table: PublishedTable, pair: Pair, result: Result) -> Protocol:
    """The protocol of one number: its row's own, else its pair's, else its table's.

    A number copied from another paper keeps neither schedule nor teacher of the table that copies
    it, unless its row gives them.
    """
    copied = bool(result.quoted)
    schedules = {} if copied else {**table.schedules, **pair.schedules}
    return Protocol(
        schedule=result.schedule or schedules.get(result.method, schedules.get("*", "")),
        selection=result.selection or ("unknown" if copied else table.selection),
        seeds=1 if copied else table.seeds,
        teacher_score=None if copied else pair.teacher_score,
        teacher_training="" if copied else pair.teacher_training,
        source=result.source or table.source,
        quoted=result.quoted,
        unlike=result.unlike or pair.unlike,
        verified=result.verified,
    )


class Paper(_Strict):
    """All tables of one file; ``proposes`` names the methods that the paper introduced."""

    key: str
    paper: str
    short: str
    proposes: list[str] = []
    tables: list[PublishedTable] = Field(min_length=1)

    def rows(self) -> Iterator[tuple[PublishedTable, Pair, Result]]:
        """Every row with the table and the pair it belongs to."""
        for table in self.tables:
            for pair, result in table.results():
                yield table, pair, result

    @cached_property
    def rows_of(self) -> dict[tuple[str, str], list[tuple[PublishedTable, Pair, Result]]]:
        """The rows by task and method."""
        found = defaultdict(list)
        for table, pair, result in self.rows():
            found[pair.task, result.method].append((table, pair, result))
        return dict(found)


def load_paper(path: Path) -> Paper:
    """Read one file.

    Raises:
        UserError: naming the file and the place in it.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"published file '{path}' is not valid TOML: {error}") from None
    except OSError as error:
        raise UserError(f"cannot read published file '{path}': {error.strerror}") from None
    try:
        return Paper(**{**data, "key": path.stem})
    except ValidationError as error:
        raise UserError(f"published file '{path}': {_first(error)}") from None


def _first(error: ValidationError) -> str:
    """The first mistake; an unknown key counts before the missing key that it was meant to be."""
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    where = [str(part) for part in first["loc"]]
    name = ".".join(where)
    if first["type"] == "extra_forbidden":
        models: dict[str, type[_Strict]] = {
            "tables": PublishedTable,
            "pairs": Pair,
            "results": Result,
        }
        model = next((models[part] for part in reversed(where[:-1]) if part in models), Paper)
        return f"unknown key '{name}'; {nearest(where[-1], list(model.model_fields))}"
    if first["type"] == "missing":
        return f"the key '{name}' is missing"
    message = first["msg"].removeprefix("Value error, ")
    return f"'{name}': {message[0].lower()}{message[1:]}"


@cache
def load_published(folder: Path = FOLDER) -> tuple[Paper, ...]:
    """Read every file of a folder, in order of name.

    Raises:
        UserError: for the first file that is wrong, or when two headlines contradict each other.
    """
    papers = tuple(load_paper(path) for path in sorted(folder.glob("*.toml")))
    seen: dict[tuple[str, str], str] = {}
    for paper in papers:
        for table, pair, result in paper.rows():
            if not result.headline:
                continue
            place, key = f"{paper.key}-{table.name}", (pair.task, result.method)
            if key in seen:
                raise UserError(
                    f"published: '{result.method}' on '{pair.task}' has two headlines, in "
                    f"{seen[key]} and in {place}; keep one"
                )
            seen[key] = place
    return papers


def published_tables(papers: Iterable[Paper]) -> dict[str, tuple[Paper, PublishedTable]]:
    """Every table, by its full name, ``<file>-<table>``, such as ``rdskd-table2``."""
    return {f"{p.key}-{t.name}": (p, t) for p in papers for t in p.tables}


def find_table(name: str, papers: Iterable[Paper]) -> tuple[Paper, PublishedTable]:
    """The table with this full name.

    Raises:
        UserError: with the nearest valid name.
    """
    tables = published_tables(papers)
    if name not in tables:
        raise UserError(f"there is no published table '{name}'; {nearest(name, list(tables))}")
    return tables[name]
