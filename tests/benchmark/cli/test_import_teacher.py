"""``dfkd import-teacher``, and runs that name what it imported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from benchmark.cli.program import app
from benchmark.machine.cache import cache_dir
from benchmark.records.store import Store
from benchmark.tasks.digits import Digits
from benchmark.teachers.teacher import TrainedTeacher
from tests.helpers import one_line


def dfkd(*arguments: Any) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def weights(tmp_path: Path, digits_teacher: TrainedTeacher) -> Path:
    path = tmp_path / "stranger.pth"
    torch.save({"net": digits_teacher.weights}, path)
    return path


def imported(weights: Path, *arguments: Any) -> Any:
    return dfkd(
        "import-teacher", "--task", "digits", "--weights", weights, "--device", "cpu", *arguments
    )


def test_an_imported_teacher_is_run_named_in_the_caption_and_replayed(
    tmp_path: Path, weights: Path
) -> None:
    done = imported(weights, "--mean", "0.4", "--std", "0.3")
    assert done.exit_code == 0, done.output
    (path,) = (cache_dir() / "teachers").glob("digits-imported-*.safetensors")
    assert f"kept: {path}" in done.output
    id_ = path.stem.rpartition("-")[2]
    assert f"teacher {id_} of digits: accuracy" in done.output
    assert f"--teacher {id_[:6]}" in done.output

    results = tmp_path / "results"
    command = ("run", "--task", "digits", "--method", "noise", "--budget", "smoke", "--seeds", "0")
    done = dfkd(*command, "--results", results, "--device", "cpu", "--teacher", id_[:6])
    assert done.exit_code == 0, done.output
    origin = f"Teacher `{id_}`, accuracy"
    assert origin in (results / "report.md").read_text()
    assert "imported from stranger.pth, SHA-256" in (results / "report.md").read_text()
    (record,) = Store(results).scan().records
    assert record.teacher.checksum == id_
    assert record.teacher.recipe["imported"] == "stranger.pth"
    assert (results / "teachers" / path.name).is_file()  # small ones are kept with the records

    path.unlink()
    shown = dfkd("show", record.run_id, "--results", results)
    assert "imported from stranger.pth" in shown.output
    again = dfkd("replay", record.run_id, "--results", results)
    assert again.exit_code == 0, again.output
    preview = dfkd(*command, "--results", results, "--teacher", id_, "--dry-run")
    assert "1 runs planned: 1 there, 0 to run" in preview.output


@pytest.mark.usefixtures("cached_teacher")
def test_an_imported_teacher_is_used_only_where_it_is_named(tmp_path: Path, weights: Path) -> None:
    imported(weights, "--mean", "0.4", "--std", "0.3")
    results = tmp_path / "results"
    command = ("run", "--task", "digits", "--method", "noise", "--budget", "smoke")
    done = dfkd(*command, "--seeds", 0, "--results", results, "--device", "cpu")
    assert done.exit_code == 0, done.output
    (record,) = Store(results).scan().records
    assert record.teacher.origin == ""
    assert "imported" not in (results / "report.md").read_text()


def test_a_teacher_near_chance_is_said(tmp_path: Path) -> None:
    torch.save(Digits().make_teacher().state_dict(), tmp_path / "untrained.pt")
    done = imported(tmp_path / "untrained.pt")
    assert done.exit_code == 0, done.output
    assert "close to chance" in done.output


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--mean", "0.5"), "--mean is given without --std"),
        (("--std", "0.5"), "--std is given without --mean"),
        (("--mean", "a", "--std", "1"), "--mean is 'a'"),
        (("--mean", "0,0", "--std", "1,1"), "--mean has 2 numbers"),
        (("--mean", "0", "--std", "0"), "--std is not above zero"),
        (("--rename", "linear"), "--rename is 'linear'"),
        (("--rename", "linear=fc"), "no weight has 'linear'"),
        (("--weights", "absent.pt"), "there is no file"),
        (("--task", "digit"), "there is no task 'digit'"),
    ],
)
def test_bad_arguments_are_answered_in_one_line(
    weights: Path, arguments: tuple[str, ...], part: str
) -> None:
    done = imported(weights, *arguments)
    assert done.exit_code == 2
    assert part in one_line(done.output.splitlines()[-1])
    assert not list(cache_dir().glob("teachers/*"))


def test_a_run_that_names_no_imported_teacher_is_answered_in_one_line(tmp_path: Path) -> None:
    command = ("run", "--task", "digits", "--method", "noise", "--results", tmp_path / "results")
    done = dfkd(*command, "--device", "cpu", "--teacher", "beef")
    assert done.exit_code == 2
    assert "'beef' is no imported teacher of task 'digits'" in one_line(done.output)
