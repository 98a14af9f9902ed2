"""What tables say of the work, the code and the images behind their numbers."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from benchmark.analysis.leaderboard.captions import VALIDATION_LISTS, caption
from benchmark.analysis.leaderboard.cells import headline_grid
from benchmark.analysis.leaderboard.formats import csv_text, latex
from benchmark.analysis.leaderboard.markdown import markdown, markdown_table
from benchmark.analysis.leaderboard.tables import Table, tables
from benchmark.analysis.leaderboard.terminal import print_table
from benchmark.analysis.leaderboard.work import work_unit
from benchmark.analysis.statistics.intervals import NOT_COVERED
from benchmark.records.record import Record
from benchmark.records.store import Scan, Store
from benchmark.tasks.registry import all_tasks
from tests.helpers import failed_record, make_record


def only_table(records: Sequence[Record]) -> Table:
    (table,) = tables(Scan(list(records)))
    return table


# Work


def test_work_has_one_unit_for_a_column() -> None:
    table = only_table(
        [
            make_record(method="a", accuracy=0.9, work=1.25e12),
            make_record(method="b", accuracy=0.8, work=340e12),
            make_record(method="c", accuracy=0.7, work=5e9),
        ]
    )
    assert headline_grid(table).column("work, TFLOP") == ["1.2", "340", "0.005"]


def test_work_is_of_the_methods_own_phases() -> None:
    record = make_record(work=2e9)
    phases = {"synthesis": 2e9, "distillation": 3e9, "joint": 4e9, "evaluation": 5e9}
    ledger = record.ledger.model_copy(update={"work": phases})
    table = only_table([record.model_copy(update={"ledger": ledger})])
    assert headline_grid(table).column("work, GFLOP") == ["9.0"]


def test_a_row_with_a_run_that_lacks_work_shows_none_and_the_caption_counts_it() -> None:
    records = [
        make_record(method="a", work=1e9),
        make_record(method="a", seed=1, accuracy=0.8),
        make_record(method="b", work=2e9, accuracy=0.5),
    ]
    table = only_table(records)
    assert headline_grid(table).column("work, GFLOP") == ["–", "2.0"]
    assert "Not recorded, of 3 finished runs: the program of 3, work of 1" in caption(table)
    old = only_table([make_record()])
    assert headline_grid(old).column("work") == ["–"]


def test_the_unit_of_work_suits_the_middle_amount() -> None:
    assert work_unit([]) is None
    assert work_unit([None]) is None
    units = [work_unit([amount]) for amount in (0.0, 999.0, 1e3, 2e15)]
    assert [unit.name for unit in units if unit] == ["FLOP", "FLOP", "kFLOP", "PFLOP"]


def test_no_table_shows_seconds() -> None:
    scan = Scan([make_record(task=task, seconds=123.0) for task in ("x", "y")])
    console = Console(width=250, record=True, file=io.StringIO())
    for table in tables(scan):
        print_table(table, console)
    for text in (markdown(scan), csv_text(scan), latex(scan), console.export_text()):
        assert "seconds" not in text
        assert "123" not in text.replace("0123456789abcdef", "")


# Code


def test_a_row_of_several_programs_is_marked_and_counted() -> None:
    records = [
        make_record(method="a", fingerprint="f1"),
        make_record(method="a", seed=1, fingerprint="f2"),
        make_record(method="b", fingerprint="f3", accuracy=0.5),
        make_record(method="c", accuracy=0.4),
        make_record(method="d", fingerprint="f4", accuracy=0.3),
        make_record(method="d", seed=1, accuracy=0.3),
    ]
    table = only_table(records)
    assert headline_grid(table).column("method") == [
        "A [made by 2 programs]",
        "B",
        "C",
        "D [made by 1 program and unrecorded ones]",
    ]
    text = caption(table)
    assert (
        "All runs of a row made by one program: 1 row; by several programs (marked): 2 rows; "
        "by programs that are not recorded: 1 row;"
    ) in text
    assert "`dfkd run --overwrite stale` makes again" in text


def test_one_program_a_row_needs_no_remedy() -> None:
    table = only_table([make_record(method=m, fingerprint=m, work=1.0) for m in "ab"])
    assert "All runs of a row made by one program: 2 rows." in caption(table)
    assert "--overwrite stale" not in caption(table)


@pytest.mark.parametrize(("count", "says"), [(1, "b (1 run)"), (2, "b (2 runs)")])
def test_methods_without_any_record_are_counted(tmp_path: Path, count: int, says: str) -> None:
    store = Store(tmp_path)
    store.put(make_record(method="a"))
    absent = [make_record(method="b", seed=seed) for seed in range(count)]
    store.add_plan("suite", [(record.spec, record.teacher.checksum) for record in absent])
    (table,) = tables(store.scan())
    assert f"without any record: {says}." in caption(table)


# The images that score, and those that choose


@pytest.mark.parametrize(
    ("task", "says"),
    [
        ("mnist", "Scores are of the test images."),
        ("camvid-lite", "Scores are of the list *val* of CamVid, which serves as test set."),
    ],
)
def test_the_caption_says_which_images_score(task: str, says: str) -> None:
    assert says in caption(only_table([make_record(task=task)]))


def test_tasks_that_score_on_validation_images_are_known() -> None:
    """By what their readers read."""
    import benchmark.tasks.data as data

    reading_val = {
        path.stem
        for path in Path(data.__file__).parent.glob("*.py")
        if '"val' in path.read_text(encoding="utf-8")
    }
    assert reading_val == {"camvid", "voc"}
    named = {name.partition("-")[0] for name in all_tasks() if name.startswith(("camvid", "voc"))}
    assert named == VALIDATION_LISTS.keys()


def test_development_scores_are_shown_if_every_compared_run_has_one() -> None:
    with_dev = [
        make_record(method="a", metrics={"accuracy_dev": 0.85}),
        make_record(method="b", accuracy=0.5, metrics={"accuracy_dev": 0.45}),
    ]
    variant = make_record(method="a", seed=1, params={"x": 1}, changed={"x": 1})
    grid = headline_grid(only_table([*with_dev, variant, failed_record(method="c")]))
    assert grid.column("dev, %") == ["85.00", "45.00", "–"]
    lacking = only_table([*with_dev, make_record(method="c")])
    assert "dev, %" not in headline_grid(lacking).names
    assert "the score on the development split of 1" in caption(lacking)


# Intervals


def test_no_interval_reaches_beyond_what_a_score_can_be() -> None:
    table = only_table([make_record(seed=s, accuracy=a) for s, a in enumerate((0.1, 0.98))])
    assert headline_grid(table).column("accuracy, %") == ["54.00 (0.00 to 100.00)"]


def test_the_limits_of_small_samples_stand_below_the_table() -> None:
    text = markdown_table(only_table([make_record()]))
    assert text.index("| RDSKD |") < text.index(NOT_COVERED)


def test_csv_tells_settings_programs_and_missing_runs() -> None:
    records = [
        make_record(method="a", fingerprint="f", work=5e9),
        make_record(method="a", seed=1, fingerprint="g", work=5e9),
        failed_record("interrupted", method="a", seed=2),
        make_record(method="a", params={"x": 1}, changed={"x": 1}, tuned="8 trials, by dev"),
        make_record(method="a", params={"x": 2}, changed={"x": 2}),
    ]
    rows = {row["settings"]: row for row in csv.DictReader(io.StringIO(csv_text(Scan(records))))}
    assert {name: row["headline"] for name, row in rows.items()} == {
        "": "yes",
        "x=1": "yes",
        "x=2": "no",
    }
    plain = rows[""]
    assert (plain["rank"], plain["n_missing"], plain["programs"]) == ("provisional", "1", "2")
    assert (float(plain["work"]), plain["setting"]) == (5e9, "as published")
    assert rows["x=1"]["tuned"] == "8 trials, by dev"
    assert rows["x=2"]["rank"] == ""
