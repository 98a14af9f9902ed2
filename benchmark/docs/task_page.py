"""The page of one task: its data, networks and budgets, and what the records show on it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmark.analysis.leaderboard.tables import Table, tables
from benchmark.analysis.page_files import Files
from benchmark.analysis.pages.readme import short_table
from benchmark.analysis.text import NO_VALUE, markdown_grid
from benchmark.records.store import Scan
from benchmark.tasks.base import Task
from methods.settings.schedule import NUMBERS, PAPER

INDEX = """# Tasks

Written by `dfkd pages` from the tasks' files; do not edit it by hand.
"""
OWN_SCHEDULE = (
    "At `paper`, which is for reproducing tables, a method has the schedule of its own paper; "
    "baselines have these numbers."
)


def task_files(scan: Scan, tasks: Mapping[str, Task], docs: Path) -> Files:
    """The page of every task and their list, by path.

    Args:
        scan: the records and the plans.
        tasks: the tasks, by name.
        docs: the folder of the pages.
    """
    found, folder = tables(scan), docs / "tasks"
    rows = [
        (f"[{task.title}]({name}.md)", f"`{name}`", task.pair, ", ".join(task.budgets))
        for name, task in sorted(tasks.items())
    ]
    names = ("task", "name", "teacher → student", "budgets")
    index = f"{INDEX}\n{markdown_grid(names, rows, names)}\n"
    pages = {
        folder / f"{name}.md": task_page(task, [t for t in found if t.task == name]).encode()
        for name, task in tasks.items()
    }
    return {folder / "index.md": index.encode(), **pages}


def task_page(task: Task, results: Sequence[Table]) -> str:
    """The page in Markdown.

    Args:
        task: the task.
        results: its tables.
    """
    parts = [
        f"# {task.title}",
        "Written by `dfkd pages` from the task's file and the records; do not edit it by hand.",
        inspect.getdoc(type(task)) or "",
        _card(task),
        "## Budgets",
        *_budgets(task),
        *(["## Results"] if results else []),
        *(f"### Budget `{table.budget.title}`\n\n{short_table(table)}" for table in results),
        "## Run it",
        f"```bash\ndfkd show {task.name}\ndfkd run --task {task.name} --method rdskd "
        f"--results runs/{task.name}\n```",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _card(task: Task) -> str:
    recipes = "; ".join(
        ", ".join(f"{key}={value}" for key, value in recipe.identity().items())
        + (f" (budgets {', '.join(presets)})" if task.teacher_recipes else "")
        for recipe, presets in task.recipes().items()
    )
    rows = [
        ("name", f"`{task.name}`, version {task.version}"),
        ("teacher → student", task.pair),
        ("images", " × ".join(map(str, task.image_shape))),
        ("classes", ", ".join(task.classes) if task.classes else str(task.num_classes)),
        ("proxy images", task.proxy or NO_VALUE),
        ("teacher's recipe", recipes),
    ]
    return markdown_grid(("", "what"), rows, ("", "what"))


def _budgets(task: Task) -> Iterator[str]:
    body = [
        (f"`{name}`", *(str(getattr(budget, name)) for budget in task.budgets.values()))
        for name in NUMBERS
    ]
    yield markdown_grid(("number", *task.budgets), body, ("number",))
    if PAPER in task.budgets:
        yield OWN_SCHEDULE
