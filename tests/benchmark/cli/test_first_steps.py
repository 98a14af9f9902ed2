"""What somebody new to the commands does, and does wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmark.cli.program import app
from benchmark.errors import UserError
from benchmark.records.store import Store
from benchmark.suites.suite import load_suite
from methods.own_teacher.distill import _normalization
from methods.own_teacher.interface import Unsuitable
from tests.helpers import make_record, one_line, write_file

TINY = ("--task", "tiny", "--budget", "smoke")
README = "# Mine\n<!-- leaderboard digits smoke -->\na table\n<!-- end leaderboard -->\n"


def dfkd(*arguments: Any) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(*arguments: Any) -> str:
    """The one line with which a command is refused."""
    done = dfkd(*arguments)
    assert done.exit_code == 2, done.output
    return one_line(done.output)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    store = Store(tmp_path / "mine")
    for method in "ab":
        for seed in range(3):
            store.put(make_record(method=method, seed=seed, accuracy=0.8 + seed / 100))
    return store.root


# Tables


def test_tables_of_other_results_leave_the_repository_s_files_alone(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files = [
        write_file(tmp_path / "README.md", README),
        write_file(tmp_path / "leaderboard.md", ""),
    ]
    before = [file.read_text(encoding="utf-8") for file in files]
    done = dfkd("leaderboard", "--results", "mine")
    assert (done.exit_code, done.output.strip()) == (0, "mine/leaderboard.md: 6 records")
    assert [file.read_text(encoding="utf-8") for file in files] == before
    write_file(results / "leaderboard.md", "stale")
    stale = dfkd("leaderboard", "--check", "--results", "mine")
    assert stale.exit_code == 1
    assert "run: dfkd leaderboard --results mine" in stale.output


def test_every_file_that_is_written_is_named(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    results.rename("results")
    write_file(tmp_path / "README.md", README)
    said = dfkd("leaderboard").output.splitlines()
    assert said == ["leaderboard.md: 6 records", "README.md: marked tables"]


def test_a_command_tells_of_its_own_runs_in_a_folder_with_others(tmp_path: Path) -> None:
    folder = ("--results", tmp_path / "results", "--device", "cpu")
    assert dfkd("run", *TINY, "--method", "noise", "--seeds", "0-2", *folder).exit_code == 0
    output = dfkd("run", *TINY, "--method", "untrained-generator", *folder).output
    assert "without any record" not in output
    again = dfkd("run", *TINY, "--method", "noise", "--seeds", "0", *folder).output
    assert "1/1" in again
    assert "1 of 1 runs are already there" in again


def test_runs_that_are_asked_for_twice_are_counted_once(tmp_path: Path) -> None:
    twice = ("--method", "noise", "--method", "noise")
    output = dfkd("run", *TINY, *twice, "--results", tmp_path / "r", "--dry-run").output
    assert "1 runs planned: 0 there, 1 to run" in output


def test_output_that_cannot_be_written_is_said_in_one_line(results: Path, tmp_path: Path) -> None:
    blocker = write_file(tmp_path / "file", "")
    compared = ("compare", "a", "b", "--task", "digits", "--results", results)
    done = dfkd(*compared, "--plot", blocker / "plot.svg")
    assert done.exit_code == 2
    assert "cannot write to" in done.output
    assert "Traceback" not in done.output


# Options


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--jobs", "x"), "--jobs is 'x'"),
        (("--executor", "slurm"), "no executor 'slurm'"),
        (("--gpus-per-run", "1"), "without --executor ray"),
        (("--device", "mps"), "choose auto, cpu, cuda or cuda:N"),
        (("--device", "meta"), "choose auto, cpu, cuda or cuda:N"),
        (("--device", "cpu:3"), "choose auto, cpu, cuda or cuda:N"),
        (("--set", "std=1", "--set", "std=2"), "--set gives 'std' twice"),
        (("--suite-name", "teachers"), "where teachers are kept"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_options_are_checked_before_any_work(
    tmp_path: Path, options: tuple[str, ...], says: str
) -> None:
    command = ("run", *TINY, "--method", "noise", "--results", tmp_path / "results", *options)
    assert says in refused(*command)
    assert says in refused(*command, "--dry-run")
    assert not (tmp_path / "results").exists()
    assert not (tmp_path / "cache").exists()


def test_a_time_limit_is_checked_in_a_dry_run_too(tmp_path: Path) -> None:
    command = ("run", *TINY, "--method", "noise", "--results", tmp_path, "--time-limit", "y")
    assert "--time-limit" in refused(*command, "--dry-run")


def test_a_cache_that_cannot_be_written_is_said_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DFKD_CACHE", str(write_file(tmp_path / "file", "") / "cache"))
    said = refused("run", *TINY, "--method", "noise", "--results", tmp_path / "results")
    assert "set DFKD_CACHE to a folder you may write" in said


def test_reproducing_without_runs_wants_a_folder_and_a_budget(
    results: Path, tmp_path: Path
) -> None:
    command = ("reproduce", "rdskd-table2", "--no-run")
    assert "does not exist" in refused(*command, "--results", tmp_path / "none")
    assert "no budget 'nosuch'" in refused(*command, "--results", results, "--budget", "nosuch")


# Names


def test_whatever_is_listed_can_be_shown() -> None:
    assert dfkd("show", "kd").exit_code == 0
    said = refused("show", "zzzzzz")
    names = said.partition("choose from: ")[2].partition(" (or")[0].split(", ")
    assert len(names) == len(set(names))


def test_the_command_that_show_prints_finds_the_record(results: Path) -> None:
    run_id = make_record(method="a").run_id
    output = dfkd("show", run_id, "--results", results).output
    assert f"dfkd replay {run_id} --results {results}" in output


def test_a_name_that_is_taken_is_no_name_for_ones_own(tmp_path: Path) -> None:
    assert "a method 'rdskd' already" in refused("new-method", "rdskd", "--dir", tmp_path)
    assert "a task 'digits' already" in refused("new-task", "digits", "--dir", tmp_path)
    assert "my-task" in refused("new-task", "A B", "--dir", tmp_path)
    assert list(tmp_path.glob("*.py")) == []
    output = dfkd("new-method", "my-own", "--dir", tmp_path).output
    assert f"--methods-dir {tmp_path}" in output


def test_watch_offers_suites_and_tells_of_damage(results: Path) -> None:
    Store(results).add_plan("planned", [])
    (results / "teachers").mkdir()
    said = refused("watch", "--suite", "teachers", "--results", results)
    assert said.endswith("choose from: planned, suite")
    next(results.glob("suite/*/*/*.json")).write_text("{", encoding="utf-8")
    output = dfkd("watch", "--once", "--results", results).output
    assert "1 unreadable file(s) left out" in output


def test_measure_names_damaged_records(results: Path) -> None:
    for path in results.glob("suite/*/*/*.json"):
        path.write_text("{", encoding="utf-8")
    Store(results).put(make_record(status="error", accuracy=None))
    done = dfkd("measure", "suite", "--results", results)
    assert done.exit_code == 1
    assert done.output.count("it is not a readable record") == 6


# Files and numbers

LATE = """\
budget = "smoke"
tasks = ["digits"]
seeds = "0-2"

[[methods]]
name = "noise"

[[methods]]
name = "rdskd"
seeds = "a"
"""


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (LATE, "line 10: 'methods.1.seeds'"),
        (LATE.replace('seeds = "a"', "seeds = [-1]"), "greater than or equal to 0"),
        (LATE.replace('"0-2"', "[-1]"), "line 3: 'seeds.0'"),
    ],
)
def test_a_suite_s_fault_is_found_where_it_is(tmp_path: Path, content: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        load_suite(str(write_file(tmp_path / "mine.toml", content)))
    assert says in one_line(str(caught.value))


def test_a_file_s_name_that_is_no_suite_s_is_said(tmp_path: Path) -> None:
    path = write_file(tmp_path / "my suite.toml", LATE.replace('seeds = "a"', ""))
    with pytest.raises(UserError, match="its name is the suite's unless it has a 'name'"):
        load_suite(str(path))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_normalisation_is_finite(value: float) -> None:
    for mean, std in (((value,), (1.0,)), ((0.0,), (value,))):
        with pytest.raises(Unsuitable, match="must be finite"):
            _normalization(mean, std, 1)
