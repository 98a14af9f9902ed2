from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from benchmark import load_results
from benchmark.analysis.leaderboard.captions import caption
from benchmark.analysis.leaderboard.cells import headline_grid
from benchmark.analysis.leaderboard.markdown import fill_blocks, markdown
from benchmark.analysis.leaderboard.tables import Table, tables
from benchmark.analysis.leaderboard.terminal import print_table
from benchmark.cli.program import app
from benchmark.errors import UserError
from benchmark.records.record import Record
from benchmark.records.store import Scan, Store
from tests.helpers import failed_record, make_record, tiny_budget, write_file


def seeds_of(method: str, *accuracies: float, **options: Any) -> list[Record]:
    return [
        make_record(method=method, seed=seed, accuracy=accuracy, **options)
        for seed, accuracy in enumerate(accuracies)
    ]


def only_table(records: Sequence[Record], planned: Any = None) -> Table:
    (table,) = tables(Scan(records=list(records), planned=planned or {}))
    return table


def column(table: Table, name: str) -> list[str]:
    return headline_grid(table).column(name)


def plan_of(records: Sequence[Record], folder: Path) -> dict[str, Any]:
    store = Store(folder)
    store.add_plan("suite", [(record.spec, record.teacher.checksum) for record in records])
    return store.scan().planned


def board(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, ["leaderboard", *map(str, arguments)])


# Ranking


def test_same_records_in_any_order_give_the_same_bytes() -> None:
    records = [
        *seeds_of("a", 0.9, 0.91, 0.92),
        *seeds_of("b", 0.8, 0.85, 0.7),
        *seeds_of("b", 0.8, 0.8, 0.7, params={"temperature": 4.0}, changed={"temperature": 4.0}),
        *seeds_of("c", 0.99, 0.98, access="train images"),
        failed_record("diverged", method="a", seed=9),
        make_record(task="mnist"),
    ]
    expected = markdown(Scan(records=records))
    for seed in range(5):
        shuffled = random.Random(seed).sample(records, len(records))
        assert markdown(Scan(records=shuffled)) == expected


def test_equal_scores_are_equal_whatever_the_order_of_the_records() -> None:
    a, b = seeds_of("a", 0.1, 0.2, 0.3), seeds_of("b", 0.1, 0.2, 0.3)
    for first, second in ((a, b[::-1]), (a[::-1], b)):
        assert [row.method for row in only_table([*first, *second]).rows] == ["a", "b"]


def test_methods_compete_within_their_access_class_only() -> None:
    table = only_table(
        [
            *seeds_of("best-with-data", 0.99, 0.991, 0.992, access="train images"),
            *seeds_of("good", 0.9, 0.901, 0.902),
            *seeds_of("poor", 0.5, 0.501, 0.502),
        ]
    )
    assert [row.method for row in table.rows] == ["good", "poor", "best-with-data"]
    assert column(table, "rank") == ["1", "2", "1"]


def test_overlapping_intervals_share_a_range_of_ranks() -> None:
    table = only_table(
        [
            *seeds_of("a", 0.90, 0.92, 0.94),
            *seeds_of("b", 0.93, 0.89, 0.91),
            *seeds_of("c", 0.30, 0.301, 0.302),
        ]
    )
    assert column(table, "rank") == ["1–2", "1–2", "3"]


def test_one_wide_interval_is_enough_for_an_overlap() -> None:
    # 0.92 ± 0.05 beside 0.90 ± 0.0025: the second's interval does not reach the first's mean.
    table = only_table([*seeds_of("a", 0.9, 0.92, 0.94), *seeds_of("b", 0.899, 0.9, 0.901)])
    assert column(table, "rank") == ["1–2", "1–2"]
    swapped = only_table([*seeds_of("a", 0.86, 0.88, 0.9), *seeds_of("b", 0.899, 0.9, 0.901)])
    assert column(swapped, "rank") == ["1–2", "1–2"]


def test_one_seed_is_insufficient_for_a_claim() -> None:
    table = only_table([*seeds_of("a", 0.9), *seeds_of("b", 0.8)])
    assert column(table, "rank") == ["1 (insufficient)", "2 (insufficient)"]
    assert column(table, "accuracy, %") == ["90.00", "80.00"]


