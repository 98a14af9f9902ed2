"""The made-up records by which tables are timed; the timing itself is `make bench-tables`."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from benchmark.records import Record
from benchmark.speed import tables
from benchmark.store import Store


def test_made_up_records_are_records_of_many_cells(tmp_path: Path) -> None:
    records = list(itertools.islice(tables.synthetic_records(3000), 0, 3000, 7))
    assert len({record.run_id for record in records}) == len(records)
    assert {record.spec.task for record in records} == set(tables.TASKS)
    assert {"ok", "diverged"} == {record.status for record in records}
    again = [Record.from_json(record.to_json()) for record in records[:5]]
    assert again == records[:5]


def test_their_number_is_the_one_asked_for() -> None:
    assert len(list(tables.synthetic_records(1234))) == 1234


def test_limits_decide_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
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


def test_a_command_is_measured(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    for record in tables.synthetic_records(3):
        store.put(record)
    spent = tables.measure("leaderboard", store.root, tmp_path / "leaderboard.md")
    assert spent.code == 0
    assert spent.processor > 0
    assert 20 < spent.memory < 4000
    assert (tmp_path / "leaderboard.md").exists()
