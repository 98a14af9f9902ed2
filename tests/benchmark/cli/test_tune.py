from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmark.analysis.leaderboard.tables import tables
from benchmark.cli.program import app
from benchmark.records.store import Store
from tests.helpers import one_line, write_file

TABLE = """\
budget = "smoke"
tasks = ["digits"]
seeds = "0"
tuned = "results/tune-digits-smoke/chosen.toml"

[[methods]]
name = "dafl"

[[methods]]
name = "dafl"
params = "tuned"

[[methods]]
name = "student-supervised"
params = "tuned"

[[methods]]
name = "student-supervised"
"""


def dfkd(*arguments: Any) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def tune(tmp_path: Path, *arguments: Any) -> Any:
    return dfkd(
        "tune", *arguments, "--results", tmp_path / "results", "--device", "cpu", "--jobs", "1"
    )


def on_digits(tmp_path: Path, methods: str, *arguments: Any) -> Any:
    return tune(
        tmp_path, "digits", "--methods", methods, "--budget", "smoke", "--trials", "3", *arguments
    )


def chosen(tmp_path: Path, name: str = "results/tune-digits-smoke/chosen.toml") -> Any:
    return tomllib.loads((tmp_path / name).read_text(encoding="utf-8"))


def refusal(*arguments: Any) -> str:
    done = dfkd("tune", *arguments)
    assert done.exit_code == 2
    return one_line(done.output)


@pytest.mark.usefixtures("cached_teacher")
def test_a_tuning_is_a_file_and_a_suite_that_names_it_a_row_of_the_table(tmp_path: Path) -> None:
    done = on_digits(tmp_path, "dafl,student-supervised")
    assert done.exit_code == 0, done.output
    assert "student-supervised has no rate, weight or temperature to tune" in done.output
    assert "Chosen by the student's agreement" in done.output
    found = chosen(tmp_path)
    assert (found["task"], found["budget"], found["by"]) == ("digits", "smoke", "agreement")
    assert found["seeds"] == [100]
    assert found["methods"]["dafl"]["trials"] == 3
    assert found["methods"]["student-supervised"]["trials"] == 1
    store = Store(tmp_path / "results")
    trials = store.scan()
    assert {(r.spec.suite, r.spec.purpose) for r in trials.records} == {
        ("tune-digits-smoke", "tune")
    }
    best = max(
        (r for r in trials.records if r.spec.method == "dafl"), key=lambda r: r.metrics["agreement"]
    )
    assert found["methods"]["dafl"]["score"] == pytest.approx(best.metrics["agreement"])
    assert not trials.unreadable
    assert tables(trials) == []

    suite = write_file(tmp_path / "mine.toml", TABLE)
    done = dfkd("run", suite, "--results", tmp_path / "results", "--jobs", "1")
    assert done.exit_code == 0, done.output
    made = [r for r in store.scan().records if r.spec.suite == "mine"]
    how = {(r.spec.method, bool(r.spec.tuned)) for r in made}
    assert ("student-supervised", True) in how
    # The published setting won where there was no other, and is one run for both entries.
    backwards = "[[methods]]".join([TABLE.split("[[")[0], *TABLE.split("[[methods]]")[:0:-1]])
    write_file(tmp_path / "yours.toml", backwards)
    again = dfkd("run", tmp_path / "yours.toml", "--results", tmp_path / "results", "--jobs", "1")
    assert "3 of 3 runs are already there" in again.output
    for name in ("mine", "yours"):
        text = (tmp_path / "results" / name / "plan.json").read_text(encoding="utf-8")
        told = sorted((e["method"], e.get("tuned", "")) for e in json.loads(text).values())
        assert told == [
            ("dafl", ""),
            ("dafl", "3 trials, by agreement"),
            ("student-supervised", "1 trial, by agreement"),
        ]
    board = dfkd("leaderboard", "--results", tmp_path / "results", "--output", tmp_path / "l.md")
    assert board.exit_code == 0, board.output
    settings = found["methods"]["dafl"]["params"]
    page = (tmp_path / "l.md").read_text(encoding="utf-8")
    assert settings
    assert all(f"{name}={value}" in page for name, value in settings.items())


@pytest.mark.usefixtures("cached_teacher")
def test_a_tuning_goes_on_where_it_was_and_may_choose_by_another_score(tmp_path: Path) -> None:
    assert on_digits(tmp_path, "rdskd").exit_code == 0
    before = chosen(tmp_path)
    again = on_digits(tmp_path, "rdskd")
    assert "3 of 3 runs are already there" in again.output
    assert chosen(tmp_path) == before
    more = on_digits(tmp_path, "rdskd,mskd", "--dry-run")
    assert "6 runs planned: 3 there, 3 to run" in more.output
    store = Store(tmp_path / "results")
    for i, record in enumerate(store.scan().records):
        store.put(
            record.model_copy(update={"metrics": {**record.metrics, "accuracy_dev": 0.1 * i}})
        )
    last = store.scan().records[-1]
    done = on_digits(tmp_path, "rdskd", "--by", "dev", "--write", tmp_path / "dev.toml")
    assert done.exit_code == 0, done.output
    assert chosen(tmp_path, "dev.toml")["methods"]["rdskd"]["runs"] == [last.run_id]
    assert chosen(tmp_path) == before


