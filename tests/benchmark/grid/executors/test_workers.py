"""Workers that are told to end, die, or cannot start; jobs that do not reach them."""

from __future__ import annotations

import dataclasses
import os
import pickle
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import UserError
from benchmark.grid.executors import forks, workers
from benchmark.grid.executors.base import Reporter
from benchmark.grid.executors.local import ATTEMPTS, Processes
from benchmark.machine import children
from benchmark.records.record import Record
from benchmark.runs.job import Context
from tests.benchmark.grid.test_grid import Grid, facts
from tests.helpers import one_line

METHODS = """
import os
import pathlib
import signal
import time

from methods.baselines import Noise

MARK = pathlib.Path(os.environ["DFKD_CACHE"])


class Told(Noise):
    name = "told"
    title = "Told to end by somebody else, the first time"

    def synthesize(self, problem, run):
        for step in run.steps("waiting", 3):
            if not (MARK / "told").exists():
                (MARK / "told").touch()
                os.kill(os.getpid(), signal.SIGTERM)
        return super().synthesize(problem, run)


class Tells(Noise):
    name = "tells-itself"
    title = "Tells itself to end"

    def synthesize(self, problem, run):
        for step in run.steps("waiting", 3):
            os.kill(os.getpid(), signal.SIGTERM)
        return super().synthesize(problem, run)


class Leaves(Noise):
    name = "leaves-a-child"
    title = "Dies, and leaves a child that has its descriptors"

    def synthesize(self, problem, run):
        child = os.fork()
        if child == 0:
            os.setsid()
            time.sleep(600)
            os._exit(0)
        (MARK / "child").write_text(str(child))
        os.kill(os.getpid(), signal.SIGKILL)


class Escapes(Noise):
    name = "escapes"
    title = "Raises what no handler of errors expects"

    def synthesize(self, problem, run):
        raise GeneratorExit
"""


@pytest.fixture
def grid(tmp_path: Path, context: Context) -> Grid:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "meth.py").write_text(METHODS)
    context = dataclasses.replace(context, method_folders=(tmp_path / "m",))
    context.cache.mkdir(exist_ok=True)
    return Grid(context, tmp_path / "results")


def by_method(records: list[Record]) -> dict[str, Record]:
    return {record.spec.method: record for record in records}


def test_a_worker_that_somebody_ends_is_replaced_and_its_run_done_again(grid: Grid) -> None:
    records = by_method(grid.run("told", "noise", "escapes", executor=Processes(1)))
    assert records["told"].status in {"ok", "collapsed"}
    assert records["noise"].status in {"ok", "collapsed"}
    assert records["escapes"].reason.startswith("GeneratorExit: ")
    assert grid.watcher.records == list(records.values())


def test_a_run_that_ends_its_own_worker_again_and_again_is_given_up(grid: Grid) -> None:
    records = by_method(grid.run("tells-itself", "noise", executor=Processes(1)))
    assert records["tells-itself"].status == "error"
    assert f"told to end {ATTEMPTS + 1} times" in records["tells-itself"].reason
    assert records["noise"].status in {"ok", "collapsed"}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_worker_is_noticed_at_once_and_its_children_end(grid: Grid) -> None:
    started = time.monotonic()
    (record,) = grid.run("leaves-a-child", executor=Processes(1))
    assert time.monotonic() - started < 60
    assert record.reason == "the worker process died (killed, or out of memory)"
    child = int((grid.context.cache / "child").read_text())
    assert not Path(f"/proc/{child}").exists()
    assert children.adopted() == set() or children.own() == children.adopted()


