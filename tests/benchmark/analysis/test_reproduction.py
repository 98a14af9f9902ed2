from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from benchmark import cli
from benchmark.analysis.frame import to_frame
from benchmark.analysis.reproduction import (
    ScoreComparison,
    available_budget,
    compare,
    further_mean_interval,
)
from benchmark.cli import program
from benchmark.cli.planning import asked_for
from benchmark.cli.reproduce import WIDE
from benchmark.published.papers import Pair, PublishedTable, Result
from benchmark.records.record import Record
from benchmark.records.spec import ObjectiveSpec
from benchmark.records.store import Store
from methods.settings.versions import Versions
from tests.helpers import failed_record, make_record, tiny_budget

PAPER = tiny_budget(name="paper")


def table(*results: Result, selection: Any = "last", seeds: int = 1, **pair: Any) -> PublishedTable:
    usual = {"task": "digits", "dataset": "Digits", "teacher": "T", "student": "S"}
    return PublishedTable(
        name="table1",
        title="Table 1",
        selection=selection,
        source="paper",
        seeds=seeds,
        budget="paper",
        pairs=[Pair(**{**usual, "teacher_score": 0.99, **pair}, results=list(results))],
    )


def runs(*accuracies: float, **options: Any) -> list[Record]:
    wanted = {"budget": PAPER, **options}
    return [make_record(seed=i, accuracy=a, **wanted) for i, a in enumerate(accuracies)]


def rows(
    published: PublishedTable, records: list[Record], budget: str = "paper", paper: str = ""
) -> list[ScoreComparison]:
    (pair,) = compare(published, to_frame(records), budget, paper)
    return pair.rows


def verdict(published: float, records: list[Record], **options: Any) -> tuple[str, str]:
    budget = options.pop("at", "paper")
    unlike = options.pop("unlike", "")
    result = Result(method="rdskd", accuracy=published, unlike=unlike)
    (row,) = rows(table(result, **options), records, budget)
    return row.verdict, row.reason


CLOSE = (0.90, 0.91, 0.92)
"""Mean 0.91, s = 0.01; one further run lies within 4.3027 · 0.01 · √(4/3) = 0.0497."""


# Verdicts


def test_a_published_run_within_the_prediction_interval_agrees() -> None:
    # 0.045 from the mean: outside of the mean's own interval (± 0.0248), and still no surprise.
    assert verdict(0.955, runs(*CLOSE)) == ("agrees", "")
    assert verdict(0.865, runs(*CLOSE)) == ("agrees", "")


def test_a_published_run_outside_of_it_differs() -> None:
    assert verdict(0.961, runs(*CLOSE)) == ("differs", "")
    assert verdict(0.859, runs(*CLOSE)) == ("differs", "")


def test_the_mean_of_many_published_runs_has_less_freedom() -> None:
    # 4.3027 · 0.01 · √(1/3 + 1/3) = 0.0351
    assert verdict(0.944, runs(*CLOSE), seeds=3)[0] == "agrees"
    assert verdict(0.946, runs(*CLOSE), seeds=3)[0] == "differs"


def test_an_interval_that_holds_almost_anything_is_insufficient() -> None:
    found, reason = verdict(0.6, runs(0.1, 0.95, 0.96, 0.94))
    assert found == "insufficient seeds"
    assert "would agree" in reason
    assert verdict(0.9, runs(0.9))[0] == "insufficient seeds"


def test_failed_runs_are_named_beside_the_verdict() -> None:
    failed = [failed_record("diverged", budget=PAPER, seed=9), *runs(*CLOSE)]
    assert verdict(0.91, failed) == ("agrees", "1 of 4 failed")


def test_interrupted_runs_are_missing_and_no_part_of_the_count() -> None:
    interrupted = [failed_record("interrupted", budget=PAPER, seed=9), *runs(*CLOSE)]
    (row,) = rows(table(Result(method="rdskd", accuracy=0.91)), interrupted)
    assert (row.verdict, row.reason, row.n, row.runs) == ("agrees", "", 3, 3)


