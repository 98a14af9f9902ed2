"""Time grids: runs an hour with one worker and with two, and the cost of scheduling a run.

``python -m tests.speed.scaling`` writes docs/scaling.md. Half of its rows need Ray.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from unittest import mock

import torch
import typer
from rich.console import Console

from benchmark.grid.agenda import prepare
from benchmark.grid.execution import run_grid
from benchmark.grid.executors.base import Claim, Executor, Report, everything, unfinished
from benchmark.grid.executors.local import InProcess, Processes
from benchmark.grid.executors.ray_cluster import RayCluster, import_ray
from benchmark.grid.executors.ray_node import Parcel
from benchmark.machine.device import environment, pick_precision
from benchmark.records.files import write_atomic
from benchmark.records.record import Record
from benchmark.records.store import Store
from benchmark.runs.job import Context, Job
from benchmark.suites.plan import plan
from benchmark.suites.suite import MethodEntry, Suite
from methods.base.registry import discover
from tests.speed.report import table

METHODS = ("rdskd", "dafl", "kd-real", "noise")
SEEDS_OF_WORK = 2
IDLE_RUNS = 10_000

PAGE = """# Scaling

Written by `make bench-grids`. Machine: {machine}.

## Runs an hour

{runs} runs of `digits` at the budget `cpu` ({methods}), a thread each, in
a fresh results folder and with no images kept from before; the teacher is there. *Efficiency* is
the rate over that of one process, divided by the number of workers. The seconds hold everything
after the plan: starting the workers, shipping teacher and data, writing the records.

{scaling}
## The cost of a run that does nothing

{idle:,} runs whose work is left out, through the same planning, claiming, shipping and writing of
records:

