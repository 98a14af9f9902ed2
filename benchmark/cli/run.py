"""What ``dfkd run`` and ``dfkd replay`` do, between the arguments and the grid."""

from __future__ import annotations

import importlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from benchmark.cli.display import GridDisplay, TeacherDisplay, job_label, label, outcome
from benchmark.errors import UserError
from benchmark.grid.agenda import prepare, preview
from benchmark.grid.execution import run_grid
from benchmark.grid.executors.base import Executor
from benchmark.grid.request import Request, _overwrite, make_context, parse_duration
from benchmark.machine import stopping
from benchmark.machine.device import keep_freed_memory
from benchmark.records.files import check_cache, check_writable, sweep, write_atomic
from benchmark.records.record import FAILED
from benchmark.records.store import Scan, Store
from benchmark.runs.job import Context
from benchmark.runs.replay import compare, revive
from benchmark.runs.trial import execute
from benchmark.suites.plan import PlannedRun, plan
from benchmark.suites.suite import MethodEntry, Suite, load_suite, parse_seeds, parse_settings
from benchmark.tasks.registry import look_in
from methods.base.problem import Access
from methods.base.registry import discover
from methods.settings.params import nearest

EXECUTORS = {
    "local": "benchmark.grid.executors.local",
    "ray": "benchmark.grid.executors.ray_cluster",
}
"""Modules by name. Each has a function ``chosen``: request, context and number of runs to an
`Executor` and the context it is to be given. Another engine is such a file and a line here."""


def run(request: Request, console: Console) -> int:
    """Run what is missing, print the table, return the exit code.

    Raises:
        KeyboardInterrupt: when it was stopped, or the time limit reached, with runs left to do.
    """
    deadline = None
    if request.time_limit:
        deadline = time.monotonic() + parse_duration(request.time_limit, "--time-limit")
    overwrite = _overwrite(request.overwrite)
    _engine(request).check(request)
    planned = _planned(request)
    context = make_context(request)
    store = Store(request.results)
    check_writable(request.results)
    check_cache(context.cache)
    for folder in (request.results, context.cache):
        sweep(folder)
    keep_freed_memory()  # a teacher may have to be trained here
    with stopping.on_signals(deadline, patient=False):
        training = TeacherDisplay(console)
        agenda = prepare(planned, store, context, overwrite, training.say, training.report)
        executor, context = choose_executor(request, context, len(agenda.jobs))
    display = GridDisplay(agenda.jobs, len(agenda.kept), console)
    if agenda.kept:
        display.say(f"{len(agenda.kept)} of {len(agenda.ids)} runs are already there")
    with display, stopping.on_signals(deadline, patient=True):
        run_grid(agenda, store, context, executor, display)
    ids = {job.run_id for job in agenda.jobs} | {record.run_id for record in agenda.kept}
    return _summary(ids, planned[0], store, console)


def preview_runs(request: Request, console: Console) -> int:
    """List what would run and what is there; touch nothing."""
    overwrite = _overwrite(request.overwrite)
    if request.time_limit:
        parse_duration(request.time_limit, "--time-limit")
    _engine(request).check(request)
    planned = _planned(request)
    agenda, untrained = preview(planned, Store(request.results), make_context(request), overwrite)
    for record in agenda.kept:
        spec = record.spec
        name = label(spec.task, spec.method, record.method.changed, spec.budget, spec.seed)
        console.print(f"there   {record.run_id}  {escape(name)}  {escape(outcome(record))}")
    for job in agenda.jobs:
        console.print(f"to run  {job.run_id}  {escape(job_label(job))}")
    waiting = {
        label(run.task.name, run.method.name, run.changed, run.budget, run.seed): None
        for run in planned
        if run.task.name in untrained
    }
    for name in waiting:
        console.print(f"to run  (id after the teacher)  {escape(name)}")
    for task in untrained:
        console.print(f"the teacher of '{task}' would be trained first")
    missing, there = len(agenda.jobs) + len(waiting), len(agenda.kept)
    console.print(f"{there + missing} runs planned: {there} there, {missing} to run")
    return 0