def test_runs_over_their_budget_are_named_and_not_compared() -> None:
    spent = make_record(budget=PAPER, seed=9, accuracy=0.99, status="over_budget")
    assert verdict(0.91, [spent, *runs(*CLOSE)]) == ("agrees", "1 over budget, not counted")
    assert verdict(0.91, [spent]) == ("not run", "1 over budget, not counted")


def test_trials_of_tuning_are_never_compared_with_a_paper() -> None:
    assert verdict(0.91, runs(*CLOSE, purpose="tune")) == ("not run", "")


def test_runs_far_apart_may_still_differ() -> None:
    assert verdict(0.1, runs(0.90, 0.93, 0.96))[0] == "differs"


def test_another_budget_than_the_papers_has_no_verdict() -> None:
    records = runs(*CLOSE, budget=tiny_budget(name="cpu"))
    assert verdict(0.91, records, at="cpu")[0] == "budgets differ"
    assert verdict(0.91, records)[0] == "not run"
    none = table(Result(method="rdskd", accuracy=0.91)).model_copy(update={"budget": ""})
    assert [row.verdict for row in rows(none, runs(*CLOSE))] == ["budgets differ"]


def test_only_runs_by_the_schedule_of_the_tables_paper_are_compared() -> None:
    published = table(Result(method="dafl", accuracy=0.91))
    own, others = (
        runs(*scores, method="dafl", budget=tiny_budget(name="paper", schedule=paper, **numbers))
        for scores, paper, numbers in (
            (CLOSE, "DAFL", {"synthesis_steps": 40}),
            ((0.5, 0.51, 0.52, 0.53), "RDSKD", {}),
        )
    )
    (row,) = rows(published, [*own, *others], paper="DAFL")
    assert (row.verdict, row.n) == ("agrees", 3)
    (row,) = rows(published, others, paper="DAFL")
    assert (row.verdict, row.reason) == ("budgets differ", "ours by the schedule of RDSKD")
    (row,) = rows(published, runs(*CLOSE, method="dafl"), paper="DAFL")
    assert (row.verdict, row.reason) == ("budgets differ", "ours by the schedule of no paper")


def test_what_differs_from_the_paper_is_not_comparable_and_named() -> None:
    other = runs(*CLOSE, params={"temperature": 4.0}, changed={"temperature": 4.0})
    assert verdict(0.91, other) == ("not comparable", "temperature=4.0")
    small = "student of 35,820 parameters"
    assert verdict(0.91, runs(*CLOSE), unlike=small) == ("not comparable", f"the paper's: {small}")
    stand_in = verdict(0.91, runs(*CLOSE), task="camvid", stand_in="digits")
    assert stand_in == ("not comparable", "digits stands in")


def test_teachers_far_apart_are_named_beside_the_verdict() -> None:
    assert verdict(0.91, runs(*CLOSE), teacher_score=0.97) == (
        "agrees",
        "teachers 2.0 points apart",
    )


def test_what_has_no_record_or_no_student_was_not_run() -> None:
    assert verdict(0.9, []) == ("not run", "")
    assert verdict(0.9, runs(*CLOSE, method="dafl")) == ("not run", "")
    failed = [failed_record(budget=PAPER), failed_record(budget=PAPER, seed=1)]
    assert verdict(0.9, failed) == ("not run", "2 of 2 failed")


def test_a_checkpoint_that_the_records_lack_is_not_replaced_by_another() -> None:
    assert verdict(0.91, runs(*CLOSE), selection="best-on-test") == (
        "not comparable",
        "none of our 3 runs has the accuracy of the checkpoint that is best on test",
    )


@pytest.mark.parametrize("further", [1, 3])
def test_the_prediction_interval_covers_further_runs(further: int) -> None:
    # t(0.975, 4) = 2.776445; s of 1..5 is √2.5.
    expected = 2.776445 * math.sqrt(2.5) * math.sqrt(1 / 5 + 1 / further)
    assert further_mean_interval([1, 2, 3, 4, 5], further) == pytest.approx(expected, rel=1e-6)
    assert further_mean_interval([1.0], further) is None


