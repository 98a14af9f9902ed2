"""Broken surroundings: killed grids, full disks, clocks that go back, crowded folders."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark import records as schema
from benchmark.errors import UserError
from benchmark.records import Record
from benchmark.store import Store
from benchmark.suite import parse_seeds
from benchmark.teachers import TrainedTeacher
from tests.benchmark.test_grid import Grid, facts, grid
from tests.helpers import FAULTY_METHODS, make_record, one_line

__all__ = ["grid"]


def command(results: Path) -> list[str]:
    words = "-m benchmark.cli run --task digits --budget smoke --method dawdles --seeds 0-1"
    words += " --jobs 1 --threads 1 --device cpu --checkpoint-every 0.01s"
    folders = ["--methods-dir", str(FAULTY_METHODS), "--results", str(results)]
    return [sys.executable, *words.split(), *folders]


def test_a_killed_grid_goes_on_and_ends_with_the_same_records(
    cached_teacher: TrainedTeacher, tmp_path: Path
) -> None:
    """At one moment; ``python -m benchmark.faults`` tries many."""
    results, cache = tmp_path / "killed", Path(os.environ["DFKD_CACHE"])
    process = subprocess.Popen(command(results), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(cache.glob("checkpoints/*/*.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(random.Random(0).uniform(0, 1))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert Store(results).scan().unreadable == []

    whole = tmp_path / "whole"
    shutil.copytree(results / "teachers", whole / "teachers")
    for folder, kept in ((results, cache), (whole, tmp_path / "other-cache")):
        environment = {**os.environ, "DFKD_CACHE": str(kept)}
        subprocess.run(command(folder), stdout=subprocess.DEVNULL, env=environment, check=True)
    assert _facts(results) == _facts(whole)
    assert not list(cache.glob("checkpoints/*"))


def _facts(results: Path) -> list[dict[str, Any]]:
    return [facts(record) for record in Store(results).scan().records]


def test_a_full_disk_ends_the_grid_in_one_line_and_leaves_no_torn_record(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    put = Store.put

    def put_on_full_disk(store: Store, record: Record) -> Path:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            return put(store, record)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "put", put_on_full_disk)
        with pytest.raises(UserError) as caught:
            grid.run("noise")
    assert "No space left on device" in one_line(str(caught.value))
    assert not list(grid.store.root.glob("*/*/*/*"))
    assert len(grid.run("noise")) == 1


def test_a_clock_that_was_set_back_changes_nothing(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    (record,) = grid.run("noise")
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert grid.run("noise") == []
    assert [facts(r) for r in grid.run("noise", overwrite="always")] == [facts(record)]


def test_a_folder_of_fifty_thousand_other_files_is_scanned(tmp_path: Path) -> None:
    folder = tmp_path / "s" / "digits" / "rdskd"
    folder.mkdir(parents=True)
    for number in range(50_000):
        os.close(os.open(folder / f"{number}.txt", os.O_CREAT | os.O_WRONLY))
    store = Store(tmp_path)
    record = make_record(suite="s")
    store.put(record)
    assert store.find(record.run_id) == record
    assert store.scan().records == [record]


# Texts that nobody typed


@given(st.text(alphabet="0123456789-,. x", max_size=12))
def test_seeds_are_parsed_or_refused_in_one_line(text: str) -> None:
    try:
        seeds = parse_seeds(text)
    except ValueError as error:
        one_line(str(error))
    else:
        assert seeds
        assert len(set(seeds)) == len(seeds)
        assert parse_seeds(",".join(map(str, seeds))) == seeds


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=20, unique=True))
def test_seeds_come_back_as_they_were_written(seeds: list[int]) -> None:
    assert parse_seeds(",".join(map(str, seeds))) == seeds


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
WORDS = st.text(alphabet="abcdefghij-", min_size=1, max_size=8)
SCALARS = NUMBERS | st.integers(-(2**60), 2**60) | st.booleans() | st.text(max_size=8)


@given(
    seed=st.integers(0, 2**31),
    params=st.dictionaries(WORDS, SCALARS, max_size=3),
    metrics=st.dictionaries(WORDS, NUMBERS, max_size=3),
    reason=st.text(st.characters(codec="utf-8"), max_size=40),
    status=st.sampled_from(["ok", "error", "timeout", "interrupted"]),
)
def test_a_record_comes_back_as_it_was_written(
    seed: int, params: dict[str, Any], metrics: dict[str, float], reason: str, status: str
) -> None:
    record = make_record(seed=seed, params=params, metrics=metrics, reason=reason, status=status)
    text = record.to_json()
    again = Record.from_json(text)
    assert again == record
    assert again.to_json() == text


@settings(max_examples=60)
@given(st.data())
def test_a_damaged_record_is_refused_in_one_line(data: st.DataObject) -> None:
    text = make_record().to_json()
    start = data.draw(st.integers(0, len(text) - 2))
    end = data.draw(st.integers(start + 1, len(text) - 1))
    try:
        record = Record.from_json(text[:start] + text[end:])
    except ValueError as error:
        one_line(str(error))
    else:  # a digit of a number may be missing, but then what identifies the run is there
        assert record.spec.run_id(record.teacher.checksum) == record.run_id


@given(st.integers(-3, 0))
def test_an_old_schema_without_a_migration_is_refused(version: int) -> None:
    old = json.loads(make_record().to_json()) | {"schema_version": version}
    with pytest.raises(ValueError, match="schema_version"):
        Record.from_json(json.dumps(old))


def test_an_old_record_is_migrated_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """From a version in which the reason had another name, and one that did not count images."""

    def renamed(data: dict[str, Any]) -> dict[str, Any]:
        data["reason"] = data.pop("why")
        return data | {"schema_version": 2}

    def counted(data: dict[str, Any]) -> dict[str, Any]:
        data["ledger"]["synthetic_images"] = 0
        return data | {"schema_version": 3}

    monkeypatch.setattr(schema, "SCHEMA_VERSION", 3)
    monkeypatch.setattr(schema, "MIGRATIONS", {1: renamed, 2: counted})
    record = make_record(status="error", reason="it broke").model_copy(update={"schema_version": 3})
    old = json.loads(record.to_json()) | {"schema_version": 1}
    old["why"] = old.pop("reason")
    del old["ledger"]["synthetic_images"]
    assert Record.from_json(json.dumps(old)) == record
