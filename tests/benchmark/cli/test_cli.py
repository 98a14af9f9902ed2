from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmark import __version__
from benchmark.cli.program import app
from benchmark.grid.executors import local
from benchmark.records.store import Store
from benchmark.runs.trial import execute
from benchmark.teachers.teacher import TrainedTeacher
from tests.helpers import FAULTY_METHODS, write_file

SUITE = """\
budget = "smoke"
tasks = ["digits"]
seeds = [0]
methods = [
    { name = "raises" }, { name = "diverges" }, { name = "exits" }, { name = "tampers" },
    { name = "fine" },
]
"""


def dfkd(*arguments: Any) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def run_one(tmp_path: Path, *arguments: Any) -> Any:
    return dfkd("run", "--results", tmp_path / "results", "--device", "cpu", *arguments)


def noise(tmp_path: Path, *arguments: Any) -> Any:
    return run_one(
        tmp_path, "--task", "digits", "--method", "noise", "--budget", "smoke", *arguments
    )


# Runs


@pytest.mark.usefixtures("cached_teacher")
def test_a_run_prints_its_table_and_where_the_records_are(tmp_path: Path) -> None:
    done = noise(tmp_path, "--seeds", "0-1", "--set", "temperature=4")
    assert done.exit_code == 0, done.output
    assert "temperature=4.0" in done.output[done.output.index("digits, budget smoke") :]
    assert str(tmp_path / "results" / "custom") in done.output
    records = Store(tmp_path / "results").scan().records
    assert sorted(record.spec.seed for record in records) == [0, 1]
    assert all(record.spec.params["temperature"] == 4.0 for record in records)
    again = noise(tmp_path, "--seeds", "0-1", "--set", "temperature=4")
    assert again.exit_code == 0
    assert "2 of 2 runs are already there" in again.output


@pytest.mark.usefixtures("cached_teacher")
def test_runs_are_ranked_among_the_records_of_another_folder(tmp_path: Path) -> None:
    others = tmp_path / "others"
    command = ("run", "--task", "digits", "--method", "untrained-generator", "--device", "cpu")
    for budget in ("smoke", "cpu"):
        done = dfkd(*command, "--budget", budget, "--seeds", "0-1", "--results", others)
        assert done.exit_code == 0, done.output
    before = sorted(others.rglob("*"))
    alone = noise(tmp_path, "--seeds", "0")
    assert "Untrained generator" not in alone.output
    beside = noise(tmp_path, "--seeds", "0", "--beside", others)
    assert beside.exit_code == 0
    assert "Untrained generator" in beside.output
    assert "Noise" in beside.output
    assert "budget cpu" not in beside.output
    assert sorted(others.rglob("*")) == before
    absent = noise(tmp_path, "--seeds", "0", "--beside", tmp_path / "absent")
    assert absent.exit_code == 2
    assert "does not exist" in absent.output


@pytest.mark.usefixtures("cached_teacher")
def test_failed_runs_are_named_at_the_end_with_exit_code_1(tmp_path: Path) -> None:
    suite = write_file(tmp_path / "mine.toml", SUITE)
    done = run_one(tmp_path, suite, "--methods-dir", FAULTY_METHODS)
    assert done.exit_code == 1
    assert "Traceback" not in done.output
    records = Store(tmp_path / "results").scan().records
    assert {record.spec.method: record.status for record in records} | {"fine": "any"} == {
        "raises": "error",
        "diverges": "diverged",
        "exits": "error",
        "tampers": "error",
        "fine": "any",
    }
    last = done.output.strip().splitlines()[-1]
    assert "4 of 5 runs failed" in last
    for part in ("raises seed 0: error", "diverges seed 0: diverged", "exits", "tampers"):
        assert part in last
    assert "--overwrite failed" in last
    assert "fine" not in last