# Which runs stand beside which number


def test_ours_is_the_mean_over_finished_runs_and_failures_are_counted() -> None:
    records = [*runs(*CLOSE), failed_record(budget=PAPER, seed=9)]
    (row,) = rows(table(Result(method="rdskd", accuracy=0.9)), records)
    assert (row.n, row.runs) == (3, 4)
    assert row.mean == pytest.approx(0.91)
    assert row.difference == pytest.approx(0.01)
    assert row.interval is not None
    assert row.interval.high - row.mean == pytest.approx(4.302653 * 0.01 / math.sqrt(3), rel=1e-6)


def test_a_best_checkpoint_is_compared_with_the_best_checkpoint() -> None:
    records = runs(0.80, 0.81, metrics={"accuracy_oracle": 0.95, "accuracy_agreement": 0.7})
    result = Result(method="rdskd", accuracy=0.95)
    means = {
        selection: rows(table(result, selection=selection), records)[0].mean
        for selection in ("last", "unknown", "best-on-test", "agreement")
    }
    assert means == pytest.approx(
        {"last": 0.805, "unknown": 0.805, "best-on-test": 0.95, "agreement": 0.7}
    )


def test_runs_belong_to_the_row_that_names_most_of_their_settings() -> None:
    published = table(
        Result(method="rdskd", accuracy=0.5),
        Result(method="rdskd", params={"temperature": 4.0}, accuracy=0.6),
    )
    hot = runs(*CLOSE, params={"temperature": 4.0}, changed={"temperature": 4.0})
    assert [row.verdict for row in rows(published, hot)] == ["not run", "differs"]
    assert [row.n for row in rows(published, [*hot, *runs(0.8, 0.81)])] == [2, 3]


def test_a_changed_setting_counts_though_the_record_leaves_it_out_of_its_parameters() -> None:
    # A later parameter is left out at its default, even where the task's usual value is another.
    published = table(
        Result(method="rdskd", params={"diversity": "plain"}, accuracy=0.9),
        Result(method="rdskd", params={"diversity": "none"}, accuracy=0.9),
    )
    plain = runs(*CLOSE, changed={"diversity": "plain"})
    assert [row.verdict for row in rows(published, plain)] == ["agrees", "not run"]


def test_students_with_another_objective_do_not_count() -> None:
    def structured(record: Record) -> Record:
        objective = ObjectiveSpec(name="structured", version=1, params={})
        spec = record.spec.model_copy(update={"objective": objective})
        run_id = spec.run_id(record.teacher.checksum)
        return record.model_copy(update={"spec": spec, "run_id": run_id})

    records = [structured(record) for record in runs(*CLOSE)]
    (row,) = rows(table(Result(method="rdskd", accuracy=0.9)), records)
    assert row.verdict == "not run"


def test_among_several_settings_the_usual_ones_count_and_are_never_pooled() -> None:
    changed = runs(0.1, 0.2, 0.3, params={"temperature": 4.0}, changed={"temperature": 4.0})
    (row,) = rows(table(Result(method="rdskd", accuracy=0.91)), [*changed, *runs(0.9, 0.92)])
    assert (row.n, row.mean) == (2, pytest.approx(0.91))
    teachers = [
        *runs(0.9, 0.92),
        *runs(0.1, 0.2, 0.3, teacher="f" * 16, teacher_accuracy=0.9),
    ]
    (row,) = rows(table(Result(method="rdskd", accuracy=0.91)), teachers)
    assert (row.n, row.mean) == (2, pytest.approx(0.91))
    (row,) = rows(table(Result(method="rdskd", accuracy=0.91), teacher_score=0.91), teachers)
    assert (row.n, row.mean) == (3, pytest.approx(0.2))


