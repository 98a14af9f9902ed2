from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.cli.executors import choose_executor
from benchmark.cli.run_request import RunRequest
from benchmark.errors import UserError
from benchmark.grid.executors.local import Processes
from benchmark.grid.executors.threads import GIB, best_threads, runs_at_once, seconds_of_work
from benchmark.machine.device import available_memory
from benchmark.runs.job import Context
from tests.helpers import one_line


@pytest.mark.parametrize(
    ("runs", "cores", "memory", "expected"),
    [(10, 4, 64 * GIB, 4), (2, 8, 64 * GIB, 2), (10, 8, 13 * GIB, 2), (3, 2, 1 * GIB, 1)],
)
def test_as_many_runs_as_there_are_cores_and_memory(
    runs: int, cores: int, memory: int, expected: int
) -> None:
    assert runs_at_once(runs, cores, memory) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({1: 8.0, 2: 4.0, 4: 2.0, 6: 1.5}, 6),
        ({1: 8.0, 2: 4.0, 4: 3.9, 6: 3.8}, 2),
        ({1: 1.0, 2: 2.0, 4: 3.0, 6: 4.0}, 1),
        ({1: 8.0, 2: 7.9, 4: 4.0, 6: 5.0}, 4),
    ],
)
def test_the_fewest_threads_that_are_worth_it_are_chosen(
    tmp_path: Path, seconds: dict[int, float], expected: int
) -> None:
    assert best_threads(6, tmp_path, seconds.__getitem__) == expected


def test_the_choice_is_measured_once_and_kept(tmp_path: Path) -> None:
    asked: list[int] = []

    def measure(threads: int) -> float:
        asked.append(threads)
        return 1 / threads

    assert best_threads(4, tmp_path, measure) == 4
    assert best_threads(4, tmp_path, measure) == 4
    assert asked == [1, 2, 4]
    assert best_threads(2, tmp_path, measure) == 2
    assert len(json.loads((tmp_path / "threads.json").read_text())) == 2


def test_a_damaged_memory_is_measured_again(tmp_path: Path) -> None:
    (tmp_path / "threads.json").write_text("[1, 2")
    assert best_threads(2, tmp_path, lambda threads: 1 / threads) == 2
    assert best_threads(2, tmp_path, lambda threads: pytest.fail("measured twice")) == 2


def test_one_core_needs_no_measurement(tmp_path: Path) -> None:
    assert best_threads(1, tmp_path, lambda threads: pytest.fail("measured")) == 1
    assert not (tmp_path / "threads.json").exists()


def test_measuring_leaves_threads_and_random_numbers_alone() -> None:
    before = torch.get_rng_state()
    assert seconds_of_work(1) > 0
    assert torch.get_num_threads() == 1
    assert torch.equal(torch.get_rng_state(), before)


def request(**changes: Any) -> RunRequest:
    return RunRequest(**{"suite": "quickstart", "device": "cpu", **changes})


@pytest.fixture
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr("benchmark.cli.executors.available_cores", lambda: 8)
    monkeypatch.setattr("benchmark.grid.executors.local.available_memory", lambda: 64 * GIB)
    monkeypatch.setattr("benchmark.grid.executors.local.best_threads", lambda limit, cache: limit)


@pytest.mark.usefixtures("eight_cores")
@pytest.mark.parametrize(
    ("changes", "runs", "processes", "threads"),
    [
        ({}, 20, 8, 1),
        ({}, 3, 3, 2),
        ({}, 1, 1, 8),
        ({"threads": 3}, 20, 2, 3),
        ({"threads": 8}, 20, 1, 8),
        ({"jobs": "2"}, 20, 2, 4),
        ({"jobs": "8"}, 20, 8, 1),
        ({"jobs": "4", "threads": 2}, 20, 4, 2),
        ({"jobs": "4", "threads": 1}, 20, 4, 1),
    ],
)
def test_processes_times_threads_never_exceed_the_cores(
    tmp_path: Path, changes: dict[str, object], runs: int, processes: int, threads: int
) -> None:
    executor, context = choose_executor(request(**changes), Context(tmp_path, ()), runs)
    count = executor.count if isinstance(executor, Processes) else 1
    assert (count, context.threads) == (processes, threads)


@pytest.mark.usefixtures("eight_cores")
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"jobs": "many"}, "'many'"),
        ({"jobs": "0"}, "'0'"),
        ({"jobs": "16"}, "--jobs 16 is more than the 8 cores of this machine; give --jobs 8"),
        ({"jobs": "4", "threads": 3}, "--jobs 4 with --threads 3 each is more"),
        ({"jobs": "4", "threads": 3}, "give --jobs 2"),
        ({"threads": 9}, "--threads is 9, and this machine has 8 cores"),
    ],
)
def test_bad_numbers_of_jobs_are_named(
    tmp_path: Path, changes: dict[str, object], says: str
) -> None:
    with pytest.raises(UserError) as error:
        choose_executor(request(**changes), Context(tmp_path, ()), 4)
    assert says in one_line(str(error.value))


def test_processes_beside_a_gpu_may_outnumber_the_cores(
    eight_cores: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmark.cli.executors.pick_device", lambda name: torch.device("cuda", 0))
    executor, _ = choose_executor(request(jobs="16"), Context(tmp_path, (), device="cuda:0"), 20)
    assert isinstance(executor, Processes)
    assert executor.count == 16


@pytest.mark.parametrize(("says", "found"), [("max\n", None), ("1000000\n", 1_000_000)])
def test_a_container_may_have_less_memory_than_the_machine(
    tmp_path: Path, says: str, found: int | None
) -> None:
    machine = available_memory(tmp_path / "none")
    assert machine > GIB
    (tmp_path / "memory.max").write_text(says)
    assert available_memory(tmp_path / "memory.max") == (found or machine)
