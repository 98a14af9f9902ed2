"""Which rows are ranked, and what is said of their settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmark.analysis.frame import runs_of
from benchmark.analysis.leaderboard.cells import headline_grid, variants_grid
from benchmark.analysis.leaderboard.markdown import markdown_table
from benchmark.analysis.leaderboard.rows import CONTROLS
from benchmark.analysis.leaderboard.tables import Table, tables
from benchmark.records.record import Record
from benchmark.records.spec import ObjectiveSpec, Purpose
from benchmark.records.store import Scan, Store
from methods.base.registry import discover
from methods.settings.versions import Versions
from tests.helpers import failed_record, make_record

CHOSEN = "16 trials, by agreement"


def runs(method: str, *accuracies: float, **options: Any) -> list[Record]:
    return [
        make_record(method=method, seed=seed, accuracy=accuracy, **options)
        for seed, accuracy in enumerate(accuracies)
    ]


def at(method: str, x: float, *accuracies: float, **options: Any) -> list[Record]:
    """Runs at a setting that is not the published one."""
    return runs(method, *accuracies, params={"x": x}, changed={"x": x}, **options)


def only_table(records: Sequence[Record], purpose: Purpose = "table") -> Table:
    (table,) = tables(Scan(list(records)), purpose)
    return table


def headline(*records: Record) -> list[tuple[str, str]]:
    grid = headline_grid(only_table(records))
    return list(zip(grid.column("method"), grid.column("setting"), strict=True))


@pytest.mark.parametrize("purpose", ["table", "sweep"])
def test_records_on_seeds_of_tuning_are_no_rows(tmp_path: Path, purpose: Purpose) -> None:
    first, second = (make_record(seed=seed, purpose=purpose) for seed in (99, 100))
    store = Store(tmp_path)
    for record in (first, second):
        store.put(record)
    store.add_plan("suite", [(r.spec, r.teacher.checksum) for r in (first, second)])
    (table,) = tables(store.scan(), purpose)
    (row,) = table.rows
    assert row.planned == {first.run_id}
    assert tables(Scan([second]), purpose) == []
    assert [run.counts for run in runs_of([first, second])] == [True, False]


def test_a_method_is_ranked_once_as_published_however_its_variants_score() -> None:
    records = [
        *runs("a", 0.5, 0.5),
        *at("a", 1, 0.9, 0.9, 0.9),
        *at("a", 2, 0.8, 0.8, 0.8),
        *runs("b", 0.7, 0.7),
    ]
    assert headline(*records) == [("B", "as published"), ("A", "as published")]
    table = only_table(records)
    assert headline_grid(table).column("rank") == ["1", "2"]
    variants = variants_grid(table)
    assert variants.column("setting") == ["x=1", "x=2"]
    assert not {"rank", "group"} & set(variants.names)
    text = markdown_table(table)
    assert text.index("| 1 | B |") < text.index("**Ablations and variants**") < text.index("x=1")


def test_variants_change_no_letter_of_the_headline() -> None:
    two = [
        *runs("a", *(0.9 + i / 1000 for i in range(8))),
        *runs("b", *(0.5 + i / 1000 for i in range(8))),
    ]
    many = [r for x in range(20) for r in at("a", x, *(0.6 + x / 100 + i / 50 for i in range(8)))]
    assert headline_grid(only_table([*two, *many])).column("group") == ["a", "b"]


@pytest.mark.parametrize("better", [1, 2])
def test_without_a_published_run_the_nearest_setting_stands_in_and_says_so(better: int) -> None:
    near = {"params": {"x": 1, "y": 0}, "changed": {"x": 1}}
    far = {"params": {"x": 1, "y": 2}, "changed": {"x": 1, "y": 2}}
    scores = {1: 0.9, 2: 0.9, better: 0.95}
    records = [*runs("a", scores[1], **near), *runs("a", *[scores[2]] * 5, **far)]
    assert headline(*records) == [("A", "of the suite: x=1")]
    assert "the method has no run as published here" in markdown_table(only_table(records))
    assert "no run as published" not in markdown_table(only_table(runs("a", 0.9)))


def test_a_tuned_setting_has_a_row_beside_the_published_one() -> None:
    records = [*runs("a", 0.5), *at("a", 3, 0.8, tuned=CHOSEN), *at("a", 4, 0.95)]
    assert headline(*records) == [("A", f"tuned, {CHOSEN}; x=3"), ("A", "as published")]


def test_each_way_of_tuning_has_a_row_and_the_latest_choice_counts() -> None:
    records = [
        *runs("a", 0.5),
        *at("a", 1, 0.95, tuned=CHOSEN, created="2026-01-01T00:00:00+00:00"),
        *at("a", 2, 0.7, tuned=CHOSEN, created="2026-02-01T00:00:00+00:00"),
        *at("a", 3, 0.6, tuned="16 trials, by dev"),
    ]
    assert [setting for _, setting in headline(*records)] == [
        f"tuned, {CHOSEN}; x=2",
        "tuned, 16 trials, by dev; x=3",
        "as published",
    ]


def test_a_published_setting_that_tuning_chose_is_one_row(tmp_path: Path) -> None:
    """The run is made once, as published; the plan of another suite says that it was chosen."""
    record = make_record(method="a")
    store = Store(tmp_path)
    tuned = record.spec.model_copy(update={"tuned": CHOSEN, "suite": "tuned"})
    store.add_plan("tuned", [(tuned, record.teacher.checksum)])
    (table,) = tables(Scan([record], planned=store.scan().planned))
    assert headline_grid(table).column("setting") == [f"as published; tuned, {CHOSEN}"]
    assert not table.variants


def test_only_the_newest_version_is_ranked() -> None:
    old = make_record(method="a", accuracy=0.9)
    spec = old.spec.model_copy(update={"method_version": 2})
    run_id = spec.run_id(old.teacher.checksum)
    new = old.model_copy(update={"spec": spec, "run_id": run_id, "metrics": {"accuracy": 0.1}})
    assert headline(old, new) == [("A v2", "as published")]


def test_rows_of_an_older_version_are_marked_below_the_others_and_without_a_quote() -> None:
    old = runs("rdskd", 0.9, 0.91, task="mnist", params={"generator_lr": 0.001})
    new = runs("b", 0.5, 0.51, task="mnist")
    scan = Scan([*old, *new])
    (table,) = tables(scan)
    assert headline_grid(table).column("method") == ["RDSKD", "B"]
    assert headline_grid(table).column("published, %")[0] != "–"
    scan.versions = {"rdskd": Versions(2)}
    (table,) = tables(scan)
    grid = headline_grid(table)
    assert grid.column("method") == ["B", "RDSKD v1 [version 1; the program has 2]"]
    assert grid.column("rank") == ["1", "old version"]
    assert grid.column("published, %") == ["–", "–"]


def test_a_revised_value_leaves_the_published_setting_its_rank() -> None:
    weighted = at("a", 2, 0.9)[0]
    spec = weighted.spec.model_copy(update={"method_version": 2})
    run_id = spec.run_id(weighted.teacher.checksum)
    weighted = weighted.model_copy(update={"spec": spec, "run_id": run_id})
    scan = Scan([*runs("a", 0.5), weighted], versions={"a": Versions(1, {"x": {2: 2}})})
    (table,) = tables(scan)
    assert [row.version for row in table.headline] == [1]
    assert [row.behind for row in table.rows] == [0, 0]


def test_another_objective_is_a_variant() -> None:
    base = make_record(method="a")
    spec = base.spec.model_copy(
        update={"objective": ObjectiveSpec(name="fitnets", version=1, params={})}
    )
    method = base.method.model_copy(update={"changed": {"objective": "fitnets"}})
    other = base.model_copy(
        update={"spec": spec, "run_id": spec.run_id(base.teacher.checksum), "method": method}
    )
    table = only_table([base, other])
    assert [row.label for row in table.variants] == ["A (objective=fitnets)"]


def test_controls_are_reference_lines_in_the_order_of_scores() -> None:
    table = only_table([*runs("a", 0.9, 0.9), *runs("noise", 0.6, 0.6), *runs("b", 0.5, 0.5)])
    grid = headline_grid(table)
    assert grid.column("method") == ["A", "NOISE", "B"]
    assert grid.column("rank") == ["1", "reference", "2"], "a control takes no rank from others"


def test_controls_are_methods_that_there_are() -> None:
    assert discover().keys() >= CONTROLS


def test_a_method_that_cannot_run_is_still_shown() -> None:
    skipped = failed_record("skipped", method="a")
    assert headline(skipped, *runs("b", 0.5)) == [
        ("B", "as published"),
        ("A [1 skipped]", "as published"),
    ]


def test_a_table_of_a_sweep_has_every_setting_in_its_headline() -> None:
    records = [r for x in (1, 2, 3) for r in at("a", x, 0.5 + x / 10, purpose="sweep")]
    table = only_table(records, "sweep")
    assert (len(table.headline), table.variants) == (3, [])


def test_no_method_takes_two_places() -> None:
    records = [
        *runs("a", 0.9),
        *at("a", 3, 0.8, tuned=CHOSEN),
        *runs("b", 0.7),
        *at("b", 3, 0.85, tuned=CHOSEN),
        *runs("c", 0.6),
    ]
    (table,) = tables(Scan(records))
    grid = headline_grid(table)
    places = {
        (method, setting.split(",")[0]): rank.split(" ")[0]
        for method, setting, rank in zip(
            *map(grid.column, ("method", "setting", "rank")), strict=True
        )
    }
    assert places == {
        ("A", "as published"): "1",
        ("B", "tuned"): "1",
        ("A", "tuned"): "2",
        ("B", "as published"): "2",
        ("C", "as published"): "3",
    }
