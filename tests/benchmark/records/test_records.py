from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from benchmark.errors import UserError
from benchmark.records.canonical import canonical, digest
from benchmark.records.files import write_atomic
from benchmark.records.record import Record
from benchmark.records.schema import SCHEMA_VERSION
from benchmark.records.spec import ObjectiveSpec, PlannedEntry, Spec
from benchmark.records.store import Store, Unreadable
from tests.helpers import failed_record, make_record, one_line, tiny_budget, write_file

finite = st.floats(allow_nan=False, allow_infinity=False)
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
values = st.one_of(finite, st.integers(-(2**53), 2**53), st.booleans(), names, st.none())


def edited(record: Record, **changes: Any) -> str:
    """The record's text with top-level keys replaced."""
    return json.dumps({**json.loads(record.to_json()), **changes})


def refusal(text: str) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        Record.from_json(text)
    return one_line(str(caught.value))


def test_a_share_beyond_its_bounds_is_refused_with_its_name() -> None:
    for name in ("accuracy", "accuracy_dev", "accuracy_int8", "agreement", "pixel_accuracy"):
        for value in (1.7, -0.1):
            record = make_record()
            text = record.model_copy(update={"metrics": {**record.metrics, name: value}}).to_json()
            assert f"{name} is {value:g}" in refusal(text)
    for name in ("kib_int8", "agreements", "confidence"):
        assert Record.from_json(make_record(metrics={name: 1.7}).to_json())
    assert "accuracy is 1.7" in refusal(make_record(teacher_accuracy=1.7).to_json())


# Text and back


def test_a_record_survives_its_text() -> None:
    record = make_record()
    assert Record.from_json(record.to_json()) == record


def test_a_record_from_before_data_notes_is_read_and_keeps_its_id() -> None:
    record = make_record()
    old = json.loads(record.to_json())
    del old["data_note"]
    assert Record.from_json(json.dumps(old)) == record
    assert make_record(data_note="a copy").run_id == record.run_id


@settings(max_examples=60, deadline=None)
@given(
    metrics=st.dictionaries(names, finite, max_size=4),
    params=st.dictionaries(names, st.one_of(values, st.lists(values, max_size=3)), max_size=4),
    seed=st.integers(-(2**31), 2**63),
    reason=names,
    curve=st.lists(finite, max_size=5),
)
def test_any_finite_record_survives_its_text(
    metrics: dict[str, float],
    params: dict[str, Any],
    seed: int,
    reason: str,
    curve: list[float],
) -> None:
    record = make_record(metrics=metrics, params=params or {"x": 1}, seed=seed, reason=reason)
    record = record.model_copy(update={"curves": {"a/b": {"step": curve, "value": curve}}})
    text = record.to_json()
    again = Record.from_json(text)
    assert again == record
    assert again.to_json() == text


def test_text_is_sorted_and_ends_with_one_newline() -> None:
    text = make_record().to_json()
    assert text.endswith("}\n")
    assert not text.endswith("\n\n")
    data = json.loads(text)
    assert list(data) == sorted(data)
    assert data["schema_version"] == SCHEMA_VERSION
    assert canonical({"b": 1, "a": 2}) == canonical({"a": 2, "b": 1}) == '{"a":2,"b":1}'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_not_finite_are_never_written(value: float) -> None:
    with pytest.raises(ValueError, match=r"not JSON compliant|finite"):
        make_record(metrics={"fid": value}).to_json()
    with pytest.raises(ValueError, match=r"not JSON compliant|finite"):
        digest({"x": value})


def test_numbers_that_are_not_finite_are_never_read() -> None:
    refusal(make_record(metrics={"fid": 0.125}).to_json().replace("0.125", "NaN"))


def test_fields_nobody_knows_are_refused() -> None:
    assert "surprise" in refusal(edited(make_record(), surprise=1))
    data = json.loads(make_record().to_json())
    data["ledger"]["coffee"] = 3
    assert "ledger.coffee" in refusal(json.dumps(data))
    with pytest.raises(ValidationError, match="surprise"):
        Spec(**{**make_record().spec.model_dump(), "surprise": 1})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": 1', "not JSON"),
        ("", "not JSON"),
        ("[1, 2]", "no schema_version"),
        ('{"accuracy": 0.9}', "no schema_version"),
        ('{"schema_version": "one"}', "no schema_version"),
        ('{"schema_version": 0}', "schema_version 0 is unknown"),
        ('{"schema_version": 1}', "required"),
    ],
)
def test_what_is_no_record_is_refused_with_the_reason(text: str, says: str) -> None:
    assert says in refusal(text)


def test_a_record_from_before_methods_had_notes_is_read() -> None:
    data = json.loads(make_record(note="a note").to_json())
    del data["method"]["note"]
    assert Record.from_json(json.dumps(data)).method.note == ""