def test_accuracy_is_the_mean_with_its_t_interval() -> None:
    table = only_table(seeds_of("a", 0.9, 0.92, 0.94))
    # 4.303 · 0.02 / √3 = 0.0497
    assert column(table, "accuracy, %") == ["92.00 ± 4.97"]
    assert column(table, "of teacher, %") == [f"{100 * 0.92 / 0.99:.2f}"]


# Failures


def test_failed_runs_count_as_guesses() -> None:
    records = [
        *seeds_of("a", 0.9, 0.8, chance=0.2),
        failed_record("diverged", method="a", seed=2, chance=0.2),
        failed_record("error", method="a", seed=3, chance=0.2),
    ]
    table = only_table(records)
    assert column(table, "n ok/planned") == ["2/4"]
    # Cut to what a score can be: t of three degrees of freedom times 37.75 / √4 is 60.07.
    counted = f"{100 * (0.9 + 0.8 + 0.2 + 0.2) / 4:.2f}"
    assert column(table, "accuracy, %") == [f"{counted} (0.00 to 100.00)"]
    assert column(table, "finished runs, %") == ["85.00"]
    assert column(table, "method") == ["A [1 diverged, 1 error]"]


def test_methods_that_cannot_run_ask_no_questions_of_the_others() -> None:
    two = [
        *seeds_of("a", *(0.9 + i / 1000 for i in range(7))),
        *seeds_of("b", *(0.8 - i / 500 for i in range(7))),
    ]
    skipped = [
        failed_record("skipped", method=name, seed=seed) for name in "cde" for seed in range(7)
    ]
    table = only_table([*two, *skipped])
    assert column(table, "group") == ["a", "b", "–", "–", "–"]
    assert column(table, "rank") == ["1", "2", "–", "–", "–"]
    assert column(only_table(skipped), "rank") == ["–"] * 3


def test_failures_count_where_methods_are_told_apart() -> None:
    good, bad = ([0.9 + i / 1000 for i in range(8)] for _ in range(2))
    alike = [*seeds_of("a", *good), *seeds_of("b", *bad)]
    assert column(only_table(alike), "group") == ["a", "a"]
    failing = [
        *alike[:8],
        *[failed_record("diverged", method="b", seed=seed) for seed in range(8)],
    ]
    assert column(only_table(failing), "group") == ["a", "b"]


def test_a_method_that_often_fails_ranks_below_one_that_does_not() -> None:
    table = only_table(
        [
            *seeds_of("brilliant", 0.95, 0.96),
            *[failed_record("diverged", method="brilliant", seed=seed) for seed in range(2, 6)],
            *seeds_of("steady", 0.8, 0.81, 0.8, 0.81, 0.8, 0.81),
        ]
    )
    assert [row.method for row in table.rows] == ["steady", "brilliant"]


def test_missing_runs_score_nothing_and_make_their_row_provisional(tmp_path: Path) -> None:
    wanted = seeds_of("a", 0.9, 0.9, 0.9, 0.9)
    complete = seeds_of("b", 0.5, 0.5)
    table = only_table([*wanted[:3], *complete], plan_of(wanted, tmp_path))
    assert column(table, "method") == ["B", "A [1 missing]"], "below the complete rows"
    assert column(table, "rank") == ["1", "provisional"]
    assert column(table, "n ok/planned") == ["2/2", "3/4"]
    assert column(table, "accuracy, %") == ["50.00 ± 0.00", "90.00 ± 0.00"]
    assert column(table, "group") == ["–", "–"]
    assert table.rows[1].by_seed == {0: 0.9, 1: 0.9, 2: 0.9}


def test_interrupted_runs_are_missing_too(tmp_path: Path) -> None:
    stopped = failed_record("interrupted", method="a", seed=2)
    table = only_table([*seeds_of("a", 0.9, 0.9), stopped])
    assert column(table, "method") == ["A [1 missing]"]
    assert column(table, "rank") == ["provisional"]
    assert column(table, "accuracy, %") == ["90.00 ± 0.00"]
    alone = only_table([failed_record("interrupted", method="a")])
    assert column(alone, "accuracy, %") == ["–"]


