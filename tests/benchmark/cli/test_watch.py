"""`dfkd watch`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from benchmark.analysis.leaderboard.tables import tables
from benchmark.cli import watch
from benchmark.cli.program import app
from benchmark.cli.watch import WatchedStore
from benchmark.records.record import Record
from benchmark.records.store import Store
from tests.helpers import failed_record, make_record, one_line


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "results")
    records = [make_record(method="a", seed=seed) for seed in range(4)]
    store.add_plan("suite", [(r.spec, r.teacher.checksum) for r in records])
    for record in [*records[:2], failed_record("diverged", method="a", seed=7)]:
        store.put(record)
    store.put(make_record(method="b", suite="other", task="mnist"))
    return store


def once(store: Store, *arguments: str) -> Any:
    options = ["watch", "--once", "--results", str(store.root), *arguments]
    return CliRunner().invoke(app, options, env={"COLUMNS": "160"})


def test_once_prints_progress_and_the_ranked_tables(store: Store) -> None:
    done = once(store)
    assert done.exit_code == 0
    assert "4 of 6 runs, 1 failed, 2 missing; last: " in done.output
    assert "digits, budget tiny" in done.output
    assert "mnist, budget tiny" in done.output


def test_runs_still_to_come_are_no_failures_yet(tmp_path: Path) -> None:
    store = Store(tmp_path)
    late = [make_record(method="late", seed=seed, accuracy=0.9) for seed in range(4)]
    early = [make_record(method="early", seed=seed, accuracy=0.6) for seed in range(4)]
    store.add_plan("suite", [(r.spec, r.teacher.checksum) for r in [*late, *early]])
    for record in [*late[:2], *early]:
        store.put(record)
    (table,) = tables(store.scan())
    assert [row.method for row in table.rows] == ["early", "late"]
    assert [len(row.planned) for row in table.rows] == [4, 4]
    waiting = "a row has its rank when all its runs have ended"
    assert waiting in once(store).output
    store.put(failed_record("diverged", method="late", seed=2))
    (table,) = tables(store.scan())
    assert table.rows[1].by_seed == {0: 0.9, 1: 0.9, 2: 0.1}
    for record in late[2:]:
        store.put(record)
    (table,) = tables(store.scan())
    assert [row.method for row in table.rows] == ["late", "early"]
    assert waiting not in once(store).output


def test_a_suite_is_watched_alone(store: Store) -> None:
    done = once(store, "--suite", "suite")
    assert "3 of 5 runs, 1 failed, 2 missing" in done.output
    assert "mnist" not in done.output


def test_an_interrupted_run_is_missing_and_one_over_its_budget_failed(store: Store) -> None:
    store.put(make_record(method="a", seed=2, status="interrupted", accuracy=None))
    store.put(make_record(method="a", seed=1, status="over_budget", accuracy=None))
    assert "3 of 5 runs, 2 failed, 2 missing" in once(store, "--suite", "suite").output


def test_a_run_that_another_suite_has_is_not_missing(store: Store) -> None:
    adopted = make_record(method="b", suite="other", task="mnist")
    spec = adopted.spec.model_copy(update={"suite": "asking"})
    store.add_plan("asking", [(spec, adopted.teacher.checksum)])
    output = once(store, "--suite", "asking").output
    assert "1 of 1 runs; last: mnist" in output
    assert "mnist, budget tiny" in output


def test_sweeps_and_draws_are_watched_too(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(make_record(purpose="sweep", params={"x": 1}))
    assert "digits, budget tiny" in once(store).output


def test_unknown_names_are_answered_in_one_line(store: Store, tmp_path: Path) -> None:
    done = once(store, "--suite", "suit")
    assert done.exit_code == 2
    assert "did you mean 'suite'?" in one_line(done.output)
    absent = once(Store(tmp_path / "absent"))
    assert absent.exit_code == 2
    assert "does not exist" in absent.output


def test_only_changed_files_are_read_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    original = Record.from_json.__func__  # type: ignore[attr-defined]

    def counted(cls: type[Record], text: str) -> Record:
        read.append(text)
        return original(cls, text)

    monkeypatch.setattr(Record, "from_json", classmethod(counted))
    watched = WatchedStore(store.root)
    assert len(watched.scan().records) == len(read) == 4
    watched.scan()
    assert len(read) == 4
    again = make_record(method="a", seed=0, accuracy=0.5)
    path = store.put(again)
    os.utime(path, ns=(time.time_ns(), time.time_ns() + 10**9))
    assert again in watched.scan().records
    assert len(read) == 5


def test_it_draws_again_until_interrupted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    def sleep(seconds: float) -> None:
        nonlocal looks
        looks += 1
        store.put(make_record(method="a", seed=1 + looks))
        if looks == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(watch.time, "sleep", sleep)
    console = Console(width=160, record=True, force_terminal=True, file=open(os.devnull, "w"))  # noqa: SIM115
    watch.watch(store.root, "suite", 1.0, False, console)
    text = console.export_text()
    for count in (3, 4, 5):
        assert f"{count} of 5 runs" in text
