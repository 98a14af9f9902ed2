"""Fixtures for every test: an isolated cache, one thread, and a teacher trained once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmark.cli import checkout, program
from benchmark.machine.cache import cache_dir
from benchmark.runs.job import Context
from benchmark.tasks.data.digits import read_digits
from benchmark.tasks.digits import Digits
from benchmark.teachers.teacher import TrainedTeacher, keep_teacher, teacher_file
from benchmark.teachers.training import train_teacher


@pytest.fixture(autouse=True, scope="session")
def _interruptible() -> None:
    """Ctrl-C is heard. A shell that starts the tests in the background has it ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test touches the user's cache, changes the number of threads or draws its own luck."""
    monkeypatch.setenv("DFKD_CACHE", str(tmp_path / "cache"))
    # One thread: the tensors are tiny, and tests must not fight over the cores.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    # What is uncommitted while the program is written changes no command's output.
    monkeypatch.setattr(checkout, "uncommitted", list)
    # Wide consoles, so that no line is broken in the middle of a temporary path.
    for console in (program.console, program.errors):
        monkeypatch.setattr(console, "width", 250)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def digits_teacher() -> TrainedTeacher:
    """A passable teacher of the `digits` task, after three epochs instead of its recipe's 30."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    task = Digits()
    short = task.teacher_recipe.model_copy(update={"epochs": 3})
    task.teacher_recipe = short
    teacher = train_teacher(task, read_digits(), lambda *event: None)
    torch.set_num_threads(before)
    # It passes for the task's own, which a file of another recipe would not.
    info = teacher.info.model_copy(update={"recipe": Digits.teacher_recipe.identity()})
    return TrainedTeacher(teacher.weights, info)


@pytest.fixture
def cached_teacher(digits_teacher: TrainedTeacher) -> TrainedTeacher:
    """The same teacher, lying in this test's cache where runs and subprocesses find it."""
    name = teacher_file(Digits(), read_digits().checksum())
    keep_teacher(digits_teacher, cache_dir() / "teachers" / name)
    return digits_teacher


@pytest.fixture
def context(cached_teacher: TrainedTeacher) -> Context:
    """Runs on this test's cache, on the CPU, with one thread."""
    cache = cache_dir()
    return Context(cache=cache, teacher_folders=(cache / "teachers",), threads=1)
