"""Grids on a real Ray cluster: two nodes, which are processes of this machine."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmark.cli.executors import choose_executor
from benchmark.errors import UserError
from benchmark.grid.executors import ray_cluster
from benchmark.grid.executors.ray_cluster import RayCluster, _Tasks
from benchmark.grid.executors.ray_node import OVERDUE
from benchmark.machine import stopping
from benchmark.records.store import Store
from benchmark.runs.job import Context
from tests.benchmark.grid.executors.test_threads import request as request_of
from tests.benchmark.grid.test_grid import Grid, facts, grid
from tests.helpers import FAULTY_METHODS, one_line

__all__ = ["grid"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"executor": "rya"}, "ray"),
        ({"retries": 1}, "--retries"),
        ({"gpus_per_run": 0.5}, "--gpus-per-run"),
        ({"ray_address": "auto"}, "--ray-address"),
        ({"executor": "ray", "jobs": "3"}, "--jobs"),
    ],
)
def test_options_that_do_not_go_together_are_named(
    tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(UserError) as caught:
        choose_executor(request_of(**changes), Context(tmp_path, ()), 4)
    assert named in one_line(str(caught.value))


@pytest.mark.parametrize(
    ("cpus", "gpus", "says"),
    [
        (4, 0.0, "--threads is 4, and the Ray cluster of this machine has 2 CPUs"),
        (1, 0.5, "--gpus-per-run is 0.5, and the Ray cluster of this machine has 0 GPUs"),
        (2, 0.0, ""),
    ],
)
def test_a_run_that_fits_no_node_is_refused_and_does_not_wait_for_ever(
    cpus: int, gpus: float, says: str
) -> None:
    machine = SimpleNamespace(cluster_resources=lambda: {"CPU": 2.0})
    RayCluster("head:6379", cpus, gpus, 0).check_room(machine)  # which may grow
    if not says:
        RayCluster(None, cpus, gpus, 0).check_room(machine)
        return
    with pytest.raises(UserError, match=says):
        RayCluster(None, cpus, gpus, 0).check_room(machine)


def test_without_ray_the_command_to_install_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(UserError) as caught:
        choose_executor(request_of(executor="ray"), Context(tmp_path, ()), 4)
    assert "pip install" in one_line(str(caught.value))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A head with a CPU; its workers share a cache with no test and no user."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'dfkd-bench[ray]'")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DFKD_CACHE", str(tmp_path_factory.mktemp("cache-of-nodes")))
        nodes = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 1,
                "include_dashboard": False,
                "object_store_memory": 10**8,
            },
        )
    yield nodes
    nodes.shutdown()


@pytest.fixture
def second(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Another node, as another machine would be."""
    monkeypatch.setenv("DFKD_CACHE", str(tmp_path / "cache-of-second"))
    node = cluster.add_node(num_cpus=1, object_store_memory=10**8)
    yield node
    if node in cluster.worker_nodes:
        cluster.remove_node(node, allow_graceful=False)


def test_a_grid_survives_the_death_of_a_node(
    grid: Grid, tmp_path: Path, cluster: Any, second: Any
) -> None:
    """And gives the records of one machine, with the failures of methods among them."""
    entries, seeds = ("dawdles", "raises"), [0, 1, 2]
    elsewhere = dataclasses.replace(grid.context, cache=tmp_path / "other-cache")
    whole = {
        r.run_id: facts(r) for r in Grid(elsewhere, tmp_path / "other").run(*entries, seeds=seeds)
    }

    report = grid.watcher.report
    running: set[str] = set()

    def kill_when_both_are_busy(run_id: str, phase: str, *rest: Any) -> None:
        report(run_id, phase, *rest)
        if phase == "dawdling":
            running.add(run_id)
        if len(running) == 2 and second in cluster.worker_nodes:
            cluster.remove_node(second, allow_graceful=False)

    grid.watcher.report = kill_when_both_are_busy  # type: ignore[method-assign]
    records = grid.run(*entries, seeds=seeds, executor=RayCluster(cluster.address, 1, 0, 2))
    assert second not in cluster.worker_nodes
    assert {record.run_id: facts(record) for record in records} == whole
    assert len(grid.store.scan().records) == 6


def test_a_run_that_kills_its_worker_is_given_up_and_the_next_one_finishes(
    grid: Grid, cluster: Any
) -> None:
    records = grid.run("dies", "fine", executor=RayCluster(cluster.address, 1, 0, 1))
    found = {record.spec.method: record for record in records}
    assert found["dies"].status == "error"
    assert "accuracy" in found["fine"].metrics
    assert "1 retries" in found["dies"].reason


