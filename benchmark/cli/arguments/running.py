"""Commands that train: a grid of runs, a paper's table, one record's run again."""

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
from benchmark.errors import UserError
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
    jobs: Annotated[str, typer.Option(help="As for dfkd run.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="As for dfkd run.")] = None,
    device: Device = "auto",
    overwrite: Annotated[str, typer.Option(help="As for dfkd run.")] = "never",
    time_limit: Annotated[str | None, typer.Option(help="As for dfkd run.")] = None,
    run_timeout: Annotated[str | None, typer.Option(help="As for dfkd run.")] = None,
    checkpoint_every: Annotated[str, typer.Option(help="As for dfkd run.")] = "1m",
    executor: Annotated[str, typer.Option(help="As for dfkd run.")] = "local",
    ray_address: Annotated[str | None, typer.Option(help="As for dfkd run.")] = None,
    gpus_per_run: Annotated[float | None, typer.Option(min=0, help="As for dfkd run.")] = None,
    retries: Annotated[int | None, typer.Option(min=0, help="As for dfkd run.")] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="List the trials and which are there already; run nothing."),
    ] = False,
    allow_dirty: AllowDirty = False,
) -> None:
    """Choose every method's settings by the same number of trials, without the test set."""
    if executor == "local" and jobs != "1" and not dry_run:
        forks.get_ready()
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
    jobs: Annotated[str, typer.Option(help="As for dfkd run.")] = "auto",
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
