"""The page of one method: what it does, its settings and where they come from, its results here."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from benchmark.analysis.leaderboard.cells import headline_grid
from benchmark.analysis.leaderboard.tables import Table
from benchmark.analysis.text import NO_VALUE, escape_cell, markdown_grid, percent
from benchmark.docs import facts
from benchmark.published.papers import Paper, Result, protocol
from methods.base.method import Method
from methods.settings.params import format_value

RESULT_COLUMNS = ("rank", "setting", "group", "n ok/planned", "collapsed")
"""Columns of the leaderboard that stand on a method's page, beside its score."""

PUBLISHED_COLUMNS = ("table", "pair", "row", "score, %", "protocol")
WORDS = ("table", "pair", "row", "protocol", "task", "budget", "setting", "group")

SCORE = """The score is that of the last step, mean over seeds ± half-width of its 95 % interval:
accuracy, or mean IoU in segmentation. [The leaderboard](../../leaderboard.md) has all columns and
says what they mean."""


@dataclass(frozen=True)
class Surroundings:
    """What the page of a method tells beyond the method's own file.

    Attributes:
        tables: the leaderboard's tables.
        papers: the papers' numbers.
        suites: names of the suites that run each method, by method.
        families: names of all task families.
        differences: what differs from papers and released code, by the name of the method in lower
            case: what, here, there.
        pictures: paths, relative to the page, of pictures of the method's images, by method.
    """

    tables: Sequence[Table]
    papers: Sequence[Paper]
    suites: Mapping[str, Sequence[str]]
    families: Collection[str]
    differences: Mapping[str, Sequence[tuple[str, str, str]]] = field(default_factory=dict)
    pictures: Mapping[str, Sequence[str]] = field(default_factory=dict)


def method_page(method: type[Method], around: Surroundings) -> str:
    """The page in Markdown.

    Args:
        method: the method.
        around: results, published numbers and what else there is of it.
    """
    parts = [
        f"# {method.title}",
        "Written by `dfkd pages` from the method's file and the records; do not edit it by hand.",
        _what(method),
        _card(method, around),
        *_titled("Settings", _settings(method)),
        *_titled("The paper's own schedule", _schedules(method, around.families)),
        *_titled("What differs from the paper and its code", _differences(method, around)),
        *_titled("Results here", _results(method, around.tables)),
        *_titled("Published numbers", _published(method, around.papers)),
        *_titled("Images", _pictures(method, around.pictures)),
        "## Run it",
        _commands(method, around),
    ]
    return "\n\n".join(parts) + "\n"


def _titled(title: str, parts: Iterator[str]) -> list[str]:
    """A section, or nothing where there is nothing to say."""
    body = list(parts)
    return [f"## {title}", *body] if body else []


def _what(method: type[Method]) -> str:
    """The text of the method's file, equations kept as they are set; else that of its class."""
    module = inspect.getmodule(method)
    text = inspect.getdoc(module) if module is not None else None
    own = inspect.getdoc(method) or ""
    return "\n\n".join(filter(None, [text, *([own] if own and own not in (text or "") else [])]))


def _card(method: type[Method], around: Surroundings) -> str:
    suites = ", ".join(f"`{name}`" for name in around.suites.get(method.name, ()))
    rows = [
        ("name", f"`{method.name}`, version {method.version}"),
        ("source", method.paper),
        ("sees beside the teacher", method.access.describe()),
        ("suites", suites or NO_VALUE),
    ]
    return markdown_grid(("", "what"), rows, ("", "what"))


def _settings(method: type[Method]) -> Iterator[str]:
    found = facts.parameters(method.Params)
    if found:
        names = ("name", "default", "tuned within", "meaning", "source")
        body = [
            (
                f"`{one.name}`",
                one.default,
                one.tuned or NO_VALUE,
                "; ".join(filter(None, [one.meaning, one.conditions])),
                one.source,
            )
            for one in found
        ]
        yield "Given by `--set name=value`; an unknown name is an error."
        yield markdown_grid(names, body, names)
    lines = [
        f"- On `{family}`: {settings or 'the defaults'}."
        for family, settings, _ in facts.family_settings(method)
    ]
    if lines:
        yield "\n".join(lines)


def _schedules(method: type[Method], families: Collection[str]) -> Iterator[str]:
    lines = [
        f"- `{family}`: {escape_cell(text)}." for family, text in facts.schedules(method, families)
    ]
    if lines:
        yield "At `--budget paper`, which is for reproducing the paper's tables:"
        yield "\n".join(lines)


def _differences(method: type[Method], around: Surroundings) -> Iterator[str]:
    rows = [
        row
        for name in dict.fromkeys([method.title.lower(), method.name])
        for row in around.differences.get(name, ())
    ]
    if rows:
        names = ("what", "here", "there")
        yield markdown_grid(names, rows, names)


def _results(method: type[Method], tables: Sequence[Table]) -> Iterator[str]:
    body = []
    for table in tables:
        grid = headline_grid(table).where(lambda row: row.method == method.name)
        score = next(name for name in grid.names if name in ("accuracy, %", "mIoU, %"))
        columns = [grid.column(name) for name in (*RESULT_COLUMNS[:2], score, *RESULT_COLUMNS[2:])]
        place = (f"`{table.task}`", f"`{table.budget.title}`")
        body += [(*place, *cells) for cells in zip(*columns, strict=True)]
    if body:
        names = ("task", "budget", *RESULT_COLUMNS[:2], "score, %", *RESULT_COLUMNS[2:])
        yield markdown_grid(names, body, WORDS)
        yield SCORE


def _published(method: type[Method], papers: Sequence[Paper]) -> Iterator[str]:
    """Numbers of the method's own papers, and those that are quoted as its headline."""
    body: list[tuple[str, ...]] = []
    protocols: list[str] = []
    for paper in papers:
        for table, pair, result in paper.rows():
            own = method.name in paper.proposes or result.headline
            if result.method != method.name or not own or result.score is None:
                continue
            said = protocol(table, pair, result).text
            if said not in protocols:
                protocols.append(said)
            networks = f"{pair.dataset}, {pair.teacher} → {pair.student}"
            score = percent(result.score[1])
            number = f"[{protocols.index(said) + 1}]"
            body.append((f"`{paper.key}-{table.name}`", networks, _label(result), score, number))
    if body:
        yield markdown_grid(PUBLISHED_COLUMNS, body, WORDS)
        yield "\n".join(f"{number}. {said}" for number, said in enumerate(protocols, 1))
        yield "`dfkd reproduce TABLE --no-run` shows a table beside the records."


def _label(result: Result) -> str:
    """What tells a published row from the others of its method."""
    epochs = result.generator_epochs
    settings = [f"{name}={format_value(value)}" for name, value in result.params.items()]
    settings += [f"{epochs} generator epochs"] if epochs else []
    return result.label or ", ".join(settings) or NO_VALUE


def _pictures(method: type[Method], pictures: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for path in pictures.get(method.name, ()):
        yield f"![Images of {method.title}]({path})"


def _commands(method: type[Method], around: Surroundings) -> str:
    suites = around.suites.get(method.name, ())
    digits = "digits" in suites or not suites
    task = "digits" if digits else suites[0]
    lines = [
        f"dfkd show {method.name}",
        f"dfkd run --task {task} --method {method.name} --seeds 0-2 --results runs/{method.name}"
        if digits
        else f"dfkd run {task} --method {method.name} --results runs/{method.name}",
    ]
    return "\n".join(["```bash", *lines, "```"])
