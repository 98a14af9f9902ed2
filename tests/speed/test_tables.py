"""The made-up records by which tables are timed; the timing itself is `make bench-tables`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.analysis.leaderboard.classes import class_tables
from benchmark.analysis.leaderboard.quality import quality_tables
from benchmark.analysis.leaderboard.tables import tables as grouped
from benchmark.records.record import Record
from benchmark.records.store import Scan, Store
from tests.speed import made_up, tables


def test_made_up_records_are_records_of_many_cells() -> None:
    records = list(made_up.synthetic_records(3300))[::7]
    assert len({record.run_id for record in records}) == len(records)
    assert {record.spec.task for record in records} == {*made_up.TASKS, made_up.SEGMENTED}
    assert {"ok", "diverged"} == {record.status for record in records}
    again = [Record.from_json(record.to_json()) for record in records[:9]]
    assert again == records[:9]


def test_some_of_them_are_swept_drawn_segmented_and_have_measured_images() -> None:
    records = list(made_up.synthetic_records(1100))
    purposes = [record.spec.purpose for record in records]
    assert {"table", "sweep", "draw"} == set(purposes)
    for share in (
        len(purposes) - purposes.count("table"),
        sum(bool(record.quality) for record in records),
        sum(record.segmentation is not None for record in records),
    ):
        assert 0.07 < share / len(records) < 0.12


def test_their_tables_have_all_that_is_to_be_timed() -> None:
    records = [r for r in made_up.synthetic_records(2000) if r.spec.budget.name == "cpu"]
    chosen = [r for r in records if r.spec.task in ("mnist", made_up.SEGMENTED)]
    found = {table.task: table for table in grouped(Scan(chosen))}
    assert quality_tables(found["mnist"])
    assert found["mnist"].robustness
    assert class_tables(found[made_up.SEGMENTED])
    assert found[made_up.SEGMENTED].metric == "miou"
    own = [r for r in chosen if r.spec.task == "mnist" and r.spec.method in ("method-01",)]
    temperatures = {r.spec.params["temperature"] for r in own if r.spec.purpose == "sweep"}
    assert temperatures == {5.0, 20.0}


def test_their_number_is_the_one_asked_for() -> None:
    assert len(list(made_up.synthetic_records(1234))) == 1234


def test_limits_decide_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measured(command: str, results: Path, output: Path) -> tables.Spent:
        assert len(Store(results).scan().records) == 20
        return tables.Spent(0, spent[command], 1.0, 300.0)

    monkeypatch.setattr(tables, "measure", measured)
    spent = {"leaderboard": 2.9, "report": 9.9}
    assert tables.main(20) == 0
    spent["report"] = 10.1
    assert tables.main(20) == 1
    assert "missed" in capsys.readouterr().out
    tables.main(20, tmp_path / "docs" / "tables.md")
    rows = (tmp_path / "docs" / "tables.md").read_text(encoding="utf-8").splitlines()
    (leaderboard,) = [row for row in rows if "dfkd leaderboard" in row]
    (report,) = [row for row in rows if "dfkd report" in row]
    assert leaderboard == "| `dfkd leaderboard` | 2.9 | 3 | 1.0 | 300 | 1,000 | 0.0 | yes |"
    assert report.endswith("| **no** |")


def test_a_table_multiplies_on_one_thread_unless_told_otherwise(tmp_path: Path) -> None:
    def threads(command: str, before: dict[str, str]) -> str:
        program = (
            f"import contextlib, os; from benchmark.cli import entry\n"
            f"with contextlib.suppress(SystemExit): entry({command!r}.split())\n"
            f"print('threads', os.environ.get('OPENBLAS_NUM_THREADS'))"
        )
        inherited = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
        said = subprocess.run(
            [sys.executable, "-c", program],
            env={**inherited, **before},
            capture_output=True,
            text=True,
            check=True,
        )
        return said.stdout.split()[-1]

    command = f"leaderboard --results {tmp_path} --output {tmp_path / 'leaderboard.md'}"
    assert threads(command, {}) == "1"
    assert threads(command, {"OPENBLAS_NUM_THREADS": "2"}) == "2"
    assert threads("list", {}) == "None"


def test_a_command_is_measured(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    for record in made_up.synthetic_records(3):
        store.put(record)
    spent = tables.measure("leaderboard", store.root, tmp_path / "leaderboard.md")
    assert spent.code == 0
    assert spent.processor > 0
    assert 20 < spent.memory < 4000
    assert (tmp_path / "leaderboard.md").exists()
