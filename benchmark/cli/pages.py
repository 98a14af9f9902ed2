"""``dfkd pages`` and ``dfkd docs``: what the pages need to know of methods and suites."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from benchmark.analysis.page_files import Files
from benchmark.analysis.pages.publish import Robustness
from benchmark.cli.comparisons import sweep_context
from benchmark.docs.methods import fill_list, method_files
from benchmark.docs.site import build_site
from benchmark.docs.task_page import task_files
from benchmark.records.store import Scan
from benchmark.suites.suite import load_suite
from benchmark.tasks.registry import all_tasks, get_task
from methods.base.registry import discover

DRAWN = "robustness-draws"
"""The suite whose methods and task the page on robustness is about."""

DOCS = Path("docs")
README = Path("README.md")


def about_robustness() -> Robustness:
    """What the page on robustness compares."""
    suite = load_suite(DRAWN)
    (task,) = suite.tasks
    methods = list(dict.fromkeys(entry.name for entry in suite.methods))
    return Robustness(task, methods, sweep_context(task))


def pages_of_methods_and_tasks(scan: Scan, files: Files) -> Files:
    """The pages of the methods and tasks that the repository has, and the README with their list.

    Args:
        scan: the records and the plans.
        files: the pages of results.
    """
    methods = discover([])
    tasks = {name: get_task(name) for name in all_tasks()}
    found = method_files(scan, methods, DOCS) | task_files(scan, tasks, DOCS)
    if README in files:
        text = files[README].decode()
        found[README] = fill_list(text, methods, (DOCS / "methods").as_posix()).encode()
    return found


def site(output: Path, console: Console) -> None:
    """Build the static site of the repository's pages.

    Raises:
        UserError: when it cannot be built.
    """
    pages = build_site(Path(), output, discover([]))
    console.print(
        f"{output / 'index.html'}: {pages} pages", highlight=False, markup=False, soft_wrap=True
    )
