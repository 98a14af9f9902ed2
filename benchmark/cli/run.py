"""``dfkd run``: a grid prepared, executed and printed as ranked tables."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.markup import escape

from benchmark.cli.checkout import check_checkout
from benchmark.cli.choosing import Choosing, conclude
from benchmark.cli.display import GridDisplay, TeacherDisplay, job_label, label, outcome
from benchmark.cli.executors import check_executor, choose_executor
from benchmark.cli.planning import planned_runs
from benchmark.cli.run_request import RunRequest, parse_duration, parse_overwrite
from benchmark.grid.agenda import Agenda, prepare, preview
from benchmark.grid.execution import run_grid
from benchmark.machine import stopping
from benchmark.machine.cache import cache_dir
from benchmark.machine.code import code_version
from benchmark.machine.device import available_device, keep_freed_memory, pick_precision
from benchmark.records.files import check_cache, check_writable, sweep, write_atomic
from benchmark.records.record import FAILED, OVER_BUDGET, Record
from benchmark.records.store import Scan, Store
from benchmark.runs.job import Context
from benchmark.suites.plan import PlannedRun
from benchmark.teachers.teacher import teacher_folders

NAMED = 5
"""As many runs that failed, or were over budget, are named; the others are counted."""


def run(request: RunRequest, console: Console) -> int:
    """Run what is missing, print the table, return the exit code.

    Raises:
        KeyboardInterrupt: when it was stopped, or reached the time limit, with runs left to do.
    """
    beside = Store.existing(request.beside) if request.beside else None
    planned = planned_runs(request, saying(console))
    agenda = carry_out(request, planned, console)
    store = Store(request.results)
    if planned[0].purpose == "tune":
        code = conclude(agenda, store, Choosing(), console)
    else:
        code = _summary(agenda, planned[0], store, beside, console)
    return max(code, say_broken(agenda, console))


def saying(console: Console) -> Callable[[str], None]:
    """A function that prints one sentence on the console."""
    return lambda sentence: console.print(escape(sentence), highlight=False, soft_wrap=True)


def carry_out(request: RunRequest, planned: Sequence[PlannedRun], console: Console) -> Agenda:
    """Run what is missing of the planned runs; the request says where and how.

    Raises:
        KeyboardInterrupt: when it was stopped, or reached the time limit, with runs left to do.
    """
    deadline = None
    if request.time_limit:
        deadline = time.monotonic() + parse_duration(request.time_limit, "--time-limit")
    overwrite = parse_overwrite(request.overwrite)
    check_executor(request)
    context = make_context(request)
    store = open_results(request, context, console)
    keep_freed_memory()  # teachers are trained in this process
    with stopping.on_signals(deadline, patient=False):
        training = TeacherDisplay(console)
        agenda = prepare(planned, store, context, overwrite, training.say, training.report)
        executor, context = choose_executor(request, context, len(agenda.jobs))
    display = GridDisplay(agenda.jobs, len(agenda.kept), console)
    if agenda.kept:
        display.say(f"{len(agenda.kept)} of {len(agenda.ids)} runs are already there")
    if agenda.stale:
        display.say(stale_note(len(agenda.stale)))
    try:
        with display, stopping.on_signals(deadline, patient=True):
            run_grid(agenda, store, context, executor, display)
    except KeyboardInterrupt:
        there = len(agenda.present(store))
        missing = len(agenda.ids) - there
        console.print(f"{there} of {len(agenda.ids)} runs, {missing} missing", highlight=False)
        raise
    return agenda


def open_results(request: RunRequest, context: Context, console: Console) -> Store:
    """The folder of records, which may be written to, and what is uncommitted said.

    Raises:
        UserError: when the folder or the cache cannot be written, or the code has uncommitted
            changes and the folder committed results.
    """
    uncommitted = check_checkout(request.results, request.allow_dirty)
    check_writable(request.results)
    check_cache(context.cache)
    for folder in (request.results, context.cache):
        sweep(folder)
    if uncommitted:
        console.print(escape(f"{uncommitted}; records will say {code_version()}"), soft_wrap=True)
    return Store(request.results)


def preview_runs(request: RunRequest, console: Console) -> int:
    """List what would be run and what is there already; run and write nothing."""
    return preview_planned(request, planned_runs(request, saying(console)), console)


def preview_planned(request: RunRequest, planned: Sequence[PlannedRun], console: Console) -> int:
    """`preview_runs` of runs that are planned already."""
    overwrite = parse_overwrite(request.overwrite)
    if request.time_limit:
        parse_duration(request.time_limit, "--time-limit")
    check_executor(request)
    agenda, untrained = preview(planned, Store(request.results), make_context(request), overwrite)
    for record in agenda.kept:
        spec = record.spec
        name = label(spec.task, spec.method, record.method.changed, spec.budget, spec.seed)
        code = "  [yellow]by other code[/yellow]" if record.run_id in agenda.stale else ""
        console.print(f"there   {record.run_id}  {escape(name)}  {escape(outcome(record))}{code}")
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
    if agenda.stale:
        console.print(stale_note(len(agenda.stale)))
    return 0


def stale_note(records: int) -> str:
    """The sentence on records that other code than the present made, which are kept."""
    were = "1 record was" if records == 1 else f"{records} records were"
    them = "it" if records == 1 else "them"
    return f"{were} made by other code; --overwrite stale makes {them} again"


def make_context(request: RunRequest) -> Context:
    """Where and how the request's runs are executed.

    Raises:
        UserError: when this machine has no such device, or a duration is not one.
    """
    device, timeout = available_device(request.device), request.run_timeout
    return Context(
        cache=cache_dir(),
        teacher_folders=teacher_folders(request.results),
        data_dir=request.data_dir,
        proxy_dir=request.proxy_dir,
        # Workers may have another working directory.
        method_folders=tuple(folder.resolve() for folder in request.method_folders),
        device=str(device),
        precision=pick_precision(device),
        task_folders=tuple(folder.resolve() for folder in request.task_folders),
        checkpoint_seconds=parse_duration(request.checkpoint_every, "--checkpoint-every"),
        run_timeout=parse_duration(timeout, "--run-timeout") if timeout else None,
        teacher=request.teacher,
    )


def _summary(
    agenda: Agenda, first: PlannedRun, store: Store, beside: Store | None, console: Console
) -> int:
    # pandas and scipy take seconds to import; no run needs to wait for them.
    from benchmark.analysis.leaderboard.markdown import markdown
    from benchmark.analysis.leaderboard.tables import tables
    from benchmark.analysis.leaderboard.terminal import print_table

    suite = first.suite
    scan = store.scan()
    mine = [record for record in scan.records if record.run_id in agenda.ids]
    planned = scan.planned.get(suite, {})
    own = {run_id: entry for run_id, entry in planned.items() if run_id in agenda.ids}
    shown = Scan(mine, planned={suite: own}, versions=scan.versions)
    if beside is not None:
        others = beside.scan()
        both = {**others.planned.get(suite, {}), **own}
        everything = {**others.planned, suite: both}
        shown = Scan(mine + others.records, planned=everything, versions=scan.versions)
    for table in tables(shown, first.purpose):
        if any(record.run_id in agenda.ids for row in table.rows for record in row.records):
            print_table(table, console)
    report = store.root / "report.md"
    write_atomic(report, markdown(scan).encode())
    console.print(f"records: {store.root / suite}", soft_wrap=True)
    console.print(f"report:  {report}", soft_wrap=True)
    there = agenda.present(store)
    if missing := len(agenda.ids) - len(there):
        console.print(f"{missing} of {len(agenda.ids)} runs are missing", highlight=False)
    failed = [record for record in there if record.status in FAILED]
    if failed:
        console.print(
            f"[bold red]{len(failed)} of {len(agenda.ids)} runs failed:[/bold red] "
            f"{escape(_named(failed))}; run them again with --overwrite failed",
            soft_wrap=True,
        )
    spent = [record for record in there if record.status == OVER_BUDGET]
    if spent:
        console.print(
            f"[bold red]{len(spent)} of {len(agenda.ids)} runs spent more than their budget:"
            f"[/bold red] {escape(_named(spent))}; the method would do so again. The rule is "
            "Budget.limits in methods/settings/budget.py; once the method keeps to it, --overwrite "
            "stale makes them again",
            soft_wrap=True,
        )
    return int(bool(failed or spent))


def say_broken(agenda: Agenda, console: Console) -> int:
    """Name the finished records that could not be made again; exit code 1 if there are any."""
    if agenda.broken:
        console.print(
            f"[bold red]{len(agenda.broken)} of {len(agenda.jobs)} runs broke, and their finished "
            f"records are kept:[/bold red] {escape(_named(agenda.broken))}; the same command tries "
            "again",
            soft_wrap=True,
        )
    return int(bool(agenda.broken))


def _named(records: list[Record]) -> str:
    names = [
        f"{r.spec.task} {r.spec.method} seed {r.spec.seed}: {r.status} ({r.reason})"
        for r in records[:NAMED]
    ]
    more = f" and {len(records) - NAMED} more" if len(records) > NAMED else ""
    return "; ".join(names) + more
