"""What grids cost: the rows say what was timed, and work that is left out is not lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.grid.executors.local import InProcess
from benchmark.records.store import Store
from tests.speed.scaling import Idle, Timed, digits, page, timed


def test_efficiency_is_relative_to_one_process() -> None:
    working = [
        Timed("local processes", 1, 8, 0.1, 80.0),
        Timed("local processes", 2, 8, 0.1, 50.0),
    ]
    text = page(working, [Timed("Ray", 2, 1000, 1.0, 9.0)])
    assert "| local processes | 1 | 80 | 360 | 100 % |" in text
    assert "| local processes | 2 | 50 | 576 | 80 % |" in text
    assert "| Ray | 10.00 | 1.00 |" in text


def test_runs_without_work_have_their_records(tmp_path: Path) -> None:
    cost = timed("idle", 1, Idle(), digits(("noise",), 3, "smoke"), tmp_path / "results")
    assert cost.runs == 3
    assert [record.status for record in Store(tmp_path / "results").scan().records] == (
        ["skipped"] * 3
    )


def test_a_grid_that_fails_is_not_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no such luck")

    monkeypatch.setattr("methods.base.method.train_student", fail)
    with pytest.raises(RuntimeError, match="no such luck"):
        timed("broken", 1, InProcess(), digits(("noise",), 1, "smoke"), tmp_path / "results")
