"""Commands that list what there is: tasks, methods, suites, records, this machine."""

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
    """List all tasks, methods, objectives and suites."""
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
    """Show one method or objective with its parameters, one task, suite or record."""
    from benchmark.cli import show as pages

    pages.page(name, console, results, methods_dir or [], tasks_dir or [])


@app.command(rich_help_panel=PANEL)
@answers_in_one_line
def doctor(
    data_dir: DataDir = None, methods_dir: MethodsDir = None, tasks_dir: TasksDir = None
) -> None:
    """Show the device, packages, datasets and teachers of this machine, and where they lie."""
    from benchmark.cli import doctor as diagnosis

    diagnosis.report(console, data_dir, methods_dir or [], tasks_dir or [])
