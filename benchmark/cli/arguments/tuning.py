"""The command that chooses settings by many trials."""

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
    TasksDir,
)
from benchmark.cli.program import answers_in_one_line, app, console
from benchmark.grid.executors import forks

PANEL = "Run"

TUNE_HELP = r"""Choose every method's settings by the same number of trials, without the test set.

Trial 0 is the published setting. In the others, every learning rate and every weight of a loss is \
drawn log-uniformly within a factor of ten of its published value, and every temperature between 1 \
and 20; all else stays as published (see dfkd show METHOD). A weight that is published as 0 stays 0.

Trials have seeds that no table has. The best mean wins, of equal ones the first; trials that fail \
or spend more than their budget never win.

Trials that have a record are not run again: the same command goes on where it was stopped, and \
several machines may share a folder. Their records are rows of no table.

The choices are written to a file. A suite that names it (tuned = "chosen.toml") runs them in its \
entries with params = "tuned", beside those as published.

[bold]Examples[/bold]

dfkd tune digits --budget smoke --trials 4 --results runs/tuning

dfkd tune mnist --methods dafl,rdskd --by dev --write mnist-dev.toml

Exit code 1 if nothing could be chosen for a method.
""".replace("\\\n", "")
"""As one string: typer would keep the line breaks of a docstring."""


@app.command(rich_help_panel=PANEL, help=TUNE_HELP)
@answers_in_one_line
def tune(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="TASK_OR_SUITE...",
            help="Tasks, or suites whose purpose is tuning (by name, or the path of a .toml file).",
        ),
    ],
    methods: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            "--methods",
            help="A method, or several with commas between (repeatable). Default: those of the "
            "suite; for a task, all that see nothing beyond the teacher but proxy images, without "
            "controls.",
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1000,
            help="How many settings of each method: the published one, then random ones (default: "
            "the suite's, or 16).",
        ),
    ] = None,
    by: Annotated[
        str,
        typer.Option(
            help="What the best trial is chosen by: agreement of student and teacher on synthetic "
            "images, which needs no data, or dev, the score on the development split."
        ),
    ] = "agreement",
    seeds: Annotated[
        str | None,
        typer.Option(help="The tuning seeds, like 100-102; 0-99 are for tables (default: 100)."),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(help="The budget of every trial (default: the suite's, or cpu)."),
    ] = None,
    teacher: ImportedTeacher = "",
    write: Annotated[
        Path | None,
        typer.Option(
            help="The file of the choices (default: RESULTS/tune-TASK-BUDGET/chosen.toml)."
        ),
    ] = None,
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
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="List the trials and which are there already; run nothing."),
    ] = False,
    allow_dirty: AllowDirty = False,
) -> None:
    """Choose every method's settings by the same number of trials, without the test set."""
    if executor == "local" and jobs != "1" and not dry_run:
        forks.get_ready_early()
    from benchmark.cli import tune as tuning
    from benchmark.cli.run_request import RunRequest

    request = tuning.TuneRequest(
        names=tuple(names),
        run=RunRequest(
            methods=tuple(name for text in methods or () for name in text.split(",") if name),
            seeds=seeds,
            budget=budget,
            results=results,
            data_dir=data_dir,
            proxy_dir=proxy_dir,
            method_folders=tuple(methods_dir or ()),
            task_folders=tuple(tasks_dir or ()),
            jobs=jobs,
            threads=threads,
            device=device,
            overwrite=overwrite,
            time_limit=time_limit,
            run_timeout=run_timeout,
            checkpoint_every=checkpoint_every,
            executor=executor,
            ray_address=ray_address,
            gpus_per_run=gpus_per_run,
            retries=retries,
            allow_dirty=allow_dirty,
            teacher=teacher,
        ),
        trials=trials,
        by=by,
        write=write,
    )
    raise typer.Exit(
        tuning.preview_trials(request, console) if dry_run else tuning.tune(request, console)
    )
