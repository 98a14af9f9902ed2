"""Grids that are stopped, and methods that hang, hog or meddle."""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.cli.executors import choose_executor
from benchmark.cli.run_request import parse_duration
from benchmark.errors import UserError
from benchmark.grid.executors.local import InProcess, Processes
from benchmark.machine import stopping
from benchmark.machine.process import process_as_before
from benchmark.runs.job import Context
from tests.benchmark.grid.executors.test_threads import request as request_of
from tests.benchmark.grid.test_grid import Grid, facts, grid
from tests.helpers import one_line

__all__ = ["grid"]


@pytest.fixture
def keeping(grid: Grid) -> Grid:
    """A grid whose runs keep where they are after every step."""
    return Grid(dataclasses.replace(grid.context, checkpoint_seconds=1e-9), grid.store.root)


def kept(grid: Grid) -> list[Path]:
    return sorted((grid.context.cache / "checkpoints").glob("*/*"))


def at(grid: Grid, phase: str, step: int, do: Callable[[], None]) -> None:
    """Do something once, when a run reports a step of a phase."""
    report = grid.watcher.report
    done: list[int] = []

    def watch(run_id: str, where: str, number: int, total: int, loss: float) -> None:
        report(run_id, where, number, total, loss)
        if where == phase and number >= step and not done:
            done.append(number)
            do()

    grid.watcher.report = watch  # type: ignore[method-assign]


def raising(number: int) -> Callable[[], None]:
    return lambda: signal.raise_signal(number)


IN_AN_HOUR = time.monotonic() + 3600


def ring() -> None:
    """The deadline is now."""
    stopping._due = time.monotonic()
    signal.raise_signal(signal.SIGALRM)


def undisturbed(grid: Grid, tmp_path: Path, *methods: str) -> list[dict[str, Any]]:
    elsewhere = dataclasses.replace(grid.context, cache=tmp_path / "other-cache")
    return [facts(record) for record in Grid(elsewhere, tmp_path / "other").run(*methods)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_at_a_step_from_which_the_run_goes_on(
    keeping: Grid, tmp_path: Path, number: int
) -> None:
    whole = undisturbed(keeping, tmp_path, "dawdles", "fine")
    at(keeping, "dawdling", 7, raising(number))
    with pytest.raises(KeyboardInterrupt), stopping.on_signals(None, patient=True):
        keeping.run("dawdles", "fine")
    (record,) = keeping.store.scan().records
    assert (record.status, record.reason) == ("interrupted", "stopped by the user")
    assert [path.name for path in kept(keeping)] == ["dawdling.safetensors"]

    steps: list[int] = []
    keeping.watcher.report = lambda id, phase, step, *rest: steps.append(step)  # type: ignore[method-assign]
    assert [facts(record) for record in keeping.run("dawdles", "fine")] == whole
    assert next(step for step in steps if step) == 8
    assert kept(keeping) == []


def test_a_second_signal_stops_at_once_and_leaves_nothing_half_done(
    keeping: Grid, tmp_path: Path
) -> None:
    whole = undisturbed(keeping, tmp_path, "dawdles")
    at(keeping, "dawdling", 7, lambda: [raising(signal.SIGINT)() for _ in range(2)] and None)
    with pytest.raises(KeyboardInterrupt), stopping.on_signals(None, patient=True):
        keeping.run("dawdles")
    assert keeping.store.scan().unreadable == []
    assert [facts(record) for record in keeping.run("dawdles")] == whole


def test_workers_are_asked_to_stop_and_their_runs_go_on(keeping: Grid, tmp_path: Path) -> None:
    whole = undisturbed(keeping, tmp_path, "dawdles", "fine")
    at(keeping, "dawdling", 7, raising(signal.SIGTERM))
    with pytest.raises(KeyboardInterrupt), stopping.on_signals(None, patient=True):
        keeping.run("dawdles", "fine", executor=Processes(1))
    (record,) = keeping.store.scan().records
    assert record.status == "interrupted"
    assert len(kept(keeping)) == 1
    assert [facts(record) for record in keeping.run("dawdles", "fine")] == whole


def test_random_numbers_of_python_and_numpy_go_on_too(keeping: Grid, tmp_path: Path) -> None:
    whole = undisturbed(keeping, tmp_path, "gambles")
    at(keeping, "dawdling", 7, raising(signal.SIGTERM))
    with pytest.raises(KeyboardInterrupt), stopping.on_signals(None, patient=True):
        keeping.run("gambles")
    assert len(kept(keeping)) == 1
    random.seed(1)
    np.random.seed(1)
    assert [facts(record) for record in keeping.run("gambles")] == whole


def test_workers_runs_say_that_it_was_the_time_limit(keeping: Grid) -> None:
    at(keeping, "dawdling", 7, ring)
    with pytest.raises(KeyboardInterrupt), stopping.on_signals(IN_AN_HOUR, patient=True):
        keeping.run("dawdles", executor=Processes(1))
    (record,) = keeping.store.scan().records
    assert (record.status, record.reason) == ("interrupted", "the time limit was reached")


@pytest.mark.parametrize("deadline", [None, IN_AN_HOUR], ids=["none", "later"])
def test_an_alarm_that_is_not_due_is_a_method_s_own(deadline: float | None) -> None:
    with stopping.on_signals(deadline, patient=True):
        signal.raise_signal(signal.SIGALRM)
        assert not stopping.requested()
        assert (signal.getitimer(signal.ITIMER_REAL)[0] > 0) == (deadline is not None)


def test_a_time_limit_stops_like_a_signal(keeping: Grid) -> None:
    deadline = time.monotonic() + 0.3
    with pytest.raises(KeyboardInterrupt), stopping.on_signals(deadline, patient=True):
        keeping.run("dawdles")
    (record,) = keeping.store.scan().records
    assert (record.status, record.reason) == ("interrupted", "the time limit was reached")
    assert not stopping.requested()


def test_a_run_that_never_comes_to_a_step_is_not_waited_for(
    keeping: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "GRACE_SECONDS", 0.2)
    started = time.monotonic()
    with (
        pytest.raises(KeyboardInterrupt),
        stopping.on_signals(time.monotonic() + 0.5, patient=True),
    ):
        keeping.run("hangs")
    assert time.monotonic() - started < 60
    assert [record.status for record in keeping.store.scan().records] == ["interrupted"]


def test_what_is_no_grid_is_interrupted_at_once() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), stopping.on_signals(None, patient=False):
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_run_that_hangs_is_ended_with_its_process(grid: Grid) -> None:
    grid.context = dataclasses.replace(grid.context, run_timeout=1.0)
    (hung,) = grid.run("hangs", executor=Processes(1))
    assert (hung.status, hung.reason) == ("timeout", "not finished within 1 s (--run-timeout)")
    assert grid.store.scan().records == [hung]


