"""Commands that say what there is: tasks, methods, suites, records, this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.arguments.options import DataDir, MethodsDir, Results, TasksDir
from benchmark.cli.program import answers_in_one_line, app, console

PANEL = "Look around"


@app.command("list", rich_help_panel=PANEL)
@answers_in_one_line
def list_(methods_dir: MethodsDir = None, tasks_dir: TasksDir = None) -> None:
    """List the tasks, methods, objectives and suites there are."""
    from benchmark.cli import show

    show.overview(console, methods_dir or [], tasks_dir or [])


@app.command(rich_help_panel=PANEL)
@answers_in_one_line
def show(
    name: Annotated[
        str, typer.Argument(help="A method, an objective, a task, a suite, or a run id.")
    ],
    results: Results = Path("results"),
    methods_dir: MethodsDir = None,
    tasks_dir: TasksDir = None,
) -> None:
    """Show a method's or an objective's parameters, a task, a suite or a record."""
    from benchmark.cli import show as pages

    pages.page(name, console, results, methods_dir or [], tasks_dir or [])


@app.command(rich_help_panel=PANEL)
@answers_in_one_line
def doctor(
    data_dir: DataDir = None, methods_dir: MethodsDir = None, tasks_dir: TasksDir = None
) -> None:
    """Say what this machine has (device, packages, datasets, teachers) and where it looked."""
    from benchmark.cli import doctor as diagnosis

    diagnosis.report(console, data_dir, methods_dir or [], tasks_dir or [])