def test_a_newer_schema_is_refused_by_its_number() -> None:
    message = refusal(edited(make_record(), schema_version=SCHEMA_VERSION + 1))
    assert f"schema_version {SCHEMA_VERSION + 1} is newer" in message


def test_an_older_schema_is_migrated(monkeypatch: pytest.MonkeyPatch) -> None:
    record = make_record()
    old = json.loads(record.to_json()) | {"schema_version": 0}
    old["why"] = old.pop("reason")

    def rename(data: dict[str, Any]) -> dict[str, Any]:
        data["reason"] = data.pop("why")
        return data | {"schema_version": 1}

    monkeypatch.setattr("benchmark.records.schema.MIGRATIONS", {0: rename})
    assert Record.from_json(json.dumps(old)) == record


def test_an_edited_spec_no_longer_matches_its_run_id() -> None:
    data = json.loads(make_record().to_json())
    data["spec"]["seed"] += 1
    assert "run_id does not match" in refusal(json.dumps(data))
    assert "run_id does not match" in refusal(edited(make_record(), run_id="0" * 16))


def test_a_status_must_be_one_of_the_known() -> None:
    assert "status" in refusal(edited(make_record(), status="fine"))


# Identity


CHANGES: dict[str, Any] = {
    "task": "mnist",
    "task_version": 2,
    "data": "e" * 16,
    "method": "dafl",
    "method_version": 2,
    "params": {"temperature": 10.5},
    "budget": tiny_budget(student_steps=7),
    "seed": 1,
    "proxy": "a" * 16,
    "objective": ObjectiveSpec(name="fitnets", version=1, params={}),
}


def test_every_part_of_a_spec_but_who_asked_and_why_is_part_of_its_identity() -> None:
    assert CHANGES.keys() | {"suite", "purpose", "tuned"} == Spec.model_fields.keys()
    spec = make_record().spec
    ids = {spec.run_id("teacher"), spec.run_id("another teacher")}
    for name, value in CHANGES.items():
        ids.add(spec.model_copy(update={name: value}).run_id("teacher"))
    assert len(ids) == 2 + len(CHANGES)
    assert spec.model_copy(update={"suite": "other"}).run_id("teacher") in ids
    assert spec.model_copy(update={"purpose": "draw"}).run_id("teacher") in ids
    assert spec.model_copy(update={"tuned": "16 trials"}).run_id("teacher") in ids


def test_the_usual_purpose_and_variant_are_not_written() -> None:
    record = make_record()
    assert not {"purpose", "variant"} & set(record.to_json().replace('"', " ").split())
    varied = record.spec.budget.varied(synthesis_steps=99)
    spec = record.spec.model_copy(update={"purpose": "sweep", "budget": varied})
    other = record.model_copy(update={"spec": spec, "run_id": spec.run_id(record.teacher.checksum)})
    assert Record.from_json(other.to_json()) == other
    entry = PlannedEntry.of(spec, "teacher")
    assert (entry.purpose, entry.budget.variant) == ("sweep", "synthesis_steps=99")


def test_every_number_of_the_budget_is_part_of_the_identity() -> None:
    changes: dict[str, Any] = {
        "name": "other",
        "student_optimizer": "sgd",
        "student_lr": 0.5,
        "student_weight_decay": 0.5,
        "student_schedule": "constant",
    }
    spec = make_record().spec
    ids = set()
    numbers = [
        name for name in type(spec.budget).model_fields if name not in ("variant", "schedule")
    ]
    for name in numbers:
        value = changes.get(name, 17)
        budget = spec.budget.model_copy(update={name: value})
        ids.add(spec.model_copy(update={"budget": budget}).run_id("teacher"))
    assert len(ids) == len(numbers)
    assert spec.run_id("teacher") not in ids


def test_identity_is_pinned() -> None:
    """Another hash would orphan every committed record: raise SCHEMA_VERSION and migrate."""
    assert make_record().run_id == "816d2b4f9bb9dc9f"


# Files


def test_write_atomic_makes_folders_and_replaces_content(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.json"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["file.json"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("error", "raised"),
    [(OSError(28, "No space left on device"), UserError), (KeyboardInterrupt(),) * 2],
)
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, raised: Any
) -> None:
    path = tmp_path / "file.json"
    write_atomic(path, b"old")

    def fail(source: Any, target: Any) -> None:
        raise error

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(raised if isinstance(raised, type) else type(raised)) as caught:
        write_atomic(path, b"new")
    if isinstance(caught.value, UserError):
        assert "No space left on device" in one_line(str(caught.value))
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.json"]


def test_a_folder_that_cannot_be_made_is_the_users_error(tmp_path: Path) -> None:
    blocker = write_file(tmp_path / "file", "")
    with pytest.raises(UserError) as caught:
        write_atomic(blocker / "x" / "record.json", b"")
    assert f"cannot write to '{blocker / 'x'}'" in one_line(str(caught.value))


