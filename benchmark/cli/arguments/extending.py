"""Commands for methods and tasks of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import methods
from benchmark.cli.program import answers_in_one_line, app, console

PANEL = "Bring your own"


@app.command("new-method", rich_help_panel=PANEL)
@answers_in_one_line
def new_method(
    name: Annotated[str, typer.Argument(help="The method's name in kebab-case.")],
    folder: Annotated[
        Path, typer.Option("--dir", help="The folder to write the file into.")
    ] = Path("methods"),
    alternating: Annotated[
        bool,
        typer.Option("--alternating", help="A method whose generator and student play in turn."),
    ] = False,
) -> None:
    """Write a file with a small method that passes the contract suite, to start from."""
    from benchmark.contract import scaffold
    from methods.base.registry import discover

    template = scaffold.ALTERNATING if alternating else scaffold.TEMPLATE
    path = scaffold.write(name, folder, template, taken=discover())
    own = Path(methods.__file__).parent
    where = "" if folder.resolve() == own else f" --methods-dir {folder}"
    console.print(
        f"wrote {path}; check it with: dfkd test {path}, and run it with: dfkd run --task digits "
        f"--method {name} --budget smoke{where} --results runs/{name}",
        highlight=False,
        soft_wrap=True,
    )


@app.command("new-task", rich_help_panel=PANEL)
@answers_in_one_line
def new_task(
    name: Annotated[str, typer.Argument(help="The task's name in kebab-case.")],
    folder: Annotated[
        Path, typer.Option("--dir", help="The folder to write the file into.")
    ] = Path("tasks"),
) -> None:
    """Write a file with a small task (data, networks, recipe, budgets), to start from."""
    from benchmark.contract import scaffold, task_template
    from benchmark.tasks.registry import all_tasks

    path = scaffold.write(name, folder, task_template.TEMPLATE, "task", all_tasks())
    console.print(
        f"wrote {path}; try it with: dfkd run --task {name} --method rdskd --budget smoke "
        f"--tasks-dir {folder} --results runs/{name}",
        highlight=False,
        soft_wrap=True,
    )


@app.command("test", rich_help_panel=PANEL)
@answers_in_one_line
def check_contract(
    path: Annotated[Path, typer.Argument(help="A method file, or a folder of them.")],
    only: Annotated[
        str | None, typer.Option(help="Only the checks whose name contains this text.")
    ] = None,
) -> None:
    """Check that a method keeps the contract; this takes seconds, on tiny data."""
    from benchmark.cli import contract

    raise typer.Exit(contract.report(path, only, console))
