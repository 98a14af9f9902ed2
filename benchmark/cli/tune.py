"""``dfkd tune``: settings chosen for every method by the same number of trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from rich.console import Console

from benchmark.cli.choosing import Choosing, conclude
from benchmark.cli.planning import check_proxies, typed_seeds
from benchmark.cli.run import carry_out, preview_planned, say_broken
from benchmark.cli.run_request import RunRequest
from benchmark.errors import UserError
from benchmark.records.files import check_writable
from benchmark.records.spec import TUNING_SEEDS_FROM
from benchmark.records.store import Store
from benchmark.suites.choices import By
from benchmark.suites.plan import PlannedRun, plan
from benchmark.suites.suite import (
    MethodEntry,
    Suite,
    check_tuning_seeds,
    load_suite,
    suite_names,
    tuning_folder,
)
from benchmark.tasks.registry import all_tasks, look_in
from methods.base.draws import tunable
from methods.base.method import Method
from methods.base.problem import DATA_FREE, Access
from methods.base.registry import discover
from methods.settings.params import nearest

TRIALS = 16
"""How many settings of each method are tried by default."""

CONTROLS = ("noise", "untrained-generator")
"""Reference lines that learn nothing of how to make images; they are tuned if they are named."""


@dataclass(frozen=True)
class TuneRequest:
    """What ``dfkd tune`` is given beyond the options that it shares with ``dfkd run``."""

    names: tuple[str, ...]
    run: RunRequest
    trials: int | None = None
    by: str = "agreement"
    write: Path | None = None


def tune(request: TuneRequest, console: Console) -> int:
    """Run the trials that are missing, choose, and return the exit code.

    Raises:
        UserError: when options contradict each other or name what there is not.
        KeyboardInterrupt: when it was stopped, or reached the time limit, with runs left to do.
    """
    choosing, planned = _prepared(request, console)
    if request.write is not None:
        check_writable(request.write.parent)
    agenda = carry_out(request.run, planned, console)
    code = conclude(agenda, Store(request.run.results), choosing, console)
    return max(code, say_broken(agenda, console))


def preview_trials(request: TuneRequest, console: Console) -> int:
    """List the trials and which of them are there already; run and write nothing."""
    _, planned = _prepared(request, console)
    return preview_planned(request.run, planned, console)


def _prepared(request: TuneRequest, console: Console) -> tuple[Choosing, list[PlannedRun]]:
    by = next((word for word in get_args(By) if word == request.by), None)
    if by is None:
        raise UserError(f"--by is '{request.by}'; {nearest(request.by, list(get_args(By)))}")
    planned = planned_trials(request, console)
    check_proxies(request.run, planned)
    if request.write is not None and len({run.suite for run in planned}) > 1:
        raise UserError("--write is the file of one task; tune one task at a time")
    return Choosing(by, request.write), planned


def planned_trials(request: TuneRequest, console: Console) -> list[PlannedRun]:
    """The trials of the suites or tasks that are named.

    Raises:
        UserError: when there is no such suite, task, method or budget, or a seed is for tables.
    """
    look_in(request.run.task_folders)
    known = discover(request.run.method_folders)
    planned: list[PlannedRun] = []
    for name in dict.fromkeys(request.names):
        suite = suite_of(name, request, known)
        only = request.run.methods
        own = plan(
            suite, known, budget=request.run.budget, seeds=typed_seeds(request.run), only=only
        )
        for entry in suite.methods:
            method = known[entry.name]
            runs = [run for run in own if run.method is method]
            if runs and not tunable(method, entry.fixed, runs[0].task.family):
                console.print(
                    f"{entry.name} has no rate, weight or temperature to tune: its published "
                    "setting is the only trial",
                    soft_wrap=True,
                    highlight=False,
                )
        planned += own
    if len({(run.suite, run.method.name, run.trial, run.seed) for run in planned}) < len(planned):
        raise UserError("two of these suites tune the same method on the same task; give one")
    return planned


def suite_of(name: str, request: TuneRequest, known: Mapping[str, type[Method]]) -> Suite:
    """The suite of this name whose purpose is tuning, or one made for the task of this name.

    Raises:
        UserError: when nothing is called so, or the suite is for something else.
    """
    if name.endswith(".toml") or name in suite_names():
        suite = load_suite(name)
        if suite.purpose == "tune":
            return suite if request.trials is None else suite.with_trials(request.trials)
        if name not in all_tasks():
            raise UserError(
                f"suite '{name}' is for tables; a suite to tune says purpose = \"tune\" and "
                "trials = 16"
            )
    if name not in all_tasks():
        tuning = [suite for suite in suite_names() if load_suite(suite).purpose == "tune"]
        valid = [*all_tasks(), *tuning]
        raise UserError(f"there is no task or suite '{name}' to tune; {nearest(name, valid)}")
    try:
        check_tuning_seeds(typed_seeds(request.run) or ())
    except ValueError as error:
        raise UserError(str(error)) from None
    budget = request.run.budget or "cpu"
    names = request.run.methods or by_default(known)
    for method in names:
        if method not in known:
            raise UserError(f"there is no method '{method}'; {nearest(method, list(known))}")
    return Suite(
        name=tuning_folder(name, "any"),
        budget=budget,
        tasks=[name],
        seeds=[TUNING_SEEDS_FROM],
        purpose="tune",
        trials=TRIALS if request.trials is None else request.trials,
        methods=[MethodEntry(name=method) for method in dict.fromkeys(names)],
    )


def by_default(known: Mapping[str, type[Method]]) -> list[str]:
    """The methods that see nothing but the teacher, or proxy images besides; without controls."""
    return [
        name
        for name, method in known.items()
        if method.access in (DATA_FREE, Access.PROXY_IMAGES) and name not in CONTROLS
    ]
