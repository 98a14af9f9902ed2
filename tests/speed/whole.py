"""Whole runs of RDSKD through the harness."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import torch

from benchmark.machine.device import pick_precision
from benchmark.records.record import Record
from benchmark.runs.job import Context, Job
from benchmark.runs.trial import execute
from benchmark.suites.plan import plan
from benchmark.suites.suite import MethodEntry, Suite
from benchmark.tasks.data.base import DataError
from benchmark.tasks.loaded import dataset
from benchmark.tasks.registry import get_task
from benchmark.teachers.teacher import TrainedTeacher, find_teacher
from benchmark.teachers.training import train_teacher
from methods.base.registry import discover


def one_run(
    task: str, budget: str, device: torch.device, teachers: tuple[Path, ...] = ()
) -> tuple[float, Record]:
    """The seconds and the record of a run with an empty cache.

    Args:
        task: the name of the task, whose data must be there.
        budget: the preset.
        device: the device of the run.
        teachers: the folders that may hold the teacher, which is trained otherwise.

    Raises:
        DataError: when the task's data is not here.
    """
    suite = Suite(
        name="bench", budget=budget, tasks=[task], seeds=[0], methods=[MethodEntry(name="rdskd")]
    )
    (planned,) = plan(suite, discover())
    data = dataset(task, None)
    teacher = _teacher(task, budget, device, teachers)
    spec = planned.spec(data.checksum())
    with tempfile.TemporaryDirectory() as folder:
        context = Context(Path(folder), (), device=str(device), precision=pick_precision(device))
        started = time.perf_counter()
        record = execute(Job(spec, spec.run_id(teacher.info.checksum), {}, teacher), context)
        return time.perf_counter() - started, record


def _teacher(
    name: str, budget: str, device: torch.device, folders: tuple[Path, ...]
) -> TrainedTeacher:
    task, data = get_task(name), dataset(name, None)
    found = find_teacher(task, data.checksum(), folders, preset=budget)
    if found is not None:
        return found
    precision = pick_precision(device)
    return train_teacher(task, data, lambda *_: None, budget, str(device), precision)


def harness_overhead() -> tuple[float, float]:
    """The seconds of a run of `digits`, and the share of them outside steps and evaluations."""
    total, record = one_run("digits", "cpu", torch.device("cpu"))
    return total, 1 - sum(record.ledger.seconds.values()) / total


def measured(budget: str, device: torch.device) -> float | None:
    """The seconds of RDSKD on MNIST at a budget, with evaluation; None without MNIST's data.

    Raises:
        RuntimeError: when the run did not finish.
    """
    try:
        seconds, record = one_run("mnist", budget, device, (Path("results") / "teachers",))
    except DataError:
        return None
    if record.status != "ok":
        raise RuntimeError(f"RDSKD on MNIST at {budget}: {record.status}, {record.reason}")
    return seconds
