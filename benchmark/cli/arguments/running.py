"""The command that trains: a grid of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.arguments.executing import (
    CheckpointEvery,
    Executor,
    GpusPerRun,
    Jobs,
    Overwrite,
    RayAddress,
    Retries,
    RunTimeout,
    Threads,
    TimeLimit,
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
    Settings,
    TasksDir,
)
from benchmark.cli.program import answers_in_one_line, app, console
from benchmark.grid.executors import forks

PANEL = "Run"


@app.command(rich_help_panel=PANEL)
@answers_in_one_line
def run(
    suite: Annotated[
        str | None, typer.Argument(help="A suite's name, or the path of a suite file (.toml).")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="The task. With a suite: only this task of the suite, or a task of the same "
            "family in its place."
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(help="A method (repeatable). With a suite: only these of its methods."),
    ] = None,
    set_: Settings = None,
    objective: Annotated[
        str | None,
        typer.Option(help="What the student minimises (default: kd, the objective of the method)."),
    ] = None,
    objective_set: Annotated[
        list[str] | None,
        typer.Option(help="A parameter of the objective as key=value (repeatable)."),
    ] = None,
    seeds: Seeds = None,
    budget: Annotated[
        str | None,
        typer.Option(help="The budget: smoke, cpu, gpu or paper (default: the suite's, or cpu)."),
    ] = None,
    teacher: ImportedTeacher = "",
    results: Results = Path("results"),
    data_dir: DataDir = None,
    proxy_dir: ProxyDir = None,
    methods_dir: MethodsDir = None,
    tasks_dir: TasksDir = None,
    jobs: Jobs = "auto",
    threads: Threads = None,
    device: Device = "auto",
    overwrite: Overwrite = "never",
    time_limit: TimeLimit = None,
    run_timeout: RunTimeout = None,
    checkpoint_every: CheckpointEvery = "1m",
    executor: Executor = "local",
    ray_address: RayAddress = None,
    gpus_per_run: GpusPerRun = None,
    retries: Retries = None,
    suite_name: Annotated[
        str | None,
        typer.Option(help="The folder of the records if no suite is given (default: custom)."),
    ] = None,
    beside: Annotated[
        Path | None,
        typer.Option(
            help="Rank the runs among the records of this folder, like results: those of the same "
            "task, budget and teacher. Nothing is written there."
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="List what would be run and what is there already; run nothing."
        ),
    ] = False,
    allow_dirty: AllowDirty = False,
) -> None:
    """Run a suite, or methods on one task; runs that have a record are not repeated.

    Every run becomes a record, and so does every failure. Exit code 1 if a run failed or exceeded
    its budget.
    """
    if executor == "local" and jobs != "1" and not dry_run:
        forks.get_ready_early()
    from benchmark.cli import run as commands
    from benchmark.cli.run_request import RunRequest

    request = RunRequest(
        suite=suite,
        task=task,
        methods=tuple(method or ()),
        settings=tuple(set_ or ()),
        seeds=seeds,
        budget=budget,
        suite_name=suite_name,
        results=results,
        data_dir=data_dir,
        method_folders=tuple(methods_dir or ()),
        jobs=jobs,
        threads=threads,
        device=device,
        overwrite=overwrite,
        proxy_dir=proxy_dir,
        objective=objective,
        objective_settings=tuple(objective_set or ()),
        task_folders=tuple(tasks_dir or ()),
        time_limit=time_limit,
        run_timeout=run_timeout,
        checkpoint_every=checkpoint_every,
        executor=executor,
        ray_address=ray_address,
        gpus_per_run=gpus_per_run,
        retries=retries,
        allow_dirty=allow_dirty,
        teacher=teacher,
        beside=beside,
    )
    code = commands.preview_runs(request, console) if dry_run else commands.run(request, console)
    raise typer.Exit(code)
