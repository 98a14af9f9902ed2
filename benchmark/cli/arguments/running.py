"""Commands that train: a grid, a paper's table, one record again, a student of one's own."""

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
            help="Instead of a suite: one task; with one: only this task of it, or another of the "
            "same family in its place."
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(help="A method (repeatable); with a suite, only these of its methods."),
    ] = None,
    set_: Settings = None,
    objective: Annotated[
        str | None,
        typer.Option(help="What the student minimises (default: kd, the method's own)."),
    ] = None,
    objective_set: Annotated[
        list[str] | None,
        typer.Option(help="A parameter of the objective, key=value (repeatable)."),
    ] = None,
    seeds: Seeds = None,
    budget: Annotated[
        str | None, typer.Option(help="smoke, cpu, gpu or paper (default: the suite's, or cpu).")
    ] = None,
    results: Results = Path("results"),
    data_dir: DataDir = None,
    proxy_dir: ProxyDir = None,
    methods_dir: MethodsDir = None,
    tasks_dir: TasksDir = None,
    jobs: Annotated[
        str,
        typer.Option(
            help="Runs at the same time, each in a process: a number, or auto for what cores and "
            "memory allow (one on a GPU)."
        ),
    ] = "auto",
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Threads of a run; measured once per machine when not given."),
    ] = None,
    device: Device = "auto",
    overwrite: Annotated[
        str,
        typer.Option(
            help="never: only what is missing; failed: also what failed; always: everything."
        ),
    ] = "never",
    time_limit: Annotated[
        str | None,
        typer.Option(
            help="Stop after so long, like 9m or 1h30m, where the same command goes on: for batch "
            "queues. Exit code 130 when runs are left."
        ),
    ] = None,
    run_timeout: Annotated[
        str | None, typer.Option(help="End a run that takes longer than this, like 30m.")
    ] = None,
    checkpoint_every: Annotated[
        str, typer.Option(help="How often a run keeps where it is, to go on from there.")
    ] = "1m",
    executor: Annotated[
        str, typer.Option(help="local: this machine; ray: the nodes of a Ray cluster.")
    ] = "local",
    ray_address: Annotated[
        str | None,
        typer.Option(help="A running Ray cluster, like auto or host:6379 (default: one here)."),
    ] = None,
    gpus_per_run: Annotated[
        float | None,
        typer.Option(min=0, help="GPUs a run reserves on Ray; 0.25 packs four onto one."),
    ] = None,
    retries: Annotated[
        int | None,
        typer.Option(min=0, help="How often Ray starts a run again whose worker died (default 2)."),
    ] = None,
    suite_name: Annotated[
        str | None,
        typer.Option(help="Folder of the records when no suite is given (default: custom)."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would run and what is already there.")
    ] = False,
) -> None:
    """Run a suite, or one method on one task; only what is missing is run.

    Every run becomes a record, failures included. Exit code 1 when a run failed.
    """
    if executor == "local" and jobs != "1" and not dry_run:
        forks.get_ready()
    from benchmark.cli import run as commands
    from benchmark.cli.arguments.run_request import RunRequest

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
        str | None, typer.Argument(help="A published table, like rdskd-table2 (see --list).")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            help="smoke, cpu, gpu or paper (default: the suite's; with --no-run the one there are "
            "records of)."
        ),
    ] = None,
    task: Annotated[str | None, typer.Option(help="Only this task of the table.")] = None,
    seeds: Seeds = None,
    no_run: Annotated[
        bool, typer.Option("--no-run", help="Run nothing; compare with the records there are.")
    ] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the published tables.")] = False,
    results: Results = Path("results"),
    data_dir: DataDir = None,
    proxy_dir: ProxyDir = None,
    jobs: Annotated[str, typer.Option(help="As of `dfkd run`.")] = "auto",
    device: Device = "auto",
) -> None:
    """Run what is missing of a paper's table, and print the paper's numbers beside ours."""
    from benchmark.cli import reproduce as reproducing

    if list_:
        reproducing.listing(console)
        return
    if name is None:
        raise UserError("give a published table; `dfkd reproduce --list` has them")
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
    run_id: Annotated[str, typer.Argument(help="A record's run id, or the start of it.")],
    results: Results = Path("results"),
    data_dir: DataDir = None,
    proxy_dir: ProxyDir = None,
    methods_dir: MethodsDir = None,
    tasks_dir: TasksDir = None,
) -> None:
    """Execute a record again and say whether it matches; nothing is written.

    On the machine kind and thread count of the record, on the CPU, the same bits are expected.
    """
    from benchmark.cli import replay as replaying

    raise typer.Exit(
        replaying.replay(
            run_id, results, data_dir, methods_dir or [], console, proxy_dir, tasks_dir or []
        )
    )
