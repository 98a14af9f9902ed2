"""The colour tasks from a data file to a record, on a handful of images."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from benchmark.cli.program import app
from benchmark.tasks import loaded
from benchmark.tasks.cifar10 import CIFAR10, CIFAR10Lite, CIFAR10WideResNets
from benchmark.tasks.data.base import Dataset
from benchmark.tasks.svhn import SVHN
from benchmark.tasks.tiny import Tiny
from benchmark.teachers.training import train_teacher
from tests.benchmark.tasks.data.test_image_data import small_dataset, write_parquet


@pytest.fixture(autouse=True)
def _no_data_of_other_tests():
    loaded.dataset.cache_clear()
    yield
    loaded.dataset.cache_clear()


@pytest.mark.parametrize("cls", [SVHN, CIFAR10WideResNets, CIFAR10Lite, CIFAR10])
def test_a_teacher_is_trained_by_both_recipes(cls) -> None:
    task, data = cls(), small_dataset(train=8, test=4)
    short = {"epochs": 1, "batch": 4}
    task.teacher_recipe = task.recipe("cpu").model_copy(update=short)
    task.teacher_recipes = {"paper": task.recipe("paper").model_copy(update=short)}
    steps: list[int] = []
    for preset in ("cpu", "paper") if cls is CIFAR10Lite else ("cpu",):
        teacher = train_teacher(
            task, data, lambda *event: steps.append(event[1]), preset, precision="bf16"
        )
        assert teacher.info.recipe["name"] == preset
        assert teacher.build(task).eval()(torch.zeros(1, 3, 32, 32)).isfinite().all()
    assert steps[:2] == [1, 2]


def test_a_run_on_a_lossy_copy_says_so_in_record_and_table(tmp_path: Path) -> None:
    data = small_dataset(train=40, test=20)
    for split, part in (("train", data.train), ("test", data.test)):
        write_parquet(tmp_path / "data" / "cifar10" / f"{split}-0.parquet", part, "JPEG")
    results = tmp_path / "results"
    arguments = ["--task", "cifar10-lite", "--method", "rdskd", "--budget", "smoke"]
    places = ["--data-dir", str(tmp_path / "data"), "--results", str(results)]
    ran = CliRunner().invoke(app, ["run", *arguments, *places])
    assert ran.exit_code == 0, ran.output
    (path,) = results.glob("*/*/*/*.json")
    record = json.loads(path.read_text())
    assert record["data_note"] == "CIFAR-10 (JPEG)"
    assert record["status"] in ("ok", "collapsed")
    assert record["teacher"]["recipe"]["name"] == "smoke"
    assert "Data: CIFAR-10 (JPEG)." in (results / "report.md").read_text()
    shown = CliRunner().invoke(app, ["show", path.stem, "--results", str(results)])
    assert "CIFAR-10 (JPEG)" in shown.output
    assert len(list((results / "teachers").iterdir())) == 1  # small enough to ship


def test_data_without_a_note_leave_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = Tiny.load
    notes = {"plain": "", "noted": "Tiny (a copy)"}
    for name, note in notes.items():

        def noted(self: Tiny, data_dir: Path | None, note: str = note) -> Dataset:
            return replace(load(self, data_dir), note=note)

        monkeypatch.setattr(Tiny, "load", noted)
        loaded.dataset.cache_clear()
        arguments = ["--task", "tiny", "--method", "noise", "--budget", "smoke"]
        ran = CliRunner().invoke(app, ["run", *arguments, "--results", str(tmp_path / name)])
        assert ran.exit_code == 0, ran.output
    records = {
        name: json.loads(path.read_text())
        for name in notes
        for path in (tmp_path / name).glob("*/*/*/*.json")
    }
    assert {name: record["data_note"] for name, record in records.items()} == notes
    assert records["plain"]["run_id"] == records["noted"]["run_id"]
