"""Commands that make again: a paper's table, one record's run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.arguments.executing import (
    Jobs,
)
from benchmark.cli.arguments.options import (
    AllowDirty,
    DataDir,
    Device,
    ImportedTeacher,
    MethodsDir,
    ProxyDir,
    Results,
    Seeds,
    TasksDir,
)
from benchmark.cli.program import answers_in_one_line, app, console
from benchmark.errors import UserError

PANEL = "Run"


@app.command(rich_help_panel=PANEL)
@answers_in_one_line
def reproduce(
    name: Annotated[
        str | None,
        typer.Argument(help="The name of a published table, like rdskd-table2 (see --list)."),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            help="The budget: smoke, cpu, gpu or paper (default: the suite's; with --no-run "
            "that at which the most methods of the table ran)."
        ),
    ] = None,
    task: Annotated[str | None, typer.Option(help="Only this task of the table.")] = None,
    seeds: Seeds = None,
    teacher: ImportedTeacher = "",
    no_run: Annotated[
        bool, typer.Option("--no-run", help="Run nothing; compare with the records that are there.")
    ] = False,
    list_: Annotated[
        bool, typer.Option("--list", help="List the published tables and end.")
    ] = False,
    results: Results = Path("results"),
    data_dir: DataDir = None,
    proxy_dir: ProxyDir = None,
    jobs: Jobs = "auto",
    device: Device = "auto",
    allow_dirty: AllowDirty = False,
) -> None:
    """Run what is missing of a paper's table and print our numbers beside the paper's."""
    from benchmark.cli import reproduce as reproducing

    if list_:
        reproducing.listing(console)
        return
    if name is None:
        raise UserError("give a published table; `dfkd reproduce --list` names them")
    wanted = reproducing.Reproduction.of(name, results, task)
    if no_run:
        of_runs = {
            "--seeds": seeds is not None,
            "--teacher": bool(teacher),
            "--data-dir": data_dir is not None,
            "--proxy-dir": proxy_dir is not None,
            "--jobs": jobs != "auto",
            "--device": device != "auto",
            "--allow-dirty": allow_dirty,
        }
        for option, given in of_runs.items():
            if given:
                raise UserError(f"{option} has no effect with --no-run; leave one of them out")
        wanted.show(budget, console)
        return
    options = reproducing.Options(
        budget, task, seeds, data_dir, proxy_dir, jobs, device, allow_dirty, teacher
    )
    raise typer.Exit(wanted.run(options, console))


@app.command(rich_help_panel=PANEL)
@answers_in_one_line
def replay(
    run_id: Annotated[str, typer.Argument(help="The run id of a record, or its first digits.")],
    results: Results = Path("results"),
    data_dir: DataDir = None,
    proxy_dir: ProxyDir = None,
    methods_dir: MethodsDir = None,
    tasks_dir: TasksDir = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Say what differs here and how long the run took; run nothing."
        ),
    ] = False,
) -> None:
    """Execute the run of a record again and say whether the result is the same; write nothing.

    What differs (processor, torch, precision, code) and how long the run took is said first.
    Exit codes: 0, same bits; 3, within what another processor does: the scores differ by less than
    those of two seeds of the same row do in 95 of 100 cases (t·s·√2 over the row's seeds in the
    results folder), and the processor or torch is another one; 1, differs; 2, it cannot be run.
    """
    from benchmark.cli import replay as replaying

    raise typer.Exit(
        replaying.replay(
            run_id,
            results,
            data_dir,
            methods_dir or [],
            console,
            proxy_dir,
            tasks_dir or [],
            dry_run,
        )
    )