def test_metadata_travel_with_their_teacher(
    grid: Grid, tmp_path: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = dataclasses.replace(grid.context, cache=tmp_path / "other-cache")
    whole = [facts(r) for r in Grid(elsewhere, tmp_path / "other").run("metadata")]
    shipped: list[str] = []
    ship = ray_cluster._Tasks._ship

    def watched(self: Any, name: str, value: Any) -> Any:
        shipped.append(name)
        return ship(self, name, value)

    monkeypatch.setattr(ray_cluster._Tasks, "_ship", watched)
    found = grid.run("metadata", "fine", executor=RayCluster(cluster.address, 1, 0, 1))
    assert [facts(r) for r in found if r.spec.method == "metadata"] == whole
    assert not any("other code" in message for message in grid.watcher.said)
    assert [name.split()[0] for name in shipped].count("metadata") == 1


@pytest.mark.usefixtures("cached_teacher")
def test_a_run_that_outgrows_its_node_is_given_up(tmp_path: Path) -> None:
    """Ray's monitor is told that any memory is too much."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'dfkd-bench[ray]'")
    limits = {"RAY_memory_usage_threshold": "0.0001", "RAY_memory_monitor_refresh_ms": "100"}
    # Another folder, or it would join the cluster of these tests; its sockets' paths must be short.
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")
    command = [sys.executable, "-m", "benchmark.cli", "run", "--task", "digits"]
    command += ["--method", "hangs", "--methods-dir", str(FAULTY_METHODS), "--budget", "smoke"]
    command += ["--executor", "ray", "--retries", "1", "--results", str(tmp_path / "results")]
    own = {**os.environ, **limits, "RAY_TMPDIR": folder}
    done = subprocess.run(command, env=own, capture_output=True, text=True, timeout=120)
    shutil.rmtree(folder, ignore_errors=True)
    (record,) = Store(tmp_path / "results").scan().records
    assert record.status == "out_of_memory", done.stdout
    assert "ran out of memory" in record.reason
    assert done.returncode == 1


def test_a_run_that_hangs_is_ended(grid: Grid, cluster: Any) -> None:
    grid.context = dataclasses.replace(grid.context, run_timeout=1.0)
    (record,) = grid.run("hangs", executor=RayCluster(cluster.address, 1, 0, 1))
    assert record.status == "timeout"
    assert "--run-timeout" in record.reason


def test_what_a_late_answer_holds_is_not_lost() -> None:
    """On a busy machine the first answer of the board may take longer than a poll."""
    arrived: list[list[str]] = [[], ["answer"], ["answer"]]
    asked: list[str] = []
    tasks = _Tasks.__new__(_Tasks)
    tasks.ray = SimpleNamespace(
        wait=lambda references, timeout: (arrived.pop(0), []),
        get=lambda reference: [("run", "starting", 0, 0, 0.0), ("run", OVERDUE, 0, 0, 0.0)],
        exceptions=SimpleNamespace(RayError=RuntimeError),
    )
    take = SimpleNamespace(remote=lambda: asked.append("answer") or "answer")
    tasks._board, tasks._answer, tasks._overdue = SimpleNamespace(take=take), None, set()
    heard: list[str] = []
    tasks._pass_on(lambda run, phase, *rest: heard.append(phase))
    assert (asked, heard, tasks._overdue) == (["answer"], [], set())
    tasks._pass_on(lambda run, phase, *rest: heard.append(phase))
    assert (asked, heard, tasks._overdue) == (["answer"], ["starting"], {"run"})
    tasks._pass_on(lambda run, phase, *rest: heard.append(phase))
    assert asked == ["answer", "answer"]


def test_a_stopped_grid_does_not_wait(grid: Grid, cluster: Any) -> None:
    def stop(run_id: str, phase: str, *rest: Any) -> None:
        stopping.request(stopping.LIMIT)

    grid.watcher.report = stop  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):  # or the test never ends
        grid.run("hangs", executor=RayCluster(cluster.address, 1, 0, 1))
    stopping.forget()
    assert [record.status for record in grid.store.scan().records] == ["interrupted"]


def test_a_cluster_that_is_not_there_is_named(grid: Grid) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'dfkd-bench[ray]'")
    with pytest.raises(UserError) as caught:
        grid.run("fine", executor=RayCluster("127.0.0.1:1", 1, 0, 1))
    assert "127.0.0.1:1" in one_line(str(caught.value))