{scheduling}"""


class Silent:
    """A display of a grid that shows nothing."""

    def say(self, message: str) -> None:
        """Nothing."""

    def report(self, run_id: str, phase: str, step: int, total: int, loss: float) -> None:
        """Nothing."""

    def finished(self, record: Record) -> None:
        """Nothing."""


def ignore(*said: object) -> None:
    """Show nothing of the preparation either."""


class Idle:
    """An executor in this process that does no work."""

    def run(
        self, jobs: Sequence[Job], context: Context, report: Report, claim: Claim = everything
    ) -> Iterator[Record]:
        """Yield a record for every job that it may have."""
        for job in jobs:
            if claim(job):
                yield unfinished(job, context, "skipped", "nothing was to be done")


def idle_work(parcels: list[Parcel], board: Any) -> Record:
    """The work that a node does instead of a run: none."""
    (parcel,) = parcels
    return unfinished(parcel.job, parcel.context, "skipped", "nothing was to be done")


@dataclass(frozen=True)
class Timed:
    """How many runs were done in how many seconds."""

    name: str
    workers: int
    runs: int
    planning: float
    seconds: float

    def __str__(self) -> str:
        return f"{self.name}, {self.workers} workers: {self.runs} runs in {self.seconds:.1f} s"

    @property
    def an_hour(self) -> float:
        """Runs an hour, the planning left out."""
        return 3600 * self.runs / self.seconds


def timed(name: str, workers: int, executor: Executor, suite: Suite, folder: Path) -> Timed:
    """Time a suite that is run into a folder of its own.

    Raises:
        RuntimeError: when a run failed, because its seconds would mean nothing.
    """
    cache = folder.parent / "cache"
    context = Context(
        cache,
        (cache / "teachers",),
        precision=pick_precision(torch.device("cpu")),
        threads=1,
        reuse_samples=False,
    )
    store = Store(folder)
    started = time.perf_counter()
    agenda = prepare(plan(suite, discover()), store, context, "never", ignore, ignore)
    began = time.perf_counter()
    records = run_grid(agenda, store, context, executor, Silent())
    seconds = time.perf_counter() - began
    failed = [r.reason for r in records if r.status not in ("ok", "collapsed", "skipped")]
    if failed:
        raise RuntimeError(f"{len(failed)} of the runs failed: {failed[0]}")
    return Timed(name, workers, len(records), began - started, seconds)


@contextmanager
def local_cluster(ray: Any, cpus: int, cache: Path) -> Iterator[None]:
    """A Ray cluster of so many CPUs of this machine, with a cache of its own."""
    with mock.patch.dict(os.environ, {"DFKD_CACHE": str(cache), "RAY_USAGE_STATS_ENABLED": "0"}):
        ray.init(num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        try:
            yield
        finally:
            ray.shutdown()


def digits(methods: Sequence[str], seeds: int, budget: str) -> Suite:
    """A suite of the task `digits`, whose data ship with scikit-learn."""
    return Suite(
        name="scaling",
        budget=budget,
        tasks=["digits"],
        seeds=list(range(seeds)),
        methods=[MethodEntry(name=method) for method in methods],
    )


def measure(folder: Path, seeds: int, idle: int, console: Console) -> tuple[list[Timed], ...]:
    """The rows of both tables."""
    ray = import_ray()
    work, nothing = digits(METHODS, seeds, "cpu"), digits(("noise",), idle, "smoke")
    for suite in (work, nothing):  # trains the teachers
        first = suite.model_copy(update={"seeds": [0], "methods": suite.methods[-1:]})
        timed("", 1, InProcess(), first, folder / f"first-{suite.budget}")
    working, idling = [], []
    for workers in (1, 2):
        name = "local processes"
        processes = timed(name, workers, Processes(workers), work, folder / f"local-{workers}")
        working.append(processes)
        console.print(str(processes))
        with local_cluster(ray, workers, folder / f"cache-{workers}"):
            cluster = RayCluster(None, 1, 0, 0)
            flown = timed("Ray", workers, cluster, work, folder / f"ray-{workers}")
        working.append(flown)
        console.print(str(flown))
    idling.append(timed("none: written at once", 1, Idle(), nothing, folder / "idle"))
    console.print(str(idling[-1]))
    with (
        local_cluster(ray, 2, folder / "cache-idle"),
        mock.patch("benchmark.grid.executors.ray_cluster.work", idle_work),
    ):
        cluster = RayCluster(None, 1, 0, 0)
        idling.append(timed("Ray", 2, cluster, nothing, folder / "ray-idle"))
    console.print(str(idling[-1]))
    return working, idling


def page(working: Sequence[Timed], idling: Sequence[Timed]) -> str:
    """The page as Markdown."""
    info = environment(torch.device("cpu"), pick_precision(torch.device("cpu")))
    alone = next(t for t in working if t.workers == 1)
    return PAGE.format(
        machine=f"{info.processor}, {os.cpu_count()} cores, torch {info.torch}",
        runs=alone.runs,
        methods=", ".join(METHODS),
        idle=idling[0].runs,
        scaling=table(
            ("executor", "workers", "seconds", "runs an hour", "efficiency"),
            [
                (
                    t.name,
                    str(t.workers),
                    f"{t.seconds:.0f}",
                    f"{t.an_hour:,.0f}",
                    f"{100 * t.an_hour / alone.an_hour / t.workers:.0f} %",
                )
                for t in working
            ],
        ),
        scheduling=table(
            ("executor", "ms a run", "of these planning"),
            [
                (
                    t.name,
                    f"{1000 * (t.planning + t.seconds) / t.runs:.2f}",
                    f"{1000 * t.planning / t.runs:.2f}",
                )
                for t in idling
            ],
        ),
    )


def main(
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of the runs that work.")] = SEEDS_OF_WORK,
    idle: Annotated[int, typer.Option(min=1, help="Runs that do nothing.")] = IDLE_RUNS,
    output: Annotated[Path, typer.Option(help="The file to write.")] = Path("docs/scaling.md"),
) -> None:
    """Time grids and write the page; this needs an idle machine and Ray."""
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        working, idling = measure(Path(folder), seeds, idle, console)
    write_atomic(output, page(working, idling).encode())
    console.print(f"wrote {output}")


if __name__ == "__main__":
    typer.run(main)