def test_runs_over_their_budget_are_shown_and_count_in_no_mean() -> None:
    reason = "9,000 student steps of 4,000"
    spent = make_record(method="a", seed=2, accuracy=0.99, status="over_budget", reason=reason)
    table = only_table([*seeds_of("a", 0.6, 0.6), spent, *seeds_of("b", 0.5, 0.5)])
    assert column(table, "method") == ["B", f"A [1 over budget: {reason}]"]
    assert column(table, "rank") == ["1", "over budget"]
    assert column(table, "accuracy, %")[1] == "60.00 ± 0.00"
    assert column(table, "finished runs, %")[1] == "60.00"
    assert column(table, "n ok/planned")[1] == "2/3"
    assert column(table, "group") == ["–", "–"]


def test_plans_of_other_methods_teachers_and_budgets_are_not_counted(tmp_path: Path) -> None:
    mine = seeds_of("a", 0.9, 0.9)
    others = [
        *seeds_of("b", 0.9),
        *seeds_of("a", 0.9, teacher="f" * 16),
        *seeds_of("a", 0.9, budget=tiny_budget(name="other")),
        *seeds_of("a", 0.9, params={"temperature": 3.0}),
        *seeds_of("a", 0.9, task="mnist"),
    ]
    table = only_table(mine, plan_of([*mine, *others], tmp_path))
    assert column(table, "n ok/planned") == ["2/2"]


def test_plans_of_a_budget_whose_numbers_changed_are_not_counted(tmp_path: Path) -> None:
    new = seeds_of("a", 0.9, 0.9)
    old = seeds_of("a", 0.9, 0.9, budget=tiny_budget(student_steps=99))
    table = only_table(new, plan_of([*new, *old], tmp_path))
    assert column(table, "n ok/planned") == ["2/2"]


def test_a_collapsed_student_is_a_result_and_is_counted() -> None:
    table = only_table(
        [*seeds_of("a", 0.9), make_record(method="a", seed=1, accuracy=0.1, status="collapsed")]
    )
    assert column(table, "n ok/planned") == ["2/2"]
    assert column(table, "accuracy, %")[0].startswith("50.00")
    assert column(table, "finished runs, %") == ["50.00"]
    # Wilson: (1/2 + z²/4 + z √(1/8 + z²/16)) / (1 + z²/2) with z = 1.96, n = 2.
    assert column(table, "collapsed") == ["1/2 (≤ 91 %)"]
    assert column(only_table(seeds_of("a", *[0.9] * 10)), "collapsed") == ["0/10 (≤ 28 %)"]


def test_a_methods_note_stands_beside_its_title_before_the_statuses() -> None:
    table = only_table(
        [
            make_record(method="a", note="no BatchNorm"),
            make_record(method="a", seed=1, note="no BatchNorm"),
            failed_record("diverged", method="a", seed=2),
        ]
    )
    assert column(table, "method") == ["A [no BatchNorm, 1 diverged]"]


def test_a_method_without_a_single_student_has_no_numbers() -> None:
    table = only_table([failed_record("out_of_memory", method="a"), *seeds_of("b", 0.9, 0.8)])
    grid = headline_grid(table)
    row = dict(zip(grid.names, grid.body[-1], strict=True))
    assert row["method"] == "A [1 out of memory]"
    assert row["rank"] == row["finished runs, %"] == row["collapsed"] == "–"
    assert row["n ok/planned"] == "0/1"
    assert row["accuracy, %"] == "10.00"


# What belongs together


def test_records_of_different_teachers_or_budgets_never_share_a_table() -> None:
    records = [
        make_record(),
        make_record(teacher="f" * 16),
        make_record(budget=tiny_budget(student_steps=7)),
        make_record(budget=tiny_budget(name="other")),
        make_record(task="mnist"),
    ]
    found = tables(Scan(records=records))
    assert len(found) == len(records)
    for table in found:
        inside = [record for row in table.rows for record in row.records]
        assert {record.teacher.checksum for record in inside} == {table.teacher}
        assert {record.spec.budget for record in inside} == {table.budget}
        assert {record.spec.task for record in inside} == {table.task}