def test_a_job_travels_as_bytes_whatever_torch_would_do(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With fewer descriptors than a teacher has tensors."""
    forks.get_ready()
    (job,) = grid.agenda("noise").jobs
    assert len(job.teacher.weights) > 5
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    there = len(os.listdir("/proc/self/fd"))

    class Counted(workers.Worker):
        def read(self, report: Any) -> Record | None:
            record = super().read(report)
            most.append(len(os.listdir("/proc/self/fd")))
            return record

    most: list[int] = []
    monkeypatch.setattr("benchmark.grid.executors.local.Worker", Counted)
    resource.setrlimit(resource.RLIMIT_NOFILE, (there + 24, before[1]))
    try:
        (record,) = grid.run("noise", executor=Processes(1))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert record.status in {"ok", "collapsed"}
    assert max(most) < there + 8


class Undelivered(workers.Worker):
    """Its jobs cannot be read at the other end."""

    def start(self, job: Any, context: Any) -> None:
        super().start(job, context)
        self.context = Unreadable()  # type: ignore[assignment]


class Unreadable:
    run_timeout = None

    def __reduce__(self) -> Any:
        return eval, ("1 / 0",)


def test_a_job_that_reaches_no_worker_is_not_run_and_said_in_a_line(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmark.grid.executors.local.Worker", Undelivered)
    with pytest.raises(UserError, match="ZeroDivisionError") as caught:
        grid.run("noise", executor=Processes(1))
    assert "--jobs 1" in one_line(str(caught.value))
    assert grid.store.scan().records == []
    assert grid.watcher.records == []


def test_a_worker_that_cannot_start_is_said_in_a_line(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(forks, "get_ready", full)
    with pytest.raises(UserError, match="Too many open files") as caught:
        grid.run("noise", executor=Processes(2))
    one_line(str(caught.value))
    assert grid.store.scan().records == []


def test_with_room_for_one_worker_of_two_all_is_done_by_one(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    class Scarce(workers.Worker):
        def __init__(self) -> None:
            if made:
                raise UserError("no room")
            made.append(1)
            super().__init__()

    monkeypatch.setattr("benchmark.grid.executors.local.Worker", Scarce)
    assert len(grid.run("noise", seeds=[0, 1], executor=Processes(2))) == 2


@pytest.mark.parametrize("folder", ["methods", "benchmark", "torch", "multiprocessing"])
def test_a_worker_imports_what_its_command_does_whatever_lies_around(
    tmp_path: Path, folder: str
) -> None:
    """An interpreter that is started as the process which workers are forked from is started."""
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "__init__.py").write_text("")
    question = f"import importlib.util; print(importlib.util.find_spec('{folder}').origin)"
    with forks.own_path():
        answer = subprocess.run(
            [sys.executable, "-c", question], cwd=tmp_path, capture_output=True, text=True
        )
    assert answer.returncode == 0, answer.stderr
    assert str(tmp_path) not in answer.stdout
    assert "PYTHONSAFEPATH" not in os.environ


def test_only_plain_values_are_reported() -> None:
    sent: list[Any] = []

    class Text(str):
        def __reduce__(self) -> Any:
            raise TypeError

    reporter = Reporter("id", sent.append)
    reporter(Text("phase"), 1, 2, 0.5)
    reporter("\ud800\x1b]0;x\x07[/x]\n", 1, 2, 0.5)
    assert [event[1] for event in pickle.loads(pickle.dumps(sent))] == [
        "phase",
        "\\ud800\\x1b]0;x\\x07[/x]\\n",
    ]


def test_a_signal_to_a_worker_between_two_runs_costs_nothing(grid: Grid) -> None:
    """The worker is told to end while it has no job."""
    pids: list[int] = []
    start = workers.Worker.start

    def told(self: workers.Worker, job: Any, context: Any) -> None:
        if grid.watcher.records and not pids:
            assert self._process.pid is not None
            pids.append(self._process.pid)
            os.kill(self._process.pid, signal.SIGTERM)
        start(self, job, context)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers.Worker, "start", told)
        records = grid.run("noise", "escapes", executor=Processes(1))
    assert pids
    assert {r.spec.method: r.status for r in records}["escapes"] == "error"
    assert facts(records[0])["status"] in {"ok", "collapsed"}