def test_the_newest_version_counts_and_an_older_one_stands_beside_no_published_number() -> None:
    def later(record: Record) -> Record:
        spec = record.spec.model_copy(update={"method_version": 2})
        return record.model_copy(
            update={"spec": spec, "run_id": spec.run_id(record.teacher.checksum)}
        )

    old, new = runs(0.9, 0.91, 0.92), [later(record) for record in runs(0.5, 0.51)]
    published, known = table(Result(method="rdskd", accuracy=0.91)), {"rdskd": Versions(2)}
    (pair,) = compare(published, to_frame([*old, *new], known), "paper")
    assert (pair.rows[0].n, pair.rows[0].mean) == (2, pytest.approx(0.505))
    (pair,) = compare(published, to_frame(old, known), "paper")
    assert (pair.rows[0].verdict, pair.rows[0].mean) == ("not run", None)
    assert pair.rows[0].reason == "version 1; the program has 2"


def test_where_the_whole_table_departs_runs_that_do_so_too_go_first() -> None:
    """Or one row would be of other settings than its neighbours."""
    changed = runs(0.1, 0.2, 0.3, params={"temperature": 4.0}, changed={"temperature": 4.0})
    published = table(Result(method="rdskd", accuracy=0.91))
    pairs = [published.pairs[0].model_copy(update={"departs": {"temperature": 4.0}})]
    (row,) = rows(published.model_copy(update={"pairs": pairs}), [*changed, *runs(0.9, 0.92)])
    assert (row.n, row.mean) == (3, pytest.approx(0.2))


def test_rows_of_longer_generator_training_get_the_runs_of_that_length() -> None:
    # Epochs of two steps.
    long = tiny_budget(name="paper", synthesis_steps=40)
    published = table(
        Result(method="rdskd", generator_epochs=20, accuracy=0.9),
        Result(method="rdskd", generator_epochs=2, accuracy=0.8),
        Result(method="rdskd", generator_epochs=3, accuracy=0.8),
    )
    records = [*runs(0.7, 0.71, 0.72), *runs(0.9, 0.91, budget=long)]
    assert [row.n for row in rows(published, records)] == [2, 3, 0]


def test_one_experiment_of_two_suites_counts_once() -> None:
    records = [*runs(*CLOSE, suite="one"), *runs(*CLOSE, suite="two")]
    assert rows(table(Result(method="rdskd", accuracy=0.9)), records)[0].n == 3


def test_our_teachers_are_reported_once_each() -> None:
    records = [*runs(*CLOSE), *runs(*CLOSE, teacher="f" * 16, teacher_accuracy=0.95)]
    (pair,) = compare(table(Result(method="rdskd", accuracy=0.9)), to_frame(records), "paper")
    assert pair.teachers == [0.95, 0.99]


def test_the_papers_budget_is_preferred_where_it_has_records() -> None:
    published = table(Result(method="rdskd", accuracy=0.9))
    cpu = runs(*CLOSE, budget=tiny_budget(name="cpu"))
    assert available_budget(published, pd.DataFrame()) == "paper"
    assert available_budget(published, to_frame(cpu)) == "cpu"
    assert available_budget(published, to_frame([*cpu, *runs(0.9)])) == "paper"
    assert available_budget(published, to_frame(runs(0.9, method="dafl"))) == "paper"


# The command


def reproduce(*arguments: Any) -> Any:
    return CliRunner().invoke(cli.app, ["reproduce", *map(str, arguments)])


@pytest.fixture
def results(tmp_path: Path) -> Path:
    store = Store(tmp_path / "results")
    for record in runs(
        *(0.970, 0.974, 0.979),
        budget=tiny_budget(name="paper", schedule="RDSKD"),
        task="mnist",
        params={"generator_lr": 0.001, "temperature": 10.0},
        changed={"generator_lr": 0.001},
        teacher_accuracy=0.975,
    ):
        store.put(record)
    return store.root


