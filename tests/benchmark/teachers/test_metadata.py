from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import nn

from benchmark.cli.replay import replay
from benchmark.grid.agenda import Agenda, prepare
from benchmark.grid.execution import run_grid
from benchmark.grid.executors.local import InProcess, Processes
from benchmark.machine.device import pick_precision
from benchmark.machine.tensors import checksum, load_tensors, save_tensors
from benchmark.records.store import Store
from benchmark.runs.job import Context
from benchmark.runs.posing import pose
from benchmark.runs.replay import compare
from benchmark.suites.plan import plan
from benchmark.suites.suite import MethodEntry, Suite
from benchmark.tasks.data.digits import read_digits
from benchmark.tasks.digits import Digits
from benchmark.tasks.mnist import MNIST
from benchmark.teachers.metadata import (
    find_metadata,
    keep_metadata,
    metadata_bytes,
    metadata_file,
    obtain_metadata,
    ship_metadata,
)
from benchmark.teachers.teacher import SHIPPED_LIMIT, TrainedTeacher
from methods.base.problem import AccessError
from methods.base.registry import discover
from methods.base.teacher import Teacher
from methods.baselines import Noise
from methods.metadata import Metadata
from methods.networks.pre_activations import hidden_layers
from methods.synthesis.activation_records import ActivationRecords
from tests.benchmark.grid.test_grid import Watcher
from tests.helpers import one_line

DATA = read_digits()


@pytest.fixture
def network(digits_teacher: TrainedTeacher) -> nn.Module:
    return digits_teacher.build(Digits()).eval()


@pytest.fixture(scope="session")
def records(digits_teacher: TrainedTeacher) -> ActivationRecords:
    network = digits_teacher.build(Digits())
    return obtain_metadata(Digits(), DATA, network, [], lambda message: None)


def obtained(network: nn.Module, *folders: Path) -> tuple[ActivationRecords, list[str]]:
    """The metadata, and what was said."""
    said: list[str] = []
    return obtain_metadata(Digits(), DATA, network, folders, said.append), said


def equal(first: ActivationRecords, second: ActivationRecords) -> bool:
    one, other = first.to_tensors(), second.to_tensors()
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_metadata_are_named_after_the_teacher_they_describe(digits_teacher: TrainedTeacher) -> None:
    name = metadata_file(Digits(), digits_teacher.build(Digits()))
    assert name == f"digits-{digits_teacher.info.checksum}.metadata.safetensors"


def test_metadata_are_collected_once_and_found_again(network: nn.Module, tmp_path: Path) -> None:
    first, said = obtained(network, tmp_path)
    assert "collecting" in one_line(said[0])
    assert len(said) == 1
    assert [path.name for path in tmp_path.iterdir()] == [metadata_file(Digits(), network)]
    again, said = obtained(network, tmp_path)
    assert said == []
    assert equal(first, again)


