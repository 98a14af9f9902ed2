"""Two grids on one results folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from benchmark.grid.executors.local import InProcess
from benchmark.records.locks import Locks
from benchmark.records.record import Record
from benchmark.records.store import Store
from tests.benchmark.grid.test_grid import Grid, facts, grid, names
from tests.helpers import FAULTY_METHODS

__all__ = ["grid"]

HOLDER = """
import sys, time
from pathlib import Path
from benchmark.records.locks import Locks
locks = Locks(Path(sys.argv[1]))
assert locks.take("it")
print("taken", flush=True)
time.sleep(600)
"""


def test_a_lock_is_of_one_grid_until_it_is_released(tmp_path: Path) -> None:
    mine, theirs = Locks(tmp_path / "new"), Locks(tmp_path / "new")
    assert mine.take("it")
    assert not theirs.take("it")
    assert theirs.take("another")
    mine.release("it")
    assert theirs.take("it")
    theirs.release_all()
    assert mine.take("another")


def test_a_killed_process_holds_no_lock(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "taken\n"
    locks = Locks(tmp_path)
    assert not locks.take("it")
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    assert locks.take("it")
    locks.release_all()


def test_waiting_for_a_lock_is_said_once_and_ends(tmp_path: Path) -> None:
    mine, theirs = Locks(tmp_path), Locks(tmp_path)
    said: list[str] = []
    assert theirs.take("it")
    threading.Timer(0.5, theirs.release, ["it"]).start()
    with mine.holding("it", lambda: said.append("waiting")):
        assert not theirs.take("it")
    assert said == ["waiting"]
    assert theirs.take("it")
    theirs.release_all()


class Other:
    """Another grid, at work on the run of ``noise`` while ours is running."""

    def __init__(self, grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
        (self.record,) = grid.run("noise")
        self.grid = grid
        self.path = grid.store.path(self.record.spec, self.record.run_id)
        self.path.unlink()
        self.locks = Locks(grid.store.root)
        assert self.locks.take(self.record.run_id)
        grid.watcher.records.clear()
        monkeypatch.setattr(grid.watcher, "say", self._hear)
        self.record_it = False
        self.heard: list[str] = []

    def _hear(self, message: str) -> None:
        """Ours says that it waits: time to finish, or to die."""
        self.heard.append(message)
        if self.record_it:
            self.grid.store.put(self.record)
        self.locks.release_all()


def test_a_run_of_another_grid_is_left_to_it(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Other(grid, monkeypatch)
    other.record_it = True
    assert names(grid.run("noise", "fine")) == [("fine", 0)]
    assert len(other.heard) == 1
    assert names(grid.watcher.records) == [("fine", 0), ("noise", 0)]


def test_a_run_of_a_grid_that_died_is_taken_over(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Other(grid, monkeypatch)
    fine, noise = grid.run("noise", "fine")
    assert names([fine, noise]) == [("fine", 0), ("noise", 0)]
    assert facts(noise) == facts(other.record)


@pytest.mark.parametrize(("overwrite", "made"), [("always", True), ("never", False)])
def test_a_record_that_appears_meanwhile_is_not_made_again(
    grid: Grid, monkeypatch: pytest.MonkeyPatch, overwrite: str, made: bool
) -> None:
    before: list[Record] = grid.run("noise") if made else []
    take = Locks.take

    def take_late(self: Locks, name: str) -> bool:
        """The other grid finishes after ours was prepared, right before ours locks the run."""
        if name not in ("teachers", "plans"):
            monkeypatch.setattr(Locks, "take", take)
            other = Grid(grid.context, grid.store.root)
            assert len(other.run("noise", overwrite=overwrite)) == 1
        return take(self, name)

    monkeypatch.setattr(Locks, "take", take_late)
    assert grid.run("noise", overwrite=overwrite) == []
    assert len(grid.watcher.records) == len(before) + 1


def test_two_grids_at_once_run_everything_once(grid: Grid) -> None:
    other = Grid(grid.context, grid.store.root)
    done: list[Any] = []
    threads = [
        threading.Thread(target=lambda g=g: done.extend(g.run("dawdles", "noise", seeds=[0, 1, 2])))
        for g in (grid, other)
    ]
    for thread in threads:
        thread.start()
        time.sleep(0.1)
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(names(done)) == sorted(
        (method, seed) for method in ("dawdles", "noise") for seed in range(3)
    )
    assert len(grid.store.scan().records) == 6
    assert len(grid.watcher.records) == len(other.watcher.records) == 6


COMMAND = (sys.executable, "-m", "benchmark.cli", "run", "--task", "digits", "--budget", "smoke")
COMMAND += ("--methods-dir", str(FAULTY_METHODS), "--jobs", "1", "--device", "cpu")


def command(results: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "--results", str(results), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.usefixtures("cached_teacher")
def test_two_commands_on_one_folder_share_the_work(tmp_path: Path) -> None:
    wanted = ("--method", "dawdles", "--seeds", "0-5")
    commands = [command(tmp_path / "results", *wanted) for _ in range(2)]
    said = [process.communicate(timeout=120)[0] for process in commands]
    assert [process.returncode for process in commands] == [0, 0], said
    records = Store(tmp_path / "results").scan().records
    assert sorted(record.spec.seed for record in records) == list(range(6))
    assert {record.status for record in records} <= {"ok", "collapsed"}


@pytest.mark.usefixtures("cached_teacher")
def test_a_command_with_a_time_limit_goes_on_when_it_is_repeated(tmp_path: Path) -> None:
    wanted = ("--method", "dawdles", "--seeds", "0-19")
    results = tmp_path / "results"
    first = command(results, *wanted, "--time-limit", "6s")
    said = first.communicate(timeout=120)[0]
    assert first.returncode == 130, said
    assert "the same command goes on from here" in said
    scan = Store(results).scan()
    assert scan.unreadable == []
    assert [r.reason for r in scan.records if r.status == "interrupted"] in (
        ["the time limit was reached"],
        [],
    )
    assert len(scan.records) < 20
    second = command(results, *wanted)
    said = second.communicate(timeout=120)[0]
    assert second.returncode == 0, said
    records = Store(results).scan().records
    assert sorted(r.spec.seed for r in records if r.status in {"ok", "collapsed"}) == [*range(20)]


def test_an_executor_is_not_started_again_for_what_another_grid_is_executing(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An executor may have to connect to a cluster first."""
    other = Other(grid, monkeypatch)
    other.record_it = True
    started: list[list[str]] = []

    class Counting(InProcess):
        def run(self, jobs: Any, *rest: Any) -> Any:
            started.append([job.spec.method for job in jobs])
            yield from super().run(jobs, *rest)

    grid.run("noise", "fine", executor=Counting())
    assert started == [["noise", "fine"]]