def test_a_table_is_printed_beside_the_records(results: Path) -> None:
    done = reproduce("rdskd-table2", "--no-run", "--results", results)
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    (row,) = [line for line in lines if "rdskd (generator_lr=0.001)" in line and "97.50" in line]
    for part in ("97.43 ± 1.12", "3/3", "-0.07", "agrees", "1.63", "238", "0.057"):
        assert part in row
    (teacher, *_) = [line for line in lines if line.strip().startswith("teacher")]
    assert teacher.split() == ["teacher", "97.50", "97.94"]
    assert "not run" in done.output
    assert "and our budget paper" in done.output


@pytest.mark.parametrize(
    "option", [("--seeds", "0-1"), ("--jobs", "2"), ("--device", "cpu"), ("--data-dir", "x")]
)
def test_options_of_runs_are_refused_without_runs(results: Path, option: tuple[str, str]) -> None:
    done = reproduce("rdskd-table2", "--no-run", *option, "--results", results)
    assert done.exit_code == 2
    assert f"{option[0]} has no effect with --no-run" in done.output


def test_a_narrow_terminal_says_which_columns_it_does_not_show(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = "IS, FID, LPIPS, as published; use a wider terminal (COLUMNS=140)"
    for width, said in ((WIDE, False), (80, True)):
        monkeypatch.setattr(program.console, "width", width)
        output = " ".join(
            reproduce("rdskd-table2", "--no-run", "--results", results).output.split()
        )
        assert (note in output) == said
        assert ("0.057" in output) != said
    without = " ".join(reproduce("dafl-ablation", "--no-run", "--results", results).output.split())
    assert "Not shown" not in without


def test_unverified_numbers_are_marked_and_one_task_can_be_asked_for(results: Path) -> None:
    output = reproduce("dafl-ablation", "--no-run", "--results", results).output
    assert "78.77 ?" in output
    assert "98.20 ?" not in output
    only = reproduce("rdskd-table2", "--no-run", "--task", "mnist", "--results", results).output
    assert "WRN-40-2" not in only


def test_the_list_names_every_table_and_its_suite() -> None:
    done = reproduce("--list")
    assert done.exit_code == 0
    for part in ("rdskd-table3", "dafl-mnist", "degan-table1", "8 (6 unverified)"):
        assert part in done.output


def test_without_no_run_the_suite_is_run_first(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def run(request: Any, console: Any) -> int:
        asked.append(request)
        return 1

    monkeypatch.setattr("benchmark.cli.run.run", run)
    done = reproduce("dafl-table1", "--budget", "cpu", "--seeds", "0-1", "--results", results)
    assert done.exit_code == 1
    (request,) = asked
    wanted = (request.suite, request.budget, request.seeds, request.results)
    assert wanted == ("dafl-mnist", "cpu", "0-1", results)
    assert "DAFL, Table 1, and our budget cpu" in done.output


def test_a_table_can_be_run_on_the_papers_own_task_in_place_of_its_stand_in(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = []

    def run(request: Any, console: Any) -> int:
        tasks.extend(planned.task.name for planned in asked_for(request))
        return 0

    monkeypatch.setattr("benchmark.cli.run.run", run)
    done = reproduce("degan-table1", "--task", "camvid", "--budget", "paper", "--results", results)
    assert done.exit_code == 0
    assert set(tasks) == {"camvid"}
    assert "and our budget paper" in done.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("rdskd-tabel2",), "no published table 'rdskd-tabel2'; did you mean 'rdskd-table2'?"),
        (("rdskd-table2", "--task", "mnits"), "has no task 'mnits'; did you mean 'mnist'?"),
        (("cudfkd-cifar10",), "no suite runs 'cudfkd-cifar10'; compare it"),
        ((), "`dfkd reproduce --list` names them"),
    ],
)
def test_a_mistake_is_answered_in_one_line(arguments: tuple[str, ...], says: str) -> None:
    done = reproduce(*arguments)
    assert done.exit_code == 2
    assert len(done.output.strip().splitlines()) == 1
    assert says in done.output
