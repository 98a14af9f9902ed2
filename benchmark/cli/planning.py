"""The runs that the options of ``dfkd run`` ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydantic import ValidationError

from benchmark.cli.run_request import RunRequest
from benchmark.errors import UserError
from benchmark.suites.plan import PlannedRun, plan
from benchmark.suites.suite import MethodEntry, Suite, load_suite, parse_seeds, parse_settings
from benchmark.tasks.registry import look_in
from methods.base.problem import Access
from methods.base.registry import discover


def planned_runs(
    request: RunRequest, say: Callable[[str], None] = lambda sentence: None
) -> list[PlannedRun]:
    """The runs of a suite, or of methods on one task, as the options ask for them.

    Args:
        request: the options.
        say: told what is left out, in a sentence.

    Raises:
        UserError: when options contradict each other, have no effect or name what there is not.
        methods.settings.params.ParameterError: for an unknown, invalid or ineffective parameter.
    """
    planned = asked_for(request, say)
    check_proxies(request, planned)
    return planned


def check_proxies(request: RunRequest, planned: Sequence[PlannedRun]) -> None:
    """Refuse ``--proxy-dir`` where no method sees proxy images.

    Raises:
        UserError: when none does.
    """
    if request.proxy_dir and not any(Access.PROXY_IMAGES in run.method.access for run in planned):
        raise UserError(
            "--proxy-dir has no effect: no method of this command sees proxy images; leave it out"
        )


def asked_for(
    request: RunRequest, say: Callable[[str], None] = lambda sentence: None
) -> list[PlannedRun]:
    """The runs, whether or not ``--proxy-dir`` has an effect on them."""
    look_in(request.task_folders)
    known = discover(request.method_folders)
    if request.suite is None:
        return plan(_own_suite(request, typed_seeds(request) or [0]), known, say=say)
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
    seeds = typed_seeds(request)
    return plan(suite, known, budget=request.budget, seeds=seeds, only=request.methods, say=say)


def typed_seeds(request: RunRequest) -> list[int] | None:
    """The seeds of ``--seeds``; None where there are none.

    Raises:
        UserError: for a text that is no list of seeds.
    """
    if request.seeds is None:
        return None
    try:
        return parse_seeds(request.seeds)
    except ValueError as error:
        raise UserError(str(error)) from None


def _own_suite(request: RunRequest, seeds: list[int]) -> Suite:
    """A suite of the methods that are named, on the task that is named."""
    if not request.task or not request.methods:
        raise UserError("give a suite (see `dfkd list`), or --task and --method")
    settings = parse_settings(request.settings)
    objective_settings = parse_settings(request.objective_settings, "--objective-set")
    try:
        return Suite(
            name=request.suite_name or "custom",
            budget=request.budget or "cpu",
            tasks=[request.task],
            seeds=seeds,
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