def replay(
    run_id: str,
    results: Path,
    data_dir: Path | None,
    method_folders: Sequence[Path],
    console: Console,
    proxy_dir: Path | None = None,
    task_folders: Sequence[Path] = (),
) -> int:
    """Execute a record again without any cached samples; 0 on a match, 1 on a difference."""
    look_in(task_folders)
    record = Store(results).find(run_id)
    job, context = revive(
        record,
        results,
        data_dir,
        proxy_dir,
        method_folders,
        console.print,
        reuse_samples=False,
        task_folders=task_folders,
    )
    console.print(f"replaying {job_label(job)}", highlight=False)
    display = GridDisplay([job], 0, console)
    with display:
        again = execute(job, context, lambda *event: display.report(job.run_id, *event))
        display.finished(again)
    differences = compare(record, again)
    if not differences:
        console.print(
            f"[green]match[/green]: status, metrics, costs and curves of {record.run_id} are equal"
        )
        return 0
    console.print(f"[yellow]different[/yellow]: {len(differences)} values of {record.run_id}")
    for line in differences[:12]:
        console.print(f"  {escape(line)}", highlight=False)
    then, now = record.environment, again.environment
    for name in type(then).model_fields:
        old, new = getattr(then, name), getattr(now, name)
        if old and old != new:  # records older than fingerprints have none
            console.print(f"  made with {name} {old}, replayed with {new}")
    return 1


def choose_executor(request: Request, context: Context, runs: int) -> tuple[Executor, Context]:
    """Where the request's runs are executed, and with how many threads each.

    Raises:
        UserError: for an unknown executor, or options that contradict each other.
    """
    executor, context = _engine(request).chosen(request, context, runs)
    return executor, context


def _engine(request: Request) -> Any:
    """The module of an executor: ``check(request)`` before work, ``chosen`` once it is known."""
    if request.executor not in EXECUTORS:
        raise UserError(
            f"there is no executor '{request.executor}'; "
            f"{nearest(request.executor, list(EXECUTORS))}"
        )
    return importlib.import_module(EXECUTORS[request.executor])


def _planned(request: Request) -> list[PlannedRun]:
    planned = _asked_for(request)
    if request.proxy_dir and not any(Access.PROXY_IMAGES in run.method.access for run in planned):
        raise UserError(
            "--proxy-dir has no effect: no method of this command sees proxy images; leave it out"
        )
    return planned


def _asked_for(request: Request) -> list[PlannedRun]:
    look_in(request.task_folders)
    known = discover(request.method_folders)
    seeds = None
    if request.seeds is not None:
        try:
            seeds = parse_seeds(request.seeds)
        except ValueError as error:
            raise UserError(str(error)) from None
    if request.suite is not None:
        if request.settings:
            raise UserError("give a suite, or --task and --method with --set; not both")
        if request.suite_name:
            raise UserError(
                "a suite's records have a folder of its name; leave --suite-name out, or give "
                "--task and --method"
            )
        if request.objective or request.objective_settings:
            raise UserError(
                "a suite names its objectives itself; give --objective with --task and --method"
            )
        suite = load_suite(request.suite)
        if request.task:
            suite = suite.only_task(request.task)
        return plan(suite, known, budget=request.budget, seeds=seeds, only=request.methods)
    if not request.task or not request.methods:
        raise UserError("give a suite (see `dfkd list`), or --task and --method")
    settings = parse_settings(request.settings)
    objective_settings = parse_settings(request.objective_settings, "--objective-set")
    try:
        suite = Suite(
            name=request.suite_name or "custom",
            budget=request.budget or "cpu",
            tasks=[request.task],
            seeds=seeds if seeds is not None else [0],
            methods=[
                MethodEntry(
                    name=name,
                    params=settings,
                    objective=request.objective or "",
                    objective_params=objective_settings,
                )
                for name in request.methods
            ],
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"--suite-name: {first['msg'].removeprefix('Value error, ')}") from None
    return plan(suite, known)


def _summary(ids: set[str], first: PlannedRun, store: Store, console: Console) -> int:
    # pandas and scipy take seconds to import, for which no run need wait.
    from benchmark.analysis.leaderboard.markdown import markdown
    from benchmark.analysis.leaderboard.tables import tables
    from benchmark.analysis.leaderboard.terminal import print_table

    suite = first.suite
    scan = store.scan()
    mine = [record for record in scan.records if record.run_id in ids]
    planned = scan.planned.get(suite, {})
    own = Scan(mine, planned={suite: {i: entry for i, entry in planned.items() if i in ids}})
    for table in tables(own, first.purpose):
        print_table(table, console)
    report = store.root / "report.md"
    write_atomic(report, markdown(scan).encode())
    console.print(f"records: {store.root / suite}", soft_wrap=True)
    console.print(f"report:  {report}", soft_wrap=True)
    failed = [record for record in mine if record.status in FAILED]
    if failed:
        names = "; ".join(
            f"{r.spec.task} {r.spec.method} seed {r.spec.seed}: {r.status} ({r.reason})"
            for r in failed[:5]
        )
        more = f" and {len(failed) - 5} more" if len(failed) > 5 else ""
        console.print(
            f"[bold red]{len(failed)} of {len(mine)} runs failed:[/bold red] "
            f"{escape(names)}{more}; `--overwrite failed` tries them again",
            soft_wrap=True,
        )
        return 1
    return 0
