"""The pages of all methods, and their list in the README."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmark.analysis.leaderboard.tables import tables
from benchmark.analysis.page_files import Files
from benchmark.analysis.text import markdown_grid
from benchmark.docs.method_page import Surroundings, method_page
from benchmark.published.papers import load_published
from benchmark.records.store import Scan
from benchmark.suites.suite import load_suite, suite_names
from benchmark.tasks.registry import all_tasks, get_task
from methods.base.method import Method

BLOCK = re.compile(r"(<!-- methods:begin -->\n).*?(<!-- methods:end -->)", re.S)
DIFFERENCE = re.compile(r"^\| (?P<what>[^|]+) \| (?P<here>[^|]+) \| (?P<there>[^|]+) \|$", re.M)
PICTURES = "images"
"""The folder below ``docs/`` of pictures named ``<task>-<method>.png``."""

INDEX = """# Methods

Written by `dfkd pages` from the methods' files; do not edit it by hand. A method is ranked among
those that see as much as it does.
"""


def method_files(scan: Scan, methods: Mapping[str, type[Method]], docs: Path) -> Files:
    """The page of every method and their list, by path.

    Args:
        scan: the records and the plans.
        methods: the methods, by name.
        docs: the folder of the pages; what is there of differences and of pictures is used.
    """
    folder = docs / "methods"
    around = Surroundings(
        tables=tables(scan),
        papers=load_published(),
        suites=suites_of(methods),
        families={get_task(name).family for name in all_tasks()},
        differences=differences_of(docs / "differences.md"),
        pictures=_pictures(methods, docs / PICTURES),
    )
    pages = {
        folder / f"{name}.md": method_page(method, around).encode()
        for name, method in methods.items()
    }
    return {folder / "index.md": index(methods).encode(), **pages}


def index(methods: Mapping[str, type[Method]]) -> str:
    """The list of all methods with their papers, by what they see."""
    parts = [INDEX]
    for access, own in by_access(methods).items():
        rows = [(f"[{m.title}]({m.name}.md)", f"`{m.name}`", m.paper) for m in own]
        names = ("method", "name", "source")
        parts += [f"## {access[0].upper()}{access[1:]}\n", markdown_grid(names, rows, names) + "\n"]
    return "\n".join(parts)


def fill_list(text: str, methods: Mapping[str, type[Method]], folder: str) -> str:
    """Replace the marked list of methods of a document, a line for each access class.

    Args:
        text: the document.
        methods: the methods, by name.
        folder: where their pages lie, relative to the document.
    """
    lines = [
        f"- **{access}**: {', '.join(f'[{m.title}]({folder}/{m.name}.md)' for m in own)}"
        for access, own in by_access(methods).items()
    ]
    return BLOCK.sub(lambda match: match[1] + "\n".join(lines) + "\n" + match[2], text)


def by_access(methods: Mapping[str, type[Method]]) -> dict[str, list[type[Method]]]:
    """Methods by what they see, the data-free ones first; controls and ceilings come last."""
    classes: dict[str, list[type[Method]]] = defaultdict(list)
    for method in sorted(methods.values(), key=_order):
        control = method.baseline and not method.access
        classes["controls" if control else method.access.describe()].append(method)
    return dict(classes)


def _order(method: type[Method]) -> tuple[bool, bool, str, str]:
    free = not method.access
    return (not free, method.baseline, method.access.describe(), method.title.lower())


def suites_of(methods: Iterable[str]) -> dict[str, list[str]]:
    """Names of the suites that run each of these methods."""
    found: dict[str, list[str]] = {name: [] for name in methods}
    for name in suite_names():
        for entry in load_suite(name).methods:
            if name not in found.get(entry.name, [name]):
                found[entry.name].append(name)
    return found


def differences_of(page: Path) -> dict[str, list[tuple[str, str, str]]]:
    """The rows of the page of differences, by the methods that their first cells name.

    A cell like ``CMI, NAYER, pool`` belongs to both methods, whose names are in lower case here.
    """
    found: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    for row in DIFFERENCE.finditer(text):
        *owners, _ = row["what"].lower().split(", ")
        for owner in owners:
            found[owner].append((row["what"], row["here"], row["there"]))
    return dict(found)


def _pictures(methods: Iterable[str], folder: Path) -> dict[str, Sequence[str]]:
    return {
        name: [f"../{PICTURES}/{path.name}" for path in sorted(folder.glob(f"*-{name}.png"))]
        for name in methods
    }