@pytest.mark.parametrize("change", [{"task_version": 2}, {"data": "e" * 16}])
def test_records_of_different_task_versions_or_data_never_share_a_table(
    change: dict[str, Any],
) -> None:
    record = make_record()
    spec = record.spec.model_copy(update=change)
    run_id = spec.run_id(record.teacher.checksum)
    other = record.model_copy(update={"spec": spec, "run_id": run_id})
    assert len(tables(Scan(records=[record, other]))) == 2


def test_different_parameters_and_versions_are_different_rows() -> None:
    base = make_record()
    newer = base.spec.model_copy(update={"method_version": 2})
    newer_id = newer.run_id(base.teacher.checksum)
    table = only_table(
        [
            base,
            make_record(params={"temperature": 4.0}, changed={"temperature": 4.0}, accuracy=0.8),
            base.model_copy(
                update={"spec": newer, "run_id": newer_id, "metrics": {"accuracy": 0.7}}
            ),
        ]
    )
    assert column(table, "method") == ["RDSKD v2"]
    assert [row.label for row in table.variants] == ["RDSKD v1", "RDSKD v1 (temperature=4.0)"]


def test_one_experiment_of_two_suites_counts_once() -> None:
    table = only_table([make_record(suite="one"), make_record(suite="two")])
    assert column(table, "n ok/planned") == ["1/1"]


def test_caption_says_what_the_numbers_were_obtained_with() -> None:
    text = caption(only_table([make_record()]))
    for part in ("`tiny`", "4 synthesis steps of 8", "bank of 24", "6 student steps", "99.00 %"):
        assert part in text
    fresh = caption(only_table([make_record(budget=tiny_budget(images=0))]))
    assert "fresh images" in fresh
    assert "Data:" not in text
    lossy = caption(only_table([make_record(data_note="CIFAR-10 (JPEG)")]))
    assert "Data: CIFAR-10 (JPEG)." in lossy
    step = caption(only_table([make_record(budget=tiny_budget(student_schedule="step"))]))
    assert "divided by ten after four fifths" in step


def test_methods_with_other_papers_schedules_are_in_tables_of_their_own_that_say_so() -> None:
    mine, other = (
        make_record(method=name, budget=tiny_budget(name="paper", schedule=name.upper(), **numbers))
        for name, numbers in (("rdskd", {}), ("dafl", {"student_steps": 12}))
    )
    found = tables(Scan(records=[mine, other]))
    assert {t.budget.title for t in found} == {"paper (RDSKD)", "paper (DAFL)"}
    for table in found:
        assert len(table.rows) == 1
        assert f"Budget `paper`, the schedule of {table.budget.schedule}: " in caption(table)
        assert "compare with those of no other table" in caption(table)


def test_a_bar_in_a_title_does_not_break_the_table() -> None:
    text = markdown(Scan(records=[make_record(title="a|b")]))
    assert "a\\|b" in text


def test_the_terminal_shows_the_same_ranks() -> None:
    table = only_table([*seeds_of("a", 0.9, 0.91), *seeds_of("b", 0.1, 0.11)])
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    print_table(table, console)
    text = console.export_text()
    for part in (
        *column(table, "rank"),
        *column(table, "accuracy, %"),
        *column(table, "n ok/planned"),
    ):
        assert part in text


def test_a_narrow_terminal_keeps_names_and_numbers_readable() -> None:
    collapsed = make_record(method="a", seed=2, accuracy=0.1, status="collapsed")
    variant = make_record(method="a", params={"x": 1}, changed={"x": 1}, accuracy=0.7)
    table = only_table([*seeds_of("a", 0.9, 0.91), collapsed, *seeds_of("noise", 0.5), variant])
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    print_table(table, console)
    text = console.export_text()
    for part in ("A [1", "collapsed]", "reference", "NOISE", "3/3", "x=1", "70.00"):
        assert part in text
    assert not set("…*`") & set(text), "no cell is cut, and no mark of Markdown is left"