@pytest.mark.usefixtures("cached_teacher")
def test_a_foreign_file_of_choices_is_refused_before_anything_runs(tmp_path: Path) -> None:
    assert on_digits(tmp_path, "dafl,student-supervised").exit_code == 0
    path = tmp_path / "results" / "tune-digits-smoke" / "chosen.toml"
    own = chosen(tmp_path)["teacher"]
    write_file(path, path.read_text(encoding="utf-8").replace(own, "f" * 16))
    suite = write_file(tmp_path / "mine.toml", TABLE)
    for more in ((), ("--dry-run",)):
        done = dfkd("run", suite, "--results", tmp_path / "results", "--jobs", "1", *more)
        assert done.exit_code == 2
        message = done.output.strip().splitlines()[-1]
        assert own in message
        assert "f" * 16 in message
    assert {r.spec.purpose for r in Store(tmp_path / "results").scan().records} == {"tune"}


@pytest.mark.usefixtures("cached_teacher")
def test_other_test_scores_change_no_choice(tmp_path: Path) -> None:
    assert on_digits(tmp_path, "rdskd").exit_code == 0
    path = tmp_path / "results" / "tune-digits-smoke" / "chosen.toml"
    before, store = path.read_text(encoding="utf-8"), Store(tmp_path / "results")
    best = chosen(tmp_path)["methods"]["rdskd"]["runs"]
    for record in store.scan().records:
        lucky = record.run_id not in best
        scores = dict.fromkeys(
            ("accuracy", "accuracy_oracle", "accuracy_agreement"), 0.1 + lucky / 2
        )
        status = "ok" if lucky else "collapsed"
        metrics = {**record.metrics, **scores}
        store.put(record.model_copy(update={"metrics": metrics, "status": status}))
    assert on_digits(tmp_path, "rdskd").exit_code == 0
    assert path.read_text(encoding="utf-8") == before
    watched = dfkd("watch", "--results", tmp_path / "results", "--once").output
    assert "3 of 3 runs" in watched
    assert "rank" not in watched
    assert "0.6000" not in watched


@pytest.mark.usefixtures("cached_teacher")
def test_no_test_score_is_printed_while_settings_are_chosen(tmp_path: Path) -> None:
    output = on_digits(tmp_path, "rdskd").output
    for record in Store(tmp_path / "results").scan().records:
        assert f"{record.metrics['accuracy']:.4f} (teacher" not in output
        assert "collapsed" not in output
        assert f"agreement {record.metrics['agreement']:.4f}" in output


@pytest.mark.usefixtures("cached_teacher")
def test_a_suite_of_ones_own_is_tuned_by_run_and_by_tune_alike(tmp_path: Path) -> None:
    text = (
        'purpose = "tune"\ntrials = 2\nbudget = "smoke"\ntasks = ["digits"]\nseeds = "100"\n'
        'methods = [{ name = "mskd", params = { norm = "frobenius" } }, { name = "rdskd" }]\n'
    )
    suite = write_file(tmp_path / "mine.toml", text)
    done = dfkd("run", suite, "--results", tmp_path / "results", "--jobs", "1")
    assert done.exit_code == 0, done.output
    found = chosen(tmp_path)
    assert found["methods"]["mskd"]["params"]["norm"] == "frobenius"
    again = tune(tmp_path, suite)
    assert "4 of 4 runs are already there" in again.output
    assert chosen(tmp_path) == found


@pytest.mark.usefixtures("cached_teacher")
def test_draws_that_tuning_has_made_are_not_made_again(tmp_path: Path) -> None:
    assert on_digits(tmp_path, "rdskd").exit_code == 0
    text = (
        'draws = 3\nbudget = "smoke"\ntasks = ["digits"]\nseeds = "100"\n'
        'methods = [{ name = "rdskd" }]\n'
    )
    suite = write_file(tmp_path / "drawn.toml", text)
    done = dfkd("run", suite, "--results", tmp_path / "results", "--jobs", "1", "--dry-run")
    assert "3 runs planned: 2 there, 1 to run" in done.output


@pytest.mark.usefixtures("cached_teacher")
def test_when_nothing_can_be_chosen_no_file_is_written_and_the_exit_code_says_so(
    tmp_path: Path,
) -> None:
    done = on_digits(tmp_path, "rdskd", "--run-timeout", "0.0001s")
    assert done.exit_code == 1
    assert "rdskd: nothing chosen, because every trial failed" in done.output
    assert not (tmp_path / "results" / "tune-digits-smoke" / "chosen.toml").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("digits", "--seeds", "0-2"), "seed 0 is for tables"),
        (("digits", "--by", "test"), "--by is 'test'"),
        (("digitz",), "did you mean 'digits'?"),
        (("quickstart",), 'purpose = "tune"'),
        (("digits", "--method", "dalf"), "did you mean 'dafl'?"),
        (("digits", "--budget", "smokey"), "did you mean 'smoke'?"),
        (("digits", "mnist", "--method", "dafl", "--write", "f.toml"), "one task at a time"),
        (("tune-mnist", "mnist", "--method", "dafl"), "two of these"),
        (("digits", "--method", "dafl", "--proxy-dir", "d"), "--proxy-dir has no effect"),
    ],
)
def test_what_cannot_be_tuned_is_answered_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    assert says in refusal(*arguments, "--results", tmp_path / "results")
    assert not (tmp_path / "results").exists()