@pytest.mark.parametrize("damage", ["flipped byte", "truncated", "empty"])
def test_damaged_metadata_are_said_and_collected_anew(
    network: nn.Module, records: ActivationRecords, tmp_path: Path, damage: str
) -> None:
    path = tmp_path / metadata_file(Digits(), network)
    keep_metadata(records, network, path)
    content = bytearray(path.read_bytes())
    if damage == "flipped byte":
        content[len(content) // 2] ^= 0xFF
    else:
        content = content[: len(content) // 2 if damage == "truncated" else 0]
    path.write_bytes(content)
    again, said = obtained(network, tmp_path)
    assert str(path) in one_line(said[0])
    assert "damaged" in said[0]
    assert len(said) == 2
    assert equal(again, records)
    assert obtained(network, tmp_path)[1] == []


def test_metadata_of_another_teacher_are_not_taken(
    network: nn.Module, records: ActivationRecords, tmp_path: Path
) -> None:
    other = Digits().make_teacher()
    keep_metadata(records, other, tmp_path / metadata_file(Digits(), network))
    said: list[str] = []
    assert find_metadata(Digits(), network, [tmp_path], said.append) is None
    assert "another teacher" in one_line(said[0])


def test_the_committed_metadata_of_mnist_describe_its_teacher() -> None:
    shipped = Path(__file__).parents[3] / "results" / "teachers"
    teacher = MNIST().make_teacher()
    teacher.load_state_dict(load_tensors(shipped / "mnist-6f02223511b691d9.safetensors")[0])
    said: list[str] = []
    records = find_metadata(MNIST(), teacher.eval(), [shipped], said.append)
    assert records is not None, said
    assert records.hidden == hidden_layers(teacher, torch.zeros(1, 1, 32, 32))


def test_metadata_of_format_1_are_taken_only_where_format_2_would_be_the_same(
    network: nn.Module, records: ActivationRecords, tmp_path: Path
) -> None:
    def written(teacher: nn.Module, name: str) -> None:
        header = {"teacher": checksum(teacher.state_dict()), "format": "1"}
        save_tensors(tmp_path / name, records.to_tensors(), header)

    lenet = MNIST().make_teacher()
    written(lenet, metadata_file(MNIST(), lenet))
    written(network, metadata_file(Digits(), network))
    said: list[str] = []
    assert find_metadata(MNIST(), lenet, [tmp_path], said.append) is not None
    assert find_metadata(Digits(), network, [tmp_path], said.append) is None
    assert "another version" in one_line(said[0])


def test_small_metadata_are_kept_beside_the_records_and_mended_there(
    network: nn.Module, records: ActivationRecords, tmp_path: Path
) -> None:
    cache, results = tmp_path / "cache", tmp_path / "results"
    shipped = results / "teachers" / metadata_file(Digits(), network)
    folders = (shipped.parent, cache)
    assert metadata_bytes(records) < SHIPPED_LIMIT
    for prepare_damage in (lambda: None, lambda: shipped.write_bytes(b"broken")):
        prepare_damage()
        ship_metadata(Digits(), DATA, network, results, folders, lambda message: None)
        found = find_metadata(Digits(), network, [shipped.parent])
        assert found is not None
        assert equal(found, records)


def test_only_a_method_that_declares_metadata_sees_them(
    context: Context, network: nn.Module, records: ActivationRecords
) -> None:
    teacher = Teacher(network)
    problem = pose(Digits(), Metadata(), teacher, 0, context)
    assert equal(problem.metadata, records)
    assert teacher.ledger.teacher_forward == 0
    with pytest.raises(AccessError, match="METADATA"):
        _ = pose(Digits(), Noise(), teacher, 0, context).metadata


def agenda(context: Context, root: Path, method: str, **params: Any) -> tuple[Agenda, Watcher]:
    suite = Suite(
        name="s",
        budget="smoke",
        tasks=["digits"],
        seeds=[0],
        methods=[MethodEntry(name=method, params=params)],
    )
    watcher = Watcher()
    planned = plan(suite, discover())
    return prepare(planned, Store(root), context, "never", *watcher.preparing), watcher


def test_metadata_are_collected_only_where_a_planned_method_may_see_them(
    context: Context, network: nn.Module, tmp_path: Path
) -> None:
    name = metadata_file(Digits(), network)
    cache, shipped = context.cache / "teachers" / name, tmp_path / "teachers" / name
    _, watcher = agenda(context, tmp_path, "noise")
    assert watcher.said == []
    assert not cache.exists()
    assert not shipped.exists()
    _, watcher = agenda(context, tmp_path, "metadata")
    assert len(watcher.said) == 1
    assert checksum(load_tensors(cache)[0]) == checksum(load_tensors(shipped)[0])


def test_a_worker_process_gives_the_record_of_this_process_and_replay_agrees(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = dataclasses.replace(
        context, reuse_samples=False, precision=pick_precision(torch.device("cpu"))
    )
    made = []
    for executor in (InProcess(), Processes(1)):
        results = tmp_path / type(executor).__name__
        todo, watcher = agenda(own, results, "metadata")
        made += run_grid(todo, Store(results), own, executor, watcher)
    here, there = made
    assert here.status in {"ok", "collapsed"}
    assert here.method.access == "metadata"
    assert compare(here, there) == []

    # The folder of records is enough to replay: teacher and metadata were shipped with it.
    monkeypatch.setenv("DFKD_CACHE", str(tmp_path / "empty"))
    assert replay(here.run_id, tmp_path / "InProcess", None, [], Console(quiet=True)) == 0
    assert not (tmp_path / "empty" / "teachers").exists()
