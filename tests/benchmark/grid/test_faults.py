"""Broken surroundings: killed grids, full disks, clocks that go back, crowded folders."""

from __future__ import annotations

import datetime
import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.cli.run_request import parse_duration
from benchmark.errors import UserError
from benchmark.records import schema
from benchmark.records.files import sweep
from benchmark.records.record import Record
from benchmark.records.store import Store
from benchmark.runs import samples
from benchmark.suites.suite import MethodEntry, Suite, load_suite, parse_seeds, parse_settings
from benchmark.teachers.teacher import TrainedTeacher
from tests.benchmark.grid.test_grid import Grid, facts, grid
from tests.faults import __main__ as faults
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
    """At one moment; ``python -m tests.faults`` tries many."""
    results, cache = tmp_path / "killed", Path(os.environ["DFKD_CACHE"])
    process = subprocess.Popen(command(results), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(cache.glob("checkpoints/*/*.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(random.Random(0).uniform(0, 1))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert Store(results).scan().unreadable == []
    states = list(cache.glob("checkpoints/*/*.safetensors"))
    assert states
    assert not any(map(faults.is_torn, states))

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


def test_a_full_disk_costs_a_run_its_kept_images_and_not_its_record(
    grid: Grid, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path, *rest: object) -> None:
        raise UserError(f"cannot write '{path}': No space left on device")

    monkeypatch.setattr(samples, "save_tensors", full)
    (record,) = grid.run("noise")
    assert record.status in ("ok", "collapsed")
    assert "No space left on device" in one_line(caplog.messages[0])


def test_a_clock_that_was_set_back_changes_nothing(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of the future are as good as others, and a record of the past replaces one of today."""
    (record,) = grid.run("noise")
    tomorrow = time.time() + 86_400
    for path in [*grid.store.root.rglob("*"), *grid.context.cache.rglob("*")]:
        os.utime(path, (tomorrow, tomorrow))

    class Earlier(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
            return datetime.datetime(1999, 12, 31, tzinfo=tz)

    monkeypatch.setattr(datetime, "datetime", Earlier)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert grid.run("noise") == []
    (again,) = grid.run("noise", overwrite="always")
    assert again.created.startswith("1999")
    assert facts(again) == facts(record)
    assert grid.store.scan().records == [again]


@pytest.mark.parametrize("ending", ["txt", "json"])
def test_a_folder_of_fifty_thousand_other_files_is_scanned(tmp_path: Path, ending: str) -> None:
    folder = tmp_path / "s" / "digits" / "rdskd"
    folder.mkdir(parents=True)
    for number in range(50_000):
        os.close(os.open(folder / f"{number}.{ending}", os.O_CREAT | os.O_WRONLY))
    store = Store(tmp_path)
    record = make_record(suite="s")
    store.put(record)
    assert store.find(record.run_id) == record
    scan = store.scan()
    assert scan.records == [record]
    assert len(scan.unreadable) == (50_000 if ending == "json" else 0)


def test_half_written_files_of_killed_processes_are_swept_up_later(tmp_path: Path) -> None:
    folder = tmp_path / "s" / "digits"
    folder.mkdir(parents=True)
    old, new = folder / ".writing-old", folder / ".writing-new"
    for path in (old, new):
        path.touch()
    os.utime(old, (0, 0))
    sweep(tmp_path)
    assert (old.exists(), new.exists()) == (False, True)


# Who is not where it belongs


def test_a_record_that_names_another_place_is_read_from_nowhere(tmp_path: Path) -> None:
    store = Store(tmp_path)
    record = make_record(suite="s")
    path = store.put(record)
    copied = path.with_name(f"{'0' * 16}.json")
    shutil.copy(path, copied)
    assert store.get(record.spec, "0" * 16) is None  # so that the run is made
    with pytest.raises(UserError) as caught:
        store.find("0" * 16)
    assert "unreadable" in one_line(str(caught.value))


@pytest.mark.parametrize("name", ["../escaped", "a/b", "", ".hidden", "line\nbreak", "ends\n"])
def test_names_of_a_record_cannot_lead_out_of_the_folder(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path)
    record = make_record(suite="s")
    path = store.put(record)
    content = json.loads(path.read_text())
    for part in ("suite", "task", "method"):
        changed = content | {"spec": content["spec"] | {part: name}}
        path.write_text(json.dumps(changed))
        assert store.get(record.spec, record.run_id) is None
        assert len(store.scan().unreadable) == 1
        with pytest.raises(UserError):
            store.find(record.run_id)


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


SUITE = {
    "budget": "smoke",
    "tasks": ["digits"],
    "seeds": "0-2",
    "methods": [{"name": "rdskd", "params": {"temperature": 4.0}}],
}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    key=st.sampled_from([*Suite.model_fields, *MethodEntry.model_fields, "unknown"]), value=VALUES
)
def test_a_suite_with_any_value_anywhere_is_planned_or_refused_in_one_line(
    key: str, value: Any
) -> None:
    for content in (
        SUITE | {key: value},
        SUITE | {"methods": [SUITE["methods"][0] | {key: value}]},
    ):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "any.toml"
            try:
                path.write_text(toml_of(content), encoding="utf-8")
            except UnicodeEncodeError:
                continue
            try:
                suite = load_suite(str(path))
            except UserError as error:
                one_line(str(error))
            else:
                assert suite.seeds
                assert suite.methods


def toml_of(value: Any, top: bool = True) -> str:
    """TOML, which has no null: a text stands in for it."""
    if isinstance(value, dict):
        pairs = [f"{json.dumps(k)} = {toml_of(v, False)}" for k, v in value.items()]
        return "\n".join(pairs) if top else "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(toml_of(item, False) for item in value) + "]"
    if isinstance(value, float):
        return str(value)
    return json.dumps("null" if value is None else value)


@given(st.text(max_size=40))
def test_any_text_is_a_suite_or_refused_in_one_line(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.toml"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        with pytest.raises(UserError) as caught:
            load_suite(str(path))
    one_line(str(caught.value))


@given(st.text(alphabet="0123456789.smhd -x", max_size=10))
def test_durations_are_positive_or_refused_in_one_line(text: str) -> None:
    try:
        seconds = parse_duration(text, "--time-limit")
    except UserError as error:
        one_line(str(error))
    else:
        assert 0 < seconds < 1e9


@given(st.integers(0, 23), st.integers(0, 59), st.integers(1, 59))
def test_durations_add_up(hours: int, minutes: int, seconds: int) -> None:
    total = 3600 * hours + 60 * minutes + seconds
    assert parse_duration(f"{hours}h{minutes}m{seconds}s", "--time-limit") == total


@given(st.text(alphabet="abc_", min_size=1), st.booleans() | st.integers() | st.text())
def test_settings_come_back_as_they_were_typed(name: str, value: Any) -> None:
    text = json.dumps(value) if not isinstance(value, str) else value
    found = parse_settings([f"{name}={text}"])
    assert list(found) == [name]
    if not isinstance(value, str):
        assert found[name] == value


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