def test_after_a_run_out_of_memory_the_next_has_a_fresh_process(grid: Grid) -> None:
    records = grid.run("exhausts", "signs", seeds=[0, 1])
    assert [record.status for record in records[::2]] == ["out_of_memory"] * 2
    assert len({record.method.note for record in records[1::2]} | {str(os.getpid())}) == 3


def test_meddling_with_the_process_does_not_reach_the_next_run(grid: Grid, tmp_path: Path) -> None:
    methods = ("rdskd", "student-supervised")
    whole = undisturbed(grid, tmp_path, *methods)
    before = Path.cwd()
    meddled, *others = grid.run("meddles", *methods)
    assert meddled.reason.startswith("RuntimeError: and leaves it like that")
    assert [facts(record) for record in others] == whole
    assert Path.cwd() == before
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == 1
    assert torch.get_default_device() == torch.device("cpu")
    assert torch.backends.cudnn.allow_tf32


def test_meddling_before_the_run_does_not_reach_the_next_either(grid: Grid) -> None:
    (early,) = grid.run("exhausts-early")
    assert early.status == "out_of_memory"
    assert not torch.are_deterministic_algorithms_enabled()


def test_random_states_are_those_before_the_block() -> None:
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    with process_as_before():
        drawn = torch.rand(3), random.random(), np.random.rand()
    assert torch.equal(torch.rand(3), drawn[0])
    assert (random.random(), np.random.rand()) == drawn[1:]


def test_a_timeout_needs_a_process_and_says_so(tmp_path: Path) -> None:
    context = Context(tmp_path, (), run_timeout=5.0)
    alone, _ = choose_executor(request_of(jobs="1", threads=1), context, 1)
    assert isinstance(alone, Processes)
    without, _ = choose_executor(request_of(jobs="1", threads=1), Context(tmp_path, ()), 1)
    assert isinstance(without, InProcess)


@pytest.mark.parametrize(
    ("text", "seconds"), [("45s", 45), ("9m", 540), ("1h30m", 5400), ("90", 90), ("1.5m", 90)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text, "--time-limit") == seconds


@pytest.mark.parametrize("text", ["", "soon", "9 m", "-3m", "0s", "m", "3x", "9m later"])
def test_what_is_no_duration_is_named(text: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_duration(text, "--time-limit")
    assert "--time-limit" in one_line(str(caught.value))


def test_a_request_of_another_thread_is_one_too() -> None:
    asker = threading.Thread(target=stopping.request, args=[stopping.LIMIT])
    asker.start()
    asker.join()
    assert stopping.requested() == stopping.LIMIT
    stopping.forget()
