"""The command that trains: a grid of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
    jobs: Annotated[
        str,
        typer.Option(
            help="How many runs at the same time, each in a process of its own: a number, or auto "
            "for as many as cores and memory allow (one on a GPU)."
        ),
    ] = "auto",
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Threads of each run (default: measured once per machine)."),
    ] = None,
    device: Device = "auto",
    overwrite: Annotated[
        str,
        typer.Option(
            help="Which runs that have a record are run again: never none, failed those that "
            "failed or exceeded their budget, stale those whose record was made by other code than "
            "the present, always all. A finished record is kept until the new one is there."
        ),
    ] = "never",
    time_limit: Annotated[
        str | None,
        typer.Option(
            help="Stop after this time, like 9m or 1h30m; the same command then goes on. For batch "
            "queues. Exit code 130 if runs are left."
        ),
    ] = None,
    run_timeout: Annotated[
        str | None, typer.Option(help="End every run that takes longer than this, like 30m.")
    ] = None,
    checkpoint_every: Annotated[
        str, typer.Option(help="How often a run saves its state, from which it can go on.")
    ] = "1m",
    executor: Annotated[
        str,
        typer.Option(
            help="Where to run: local for this machine, ray for the nodes of a Ray cluster."
        ),
    ] = "local",
    ray_address: Annotated[
        str | None,
        typer.Option(
            help="The address of a running Ray cluster, like auto or host:6379 (default: "
            "start one on "
            "this machine)."
        ),
    ] = None,
    gpus_per_run: Annotated[
        float | None,
        typer.Option(
            min=0, help="GPUs that each run reserves on Ray; 0.25 packs four runs onto one GPU."
        ),
    ] = None,
    retries: Annotated[
        int | None,
        typer.Option(
            min=0, help="How often Ray starts a run again if its worker dies (default: 2)."
        ),
    ] = None,
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
        forks.get_ready()
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