# Files


@pytest.fixture
def results(tmp_path: Path) -> Path:
    store = Store(tmp_path / "results")
    for record in [*seeds_of("a", 0.9, 0.91), *seeds_of("b", 0.8, 0.82)]:
        store.put(record)
    return store.root


def test_leaderboard_is_written_and_then_current(results: Path, tmp_path: Path) -> None:
    output = tmp_path / "leaderboard.md"
    assert board("--results", results, "--output", output).exit_code == 0
    written = output.read_bytes()
    assert board("--results", results, "--output", output, "--check").exit_code == 0
    assert board("--results", results, "--output", output).exit_code == 0
    assert output.read_bytes() == written


def test_check_fails_on_a_stale_file_and_writes_nothing(results: Path, tmp_path: Path) -> None:
    output = tmp_path / "leaderboard.md"
    missing = board("--results", results, "--output", output, "--check")
    assert missing.exit_code == 1
    assert not output.exists()
    board("--results", results, "--output", output)
    Store(results).put(make_record(method="c"))
    before = output.read_bytes()
    stale = board("--results", results, "--output", output, "--check")
    assert stale.exit_code == 1
    assert str(output) in stale.output
    assert output.read_bytes() == before


def test_marked_tables_of_the_readme_are_filled_and_checked(results: Path, tmp_path: Path) -> None:
    text = "before\n<!-- leaderboard digits tiny -->\nold\n<!-- end leaderboard -->\nafter\n"
    readme = write_file(tmp_path / "README.md", text)
    output = tmp_path / "leaderboard.md"
    board("--results", results, "--output", output)
    filled = readme.read_text(encoding="utf-8")
    assert filled.startswith("before\n<!-- leaderboard digits tiny -->\nBudget `tiny`")
    assert filled.endswith("<!-- end leaderboard -->\nafter\n")
    assert "\nold\n" not in filled
    readme.write_text(filled.replace("91", "99"), encoding="utf-8")
    assert board("--results", results, "--output", output, "--check").exit_code == 1


def test_blocks_without_records_say_so() -> None:
    text = "<!-- leaderboard digits tiny -->\nx\n<!-- end leaderboard -->\n"
    assert "No records yet." in fill_blocks(text, Scan())
    assert fill_blocks("no block", Scan()) == "no block"


def test_an_unreadable_record_is_named_left_out_and_told_by_the_exit_code(
    results: Path, tmp_path: Path
) -> None:
    bad = write_file(results / "suite" / "digits" / "a" / "0123.json", "{")
    output = tmp_path / "leaderboard.md"
    done = board("--results", results, "--output", output)
    assert done.exit_code == 1
    assert str(bad) in done.output
    assert "not JSON" in done.output
    assert "| A |" in output.read_text(encoding="utf-8")


def test_a_missing_results_folder_is_the_users_error(tmp_path: Path) -> None:
    done = board("--results", tmp_path / "absent")
    assert done.exit_code == 2
    assert "does not exist" in done.output


def test_results_load_as_one_row_a_run(results: Path) -> None:
    frame = load_results(results)
    assert len(frame) == 4
    assert frame["run_id"].is_unique
    assert set(frame["accuracy"]) == {0.9, 0.91, 0.8, 0.82}
    assert list(frame["seed"]) == [0, 1, 0, 1]
    write_file(results / "suite" / "digits" / "a" / "0123.json", "{")
    with pytest.raises(UserError, match=r"0123.json"):
        load_results(results)
    with pytest.raises(UserError, match="does not exist"):
        load_results(results / "absent")


# Start-up


def test_tables_need_no_torch(results: Path) -> None:
    script = f"""
import pkgutil, importlib, sys
from pathlib import Path
import benchmark.analysis
for info in pkgutil.walk_packages(benchmark.analysis.__path__, "benchmark.analysis."):
    importlib.import_module(info.name)
from benchmark import load_results
from benchmark.analysis.leaderboard.markdown import markdown
from benchmark.records.store import Store
path = Path({str(results)!r})
assert "| A |" in markdown(Store(path).scan())
assert len(load_results(path)) == 4
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "False"