@pytest.mark.usefixtures("cached_teacher")
def test_records_of_other_code_are_said_and_made_again_if_asked_for(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    assert "other code" not in noise(tmp_path, "--seeds", "0-1").output
    (record, _) = store.scan().records
    environment = record.environment.model_copy(update={"fingerprint": ""})
    store.put(record.model_copy(update={"environment": environment}))
    said = "1 record was made by other code; --overwrite stale makes it again"
    preview = noise(tmp_path, "--seeds", "0-1", "--dry-run").output
    assert said in preview
    assert "2 runs planned: 2 there, 0 to run" in preview
    again = ("--seeds", "0-1", "--overwrite", "stale")
    assert "2 runs planned: 1 there, 1 to run" in noise(tmp_path, *again, "--dry-run").output
    assert said in noise(tmp_path, "--seeds", "0-1").output
    done = noise(tmp_path, *again)
    assert done.exit_code == 0
    assert "other code" not in done.output
    assert record.environment in [r.environment for r in store.scan().records]
    assert "other code" not in noise(tmp_path, "--seeds", "0-1").output


def ending(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """From now on every run ends with these fields of its record changed."""
    monkeypatch.setattr(
        local, "execute", lambda *arguments: execute(*arguments).model_copy(update=changes)
    )


@pytest.mark.usefixtures("cached_teacher")
def test_a_run_over_its_budget_ends_with_the_rule_and_is_not_repeated_as_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending(monkeypatch, status="over_budget", reason="twice as many steps")
    done = noise(tmp_path)
    assert done.exit_code == 1
    last = done.output.strip().splitlines()[-1]
    assert "1 of 1 runs spent more than their budget: digits noise seed 0: over_budget" in last
    assert "methods/settings/budget.py" in last
    assert "--overwrite failed" not in done.output
    for overwrite, again in (("failed", 0), ("stale", 0), ("always", 1)):
        preview = noise(tmp_path, "--overwrite", overwrite, "--dry-run").output
        assert f"1 runs planned: {1 - again} there, {again} to run" in preview


@pytest.mark.usefixtures("cached_teacher")
def test_a_run_that_failed_to_be_made_again_is_named_and_its_finished_record_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise(tmp_path)
    (record,) = Store(tmp_path / "results").scan().records
    ending(monkeypatch, status="error", reason="it broke")
    done = noise(tmp_path, "--overwrite", "always")
    assert done.exit_code == 1
    last = done.output.strip().splitlines()[-1]
    assert "1 of 1 runs broke, and their finished records are kept: digits noise seed 0" in last
    assert Store(tmp_path / "results").scan().records == [record]


@pytest.mark.usefixtures("cached_teacher")
def test_a_dry_run_lists_and_touches_nothing(tmp_path: Path) -> None:
    done = noise(tmp_path, "--seeds", "0-2", "--dry-run")
    assert done.exit_code == 0
    assert "3 runs planned: 0 there, 3 to run" in done.output
    assert not (tmp_path / "results").exists()


def test_a_dry_run_before_there_is_a_teacher_tells_settings_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DFKD_CACHE", str(tmp_path / "cache"))
    output = noise(tmp_path, "--set", "std=0.5", "--dry-run").output
    assert "to run  (id after the teacher)  digits noise(std=0.5) seed 0" in output
    assert "the teacher of 'digits' would be trained first" in output


@pytest.mark.usefixtures("cached_teacher")
def test_a_replay_matches_the_record_and_tells_a_difference(tmp_path: Path) -> None:
    results = tmp_path / "results"
    assert noise(tmp_path).exit_code == 0
    (record,) = Store(results).scan().records
    match = dfkd("replay", record.run_id[:8], "--results", results)
    assert match.exit_code == 0, match.output
    assert "same bits" in match.output
    Store(results).put(record.model_copy(update={"metrics": {**record.metrics, "accuracy": 0.5}}))
    different = dfkd("replay", record.run_id, "--results", results)
    assert different.exit_code == 1
    assert "accuracy: 0.5 then" in different.output


def test_an_interruption_says_that_finished_runs_are_kept(
    tmp_path: Path, cached_teacher: TrainedTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: Any) -> Any:
        for _ in range(2):  # the second Ctrl-C does not wait
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr("methods.base.method.train_student", interrupt)
        stopped = noise(tmp_path, "--seeds", "0-1")
    assert stopped.exit_code == 130
    assert "0 of 2 runs, 2 missing" in stopped.output
    assert "the same command goes on from here" in stopped.output
    assert noise(tmp_path).exit_code == 0
    (record,) = Store(tmp_path / "results").scan().records
    assert record.status in {"ok", "collapsed"}


# What users get wrong: one line, exit code 2, nothing written

ONE = ("--task", "digits", "--method", "rdskd", "--budget", "smoke")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--task", "digitz", "--method", "noise"), "no task 'digitz'; did you mean 'digits'?"),
        (("--task", "digits", "--method", "rdksd"), "no method 'rdksd'; did you mean 'rdskd'?"),
        ((*ONE, "--set", "temprature=4"), "no parameter 'temprature'; did you mean 'temperature'?"),
        ((*ONE, "--set", "temperature=0"), "parameter 'temperature' is 0, but"),
        ((*ONE, "--set", "temperature=hot"), "parameter 'temperature' is 'hot', but"),
        ((*ONE, "--set", "latent_dim=2.5"), "parameter 'latent_dim' is 2.5, but"),
        ((*ONE, "--set", "temperature=nan"), "parameter 'temperature' is nan, but"),
        ((*ONE, "--set", "temperature"), "--set 'temperature' is not a setting; write it like"),
        (
            (*ONE, "--set", "exponential=false", "--set", "previous=epoch-mean"),
            "'previous' has no effect while exponential=false",
        ),
        (("quickstrat",), "no suite 'quickstrat'; did you mean 'quickstart'?"),
        (("absent.toml",), "no suite 'absent.toml'"),
        (("quickstart", "--budget", "smoek"), "no budget 'smoek'; did you mean 'smoke'?"),
        (("quickstart", "--method", "zskd"), "no method 'zskd'"),
        (("quickstart", "--seeds", "4-0"), "seed range '4-0' runs backwards"),
        ((*ONE, "--seeds", "a-b"), "seed range 'a-b' is not understood"),
        ((*ONE, "--overwrite", "allways"), "--overwrite is 'allways'; did you mean 'always'?"),
        ((*ONE, "--suite-name", "../x"), "--suite-name: must be made of letters"),
        (("quickstart", "--set", "temperature=2"), "not both"),
        (("quickstart", "--suite-name", "x"), "leave --suite-name out"),
        (("quickstart", "--task", "mnits"), "'mnits'"),
        ((), "give a suite"),
        (("--task", "digits"), "give a suite"),
        ((*ONE, "--methods-dir", "no-such-folder"), "'no-such-folder' does not exist"),
        ((*ONE, "--data-dir", "x", "--task", "mnist"), "MNIST is not here"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistake_is_answered_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    done = run_one(tmp_path, *arguments)
    assert done.exit_code == 2, done.output
    assert len(done.output.strip().splitlines()) == 1, done.output
    assert done.output.startswith("error: ")
    assert says in done.output
    assert Store(tmp_path / "results").scan().records == []


def test_a_methods_file_that_does_not_import_is_answered_in_one_line(tmp_path: Path) -> None:
    broken = write_file(tmp_path / "own" / "broken.py", "x = 1\nimport no_such_module_anywhere\n")
    done = noise(tmp_path, "--methods-dir", broken.parent)
    assert done.exit_code == 2
    assert len(done.output.strip().splitlines()) == 1
    for part in (str(broken), "no_such_module_anywhere", "line 2"):
        assert part in done.output


def test_a_stray_key_of_a_suite_file_is_answered_in_one_line(tmp_path: Path) -> None:
    suite = write_file(tmp_path / "mine.toml", SUITE + 'sedes = "0-3"\n')
    done = run_one(tmp_path, suite)
    assert done.exit_code == 2
    assert len(done.output.strip().splitlines()) == 1
    assert f"'{suite}', line 8: unknown key 'sedes'; did you mean 'seeds'?" in done.output


def test_results_below_a_file_are_answered_in_one_line(tmp_path: Path) -> None:
    blocker = write_file(tmp_path / "file", "")
    done = dfkd("run", *ONE, "--results", blocker / "x", "--device", "cpu")
    assert done.exit_code == 2
    assert len(done.output.strip().splitlines()) == 1
    assert "cannot write to" in done.output


@pytest.mark.parametrize("run_id", ["0123456789", "not-hex"])
def test_a_replay_of_nothing_is_answered_in_one_line(tmp_path: Path, run_id: str) -> None:
    done = dfkd("replay", run_id, "--results", tmp_path)
    assert done.exit_code == 2
    assert len(done.output.strip().splitlines()) == 1
    assert run_id in done.output


def test_an_axis_without_values_is_answered_in_one_line(tmp_path: Path) -> None:
    content = SUITE.split("methods")[0] + '[[methods]]\nname = "noise"\naxes = { std = [] }\n'
    done = run_one(tmp_path, write_file(tmp_path / "mine.toml", content))
    assert done.exit_code == 2


# The command itself


def test_the_installed_command_fails_in_one_line_too(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmark.cli", "run", "quickstrat"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: there is no suite 'quickstrat'")
    assert len(done.stderr.strip().splitlines()) == 1


def test_help_and_version_need_no_torch() -> None:
    script = """
import sys
from benchmark.cli import entry
for arguments in (["--help"], ["--version"], ["run", "--help"]):
    try:
        entry(arguments)
    except SystemExit as stop:
        assert not stop.code
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == "False"
    assert "leaderboard" in done.stdout
    assert f"dfkd-bench {__version__}" in done.stdout


def test_a_run_starts_without_what_only_decoding_and_tables_need() -> None:
    script = """
import sys
import benchmark.cli.run
print(sorted({"torchvision", "pandas", "scipy", "sklearn", "timm"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
