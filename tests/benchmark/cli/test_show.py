"""What ``dfkd list``, ``show``, ``doctor`` and ``replay`` tell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmark.cli.program import app
from benchmark.records.store import Store
from benchmark.suites.plan import plan
from benchmark.suites.suite import load_suite, suite_names
from benchmark.tasks.registry import all_tasks
from methods.base.registry import discover
from methods.settings.params import format_value
from tests.helpers import make_record


def dfkd(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def finished(tmp_path: Path) -> tuple[Path, Path]:
    """A results folder with one record, and the record's path."""
    results = tmp_path / "results"
    arguments = ("--task", "tiny", "--method", "noise", "--budget", "smoke")
    ran = dfkd("run", *arguments, "--results", str(results))
    assert ran.exit_code == 0, ran.output
    (path,) = results.glob("*/*/*/*.json")
    return results, path


def test_list_names_every_task_method_and_suite() -> None:
    output = dfkd("list").output
    for name in [*all_tasks(), *discover(), *suite_names()]:
        assert name in output


def test_list_counts_the_runs_that_a_suite_plans() -> None:
    words = [line.split() for line in dfkd("list").output.splitlines()]
    counts = {row[0]: row[1] for row in words if len(row) > 1}
    for name in ("quickstart", "rdskd-table2", "rdskd-table3", "inversion-variants"):
        assert counts[name] == str(len(plan(load_suite(name), discover())))


@pytest.mark.parametrize("name", sorted(discover()))
def test_show_prints_every_parameter_with_its_default_and_source(name: str) -> None:
    cls = discover()[name]
    output = " ".join(dfkd("show", name).output.split())
    assert cls.paper in output
    for parameter, field in cls.Params.model_fields.items():
        assert parameter in output
        assert format_value(field.default) in output


def test_show_tells_which_values_have_a_version_of_their_own() -> None:
    assert "version 2 with legacy=true" in " ".join(dfkd("show", "zskd").output.split())
    assert "version 2" not in dfkd("show", "rdskd").output


def test_show_prints_a_task_with_its_budgets() -> None:
    output = dfkd("show", "mnist").output
    for word in ("LeNet-5-Half", "synthesis_steps", "paper", "student_lr"):
        assert word in output


def test_show_prints_every_recipe_with_its_budgets() -> None:
    output = " ".join(dfkd("show", "svhn").output.split())
    for words in ("WRN-40-2 → WRN-16-1", "budgets smoke)", "budgets gpu, paper"):
        assert words in output
    assert "name=paper" in output
    assert "budgets" not in dfkd("show", "mnist").output.split("recipe")[1].splitlines()[0]


def test_show_prints_a_record_and_how_to_run_it_again(finished) -> None:
    results, path = finished
    output = dfkd("show", path.stem[:6], "--results", str(results)).output
    assert path.stem in output
    assert f"dfkd replay {path.stem}" in output


def test_show_tells_how_restless_the_student_s_loss_was(tmp_path: Path) -> None:
    curves = {"distillation/loss": {"step": [0.0, 1.0, 2.0, 3.0], "value": [9.0, 5.0, 1.0, 2.0]}}
    for record in (make_record(curves=curves), make_record(seed=1)):
        Store(tmp_path).put(record)
        output = dfkd("show", record.run_id, "--results", str(tmp_path)).output
        told = "0.5 over the second half of the student's steps" in output
        assert told == (record.spec.seed == 0), "two points are no curve"


def test_doctor_names_what_is_missing_and_where_it_looked(tmp_path: Path) -> None:
    result = dfkd("doctor", "--data-dir", str(tmp_path / "nowhere"))
    assert result.exit_code == 0
    assert "MNIST is not here" in " ".join(result.output.split())
    assert "nowhere" in result.output


def test_replay_reports_a_match(finished) -> None:
    results, path = finished
    before = path.read_text()
    result = dfkd("replay", path.stem, "--results", str(results))
    assert result.exit_code == 0, result.output
    assert "same bits" in result.output
    assert path.read_text() == before


def test_replay_reports_a_difference_and_exits_1(finished) -> None:
    results, path = finished
    record = json.loads(path.read_text())
    record["metrics"]["accuracy"] = 0.123
    path.write_text(json.dumps(record))
    result = dfkd("replay", path.stem, "--results", str(results))
    assert result.exit_code == 1
    assert "accuracy: 0.123 then" in result.output


def test_replay_needs_the_record_s_teacher(finished) -> None:
    results, path = finished
    record = json.loads(path.read_text())
    record["teacher"]["checksum"] = "0" * 16
    from benchmark.records.spec import Spec

    run_id = Spec.model_validate(record["spec"]).run_id("0" * 16)
    record["run_id"] = run_id
    path.with_name(f"{run_id}.json").write_text(json.dumps(record))
    result = dfkd("replay", run_id, "--results", str(results))
    assert result.exit_code == 2
    assert "teacher" in result.output


def test_dry_run_lists_what_is_there_and_what_would_run_and_changes_nothing(finished) -> None:
    results, _ = finished
    before = sorted(results.rglob("*"))
    arguments = ("--task", "tiny", "--method", "noise", "--budget", "smoke", "--seeds", "0-1")
    output = dfkd("run", *arguments, "--results", str(results), "--dry-run").output
    assert "1 there, 1 to run" in output
    assert sorted(results.rglob("*")) == before


def test_replay_says_what_differs_before_it_runs_and_a_dry_run_stops_there(finished) -> None:
    results, path = finished
    record = json.loads(path.read_text())
    record["environment"]["torch"] = "1.0"
    path.write_text(json.dumps(record))
    result = dfkd("replay", path.stem, "--results", str(results), "--dry-run")
    assert result.exit_code == 0
    output = " ".join(result.output.split())
    assert "torch: 1.0 then" in output
    assert "it took" in output
    assert "same bits:" not in output
    assert output.index("torch: 1.0 then") < output.index("it took")


def test_a_replay_on_another_machine_has_a_verdict_and_an_exit_code_of_its_own(finished) -> None:
    results, path = finished
    arguments = ("--task", "tiny", "--method", "noise", "--budget", "smoke", "--seeds", "1-3")
    assert dfkd("run", *arguments, "--results", str(results)).exit_code == 0
    record = json.loads(path.read_text())
    record["environment"]["torch"] = "1.0"
    record["metrics"]["accuracy"] += 1e-6
    path.write_text(json.dumps(record))
    result = dfkd("replay", path.stem, "--results", str(results))
    assert result.exit_code == 3, result.output
    assert "within what another processor does: the score differs by 0.00 points" in " ".join(
        result.output.split()
    )