# The store


def test_store_puts_records_by_suite_task_and_method(tmp_path: Path) -> None:
    store, record = Store(tmp_path), make_record()
    path = store.put(record)
    assert path == tmp_path / "suite" / "digits" / "rdskd" / f"{record.run_id}.json"
    assert store.get(record.spec, record.run_id) == record
    assert store.get(record.spec, "0" * 16) is None
    assert store.scan().records == [record]


def test_a_damaged_record_counts_as_missing(tmp_path: Path) -> None:
    store, record = Store(tmp_path), make_record()
    path = store.put(record)
    path.write_text(record.to_json()[:200], encoding="utf-8")
    assert store.get(record.spec, record.run_id) is None


def test_scan_names_what_it_cannot_read_and_keeps_the_rest(tmp_path: Path) -> None:
    store, good = Store(tmp_path), make_record()
    folder = store.put(good).parent
    truncated, other = make_record(seed=1), make_record(seed=2)
    write_file(folder / f"{truncated.run_id}.json", truncated.to_json()[:-30])
    write_file(folder / "foreign.json", '{"hello": "world"}')
    write_file(folder / "newer.json", edited(other, schema_version=SCHEMA_VERSION + 1))
    (folder / "latin.json").write_bytes(b"\xff\xfe{}")
    write_file(tmp_path / "suite" / "mnist" / "rdskd" / f"{other.run_id}.json", other.to_json())
    scan = store.scan()
    assert scan.records == [good]
    reasons = {bad.path.name: bad.reason for bad in scan.unreadable}
    assert "not JSON" in reasons[f"{truncated.run_id}.json"]
    assert "no schema_version" in reasons["foreign.json"]
    assert "newer" in reasons["newer.json"]
    assert "latin.json" in reasons
    assert "wrong folder" in reasons[f"{other.run_id}.json"]
    assert all(one_line(reason) for reason in reasons.values())


def test_scan_of_a_missing_folder_is_empty(tmp_path: Path) -> None:
    scan = Store(tmp_path / "absent").scan()
    assert (scan.records, scan.unreadable, scan.planned) == ([], [], {})


def test_scan_overlooks_teachers_and_unfinished_writes(tmp_path: Path) -> None:
    store, record = Store(tmp_path), make_record()
    folder = store.put(record).parent
    write_file(folder / ".writing-abc", "half")
    write_file(tmp_path / "teachers" / "digits-0.safetensors", "weights")
    scan = store.scan()
    assert scan.records == [record]
    assert scan.unreadable == []


def test_find_takes_the_start_of_a_run_id(tmp_path: Path) -> None:
    store, record = Store(tmp_path), make_record()
    store.put(record)
    store.put(make_record(suite="another"))  # the same experiment under another suite
    assert store.find(record.run_id[:6]).run_id == record.run_id


@pytest.mark.parametrize(
    ("run_id", "says"),
    [
        ("", "not a run id"),
        ("../x", "not a run id"),
        ("*", "not a run id"),
        ("fffffff", "no record"),
    ],
)
def test_find_says_what_is_wrong_with_an_id(tmp_path: Path, run_id: str, says: str) -> None:
    store = Store(tmp_path)
    store.put(make_record())
    with pytest.raises(UserError, match=says):
        store.find(run_id)


def test_find_refuses_an_ambiguous_start(tmp_path: Path) -> None:
    store = Store(tmp_path)
    ids = [store.put(make_record(seed=seed)).stem for seed in range(40)]
    shared = next(a[0] for a in ids if sum(b[0] == a[0] for b in ids) > 1)
    with pytest.raises(UserError, match="several run ids"):
        store.find(shared)


def test_a_plan_grows_and_is_read_back(tmp_path: Path) -> None:
    store = Store(tmp_path)
    records = [make_record(seed=0), failed_record(seed=1)]
    for record in records:
        store.add_plan("suite", [(record.spec, record.teacher.checksum)])
    planned = store.scan().planned["suite"]
    assert planned.keys() == {record.run_id for record in records}
    assert planned[records[1].run_id].seed == 1


@pytest.mark.parametrize("text", ["{", "[]", '{"0": {"task": "digits"}}'])
def test_a_damaged_or_foreign_plan_is_named_not_fatal_for_a_scan(tmp_path: Path, text: str) -> None:
    store = Store(tmp_path)
    store.put(make_record())
    path = write_file(tmp_path / "suite" / "plan.json", text)
    scan = store.scan()
    assert len(scan.records) == 1
    assert [bad.path for bad in scan.unreadable] == [path]
    assert isinstance(scan.unreadable[0], Unreadable)
    with pytest.raises(UserError, match="not a plan of this version"):
        store.add_plan("suite", [])
