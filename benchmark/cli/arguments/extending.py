"""Commands for methods and tasks of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import methods
from benchmark.cli.arguments.options import DataDir, Device, TasksDir
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


IMPORT_HELP = r"""Take a teacher that somebody else trained: a file of weights for a task's network.

FILE is safetensors, or what torch.save wrote of tensors and plain values: the weights alone, or \
in an entry state_dict, model, state or net of a training checkpoint. A pickled module is refused. \
The names of the weights may be those of the usual wide ResNets, ResNets and VGGs.

The teacher is scored on the task's test data and kept in the cache under its id. Nothing is known \
of its training: records and captions say that it was imported, and from what file.

[bold]Examples[/bold]

dfkd import-teacher --task cifar10-wrn --weights cifar10_wrn40_2.pth

dfkd import-teacher --task cifar10 --weights net.pth --rename stem=conv1 \
--mean 0.5,0.5,0.5 --std 0.5,0.5,0.5

dfkd run --task cifar10 --method fast --teacher 5f1c09
""".replace("\\\n", "")
"""As one string: typer would keep the line breaks of a docstring."""


@app.command("import-teacher", rich_help_panel=PANEL, help=IMPORT_HELP)
@answers_in_one_line
def import_teacher(
    task: Annotated[str, typer.Option(help="The task whose teacher the file has the weights of.")],
    weights: Annotated[Path, typer.Option(help="The file of the weights.")],
    rename: Annotated[
        list[str] | None,
        typer.Option(
            help="A part of the file's names and the network's name for it, like linear=fc "
            "(repeatable); nothing after the = leaves these weights out."
        ),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(
            help="The mean that the teacher's input is normalised with, one number a channel in "
            "units of [0, 1] pixels (default: the task's)."
        ),
    ] = None,
    std: Annotated[str | None, typer.Option(help="The standard deviation, like --mean.")] = None,
    data_dir: DataDir = None,
    tasks_dir: TasksDir = None,
    device: Device = "auto",
) -> None:
    """Take a teacher that somebody else trained: a file of weights for a task's network."""
    from benchmark.cli import import_teacher as importing

    request = importing.Request(
        task=task,
        weights=weights,
        renames=tuple(rename or ()),
        mean=mean,
        std=std,
        data_dir=data_dir,
        task_folders=tuple(tasks_dir or ()),
        device=device,
    )
    importing.run(request, console)


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
