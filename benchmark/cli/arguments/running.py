"""Commands that train: a grid of runs, a paper's table, one record's run again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.arguments.options import (
    DataDir,
    Device,
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
            "failed, always all."
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
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="List what would be run and what is there already; run nothing."
        ),
    ] = False,
) -> None:
    """Run a suite, or methods on one task; runs that have a record are not repeated.

    Every run becomes a record, and so does every failure. Exit code 1 if a run failed.
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
    )
    code = commands.preview_runs(request, console) if dry_run else commands.run(request, console)
    raise typer.Exit(code)


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
            "the one with the most records)."
        ),
    ] = None,
    task: Annotated[str | None, typer.Option(help="Only this task of the table.")] = None,
    seeds: Seeds = None,
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
            "--data-dir": data_dir is not None,
            "--proxy-dir": proxy_dir is not None,
            "--jobs": jobs != "auto",
            "--device": device != "auto",
        }
        for option, given in of_runs.items():
            if given:
                raise UserError(f"{option} has no effect with --no-run; leave one of them out")
        wanted.show(budget, console)
        return
    options = reproducing.Options(budget, task, seeds, data_dir, proxy_dir, jobs, device)
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
) -> None:
    """Execute the run of a record again and say whether the result is the same; write nothing.

    The same bits are expected on a CPU of the same kind with the same number of threads.
    """
    from benchmark.cli import replay as replaying

    raise typer.Exit(
        replaying.replay(
            run_id, results, data_dir, methods_dir or [], console, proxy_dir, tasks_dir or []
        )
    )
