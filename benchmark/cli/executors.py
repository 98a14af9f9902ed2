"""The executor that the options of ``dfkd run`` ask for: processes of this machine, or Ray."""

from __future__ import annotations

from benchmark.cli.run_request import RunRequest
from benchmark.errors import UserError
from benchmark.grid.executors.base import Executor
from benchmark.grid.executors.local import on_this_machine
from benchmark.grid.executors.ray_cluster import RayCluster, import_ray
from benchmark.machine.device import available_cores, pick_device
from benchmark.runs.job import Context
from methods.settings.params import nearest

EXECUTORS = ("local", "ray")
RAY_OPTIONS = ("ray_address", "gpus_per_run", "retries")
RETRIES = 2


def check_executor(request: RunRequest) -> None:
    """Refuse options that contradict each other before anything is trained.

    Raises:
        UserError: for an unknown executor, a wrong number of jobs, options of the other
            executor, more threads than cores, or when Ray is not installed.
    """
    if request.executor == "local":
        _check_local(request)
    elif request.executor == "ray":
        _check_ray(request)
    else:
        raise UserError(
            f"there is no executor '{request.executor}'; "
            f"{nearest(request.executor, list(EXECUTORS))}"
        )


def choose_executor(request: RunRequest, context: Context, runs: int) -> tuple[Executor, Context]:
    """The executor for so many runs, and the context with the threads of each.

    Raises:
        UserError: see `check_executor`.
    """
    check_executor(request)
    if request.executor == "ray":
        return _ray(request, context), context
    jobs = None if request.jobs == "auto" else int(request.jobs)
    return on_this_machine(runs, jobs, request.threads, context)


def _ray(request: RunRequest, context: Context) -> RayCluster:
    gpus = float(context.device != "cpu") if request.gpus_per_run is None else request.gpus_per_run
    retries = RETRIES if request.retries is None else request.retries
    return RayCluster(request.ray_address, request.threads or 1, gpus, retries)


def _check_ray(request: RunRequest) -> None:
    if request.jobs != "auto":
        raise UserError(
            "with --executor ray the cluster decides how many runs there are at once; leave --jobs "
            "out, and say with --threads and --gpus-per-run what a run needs"
        )
    import_ray()


def _check_local(request: RunRequest) -> None:
    for name in RAY_OPTIONS:
        if getattr(request, name) is not None:
            option = name.replace("_", "-")
            raise UserError(f"--{option} has no effect without --executor ray; leave it out")
    if request.jobs != "auto" and not (request.jobs.isdecimal() and int(request.jobs)):
        raise UserError(f"--jobs is '{request.jobs}'; give a number of processes, or auto")
    _check_cores(1 if request.jobs == "auto" else int(request.jobs), request)


def _check_cores(jobs: int, request: RunRequest) -> None:
    """Refuse more threads than cores on a CPU, where they only wait for one another."""
    cores, threads = available_cores(), request.threads or 1
    if pick_device(request.device).type != "cpu" or jobs * threads <= cores:
        return
    if threads > cores:
        raise UserError(
            f"--threads is {threads}, and this machine has {cores} cores; give no more than that"
        )
    times = f" with --threads {threads} each" if threads > 1 else ""
    raise UserError(
        f"--jobs {jobs}{times} is more than the {cores} cores of this machine; "
        f"give --jobs {cores // threads}, or leave it at auto"
    )
