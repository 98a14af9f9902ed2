"""What a replay says before it starts, and its verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.cli import replay as replaying
from benchmark.cli.display import duration
from benchmark.machine.device import environment
from benchmark.records.record import Record
from benchmark.records.store import Store
from benchmark.runs import replay
from benchmark.runs.job import Context
from benchmark.runs.replay import (
    Difference,
    Outlook,
    judge,
    outlook,
    repeatability_limit,
    scores_of_row,
)
from tests.helpers import failed_record, make_record

CODE = "f" * 16
CPU = torch.device("cpu")


def here(**changes: Any) -> Record:
    """A record of a run on this machine, by this code, but for ``changes``."""
    now = environment(CPU, "bf16", CODE).model_copy(update={"threads": 1, **changes})
    return make_record(seconds=200.0).model_copy(update={"environment": now})


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    monkeypatch.setattr(replay, "pick_precision", lambda device: "bf16")
    monkeypatch.setattr(replay, "available_cores", lambda: 2)
    return Context(cache=tmp_path, teacher_folders=(), device="cpu", precision="bf16", threads=1)


def said(record: Record, context: Context, code: str = CODE, version: int = 1) -> dict[str, str]:
    """Differences, by what they are of; several of one kind are joined."""
    texts: dict[str, str] = {}
    for of, text in outlook(record, context, code, version).differences:
        texts[of] = f"{texts.get(of, '')} {text}".strip()
    return texts


# Before


def test_nothing_is_said_to_differ_where_nothing_does(context: Context) -> None:
    before = outlook(here(), context, CODE, 1)
    assert before.differences == ()
    assert before.seconds == 200.0
    assert not before.machine
    assert not before.code


def test_machine_and_libraries_that_bits_depend_on_are_named(context: Context) -> None:
    assert "processor: x86_64 then" in said(here(processor="x86_64"), context)["machine"]
    assert "torch: 2.0 then" in said(here(torch="2.0"), context)["machine"]
    assert said(here(python="3.0"), context).keys() == {"other"}


def test_a_record_that_does_not_tell_the_maker_may_be_of_another(context: Context) -> None:
    whole = here().environment.processor
    coarse = whole.split()
    if len(coarse) < 3:
        pytest.skip("this system does not tell the maker of its processor")
    text = said(here(processor=" ".join(coarse[:2])), context)["machine"]
    assert "a maker that the record does not tell" in text
    assert whole in text


def test_emulated_precision_and_missing_cores_are_said_before(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "pick_precision", lambda device: "fp32")
    assert "bfloat16 is emulated here" in said(here(), context)["machine"]
    assert said(here(precision="fp32"), context) == {}
    assert "8 then, on 2 cores now" in said(here(threads=8), context)["other"]


def test_other_code_and_another_version_are_told(context: Context) -> None:
    assert f"{CODE} (" in said(here(), context, code="0" * 16)["code"]
    assert "mean something else" in said(here(), context, version=2)["code"]
    # An older record has its commit only, which may differ in what the run never uses.
    older = said(here(fingerprint="", code_version="abc"), context)["code"]
    assert "abc then" in older
    assert "not known" in older
    same = here(fingerprint=CODE, code_version="of another commit, with equal fingerprints")
    assert said(same, context) == {}


@pytest.mark.parametrize(
    ("seconds", "text"), [(41.6, "42 s"), (200, "3 min 20 s"), (3900, "1 h 5 min")]
)
def test_durations_are_told_in_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


# The criterion


def test_the_limit_is_what_a_share_of_pairs_of_runs_exceeds() -> None:
    # Fresh pairs from the distribution of the seeds: 5 of 100 differ by more.
    stream = np.random.default_rng(0)
    draws = stream.normal(0.9, 0.01, size=(20_000, 6))
    limits = [repeatability_limit(row[:4].tolist()) for row in draws]
    beyond = np.abs(draws[:, 4] - draws[:, 5]) > np.array(limits, dtype=float)
    assert beyond.mean() == pytest.approx(0.05, abs=0.006)


def test_one_seed_has_no_limit() -> None:
    assert repeatability_limit([0.9]) is None
    # t = 4.302653, s = 0.01, √2
    assert repeatability_limit([0.9, 0.91, 0.92]) == pytest.approx(0.0608487, rel=1e-5)


def test_a_row_is_the_records_that_differ_in_their_seed_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    mine = make_record(seed=0, accuracy=0.9)
    others = [
        make_record(seed=1, accuracy=0.8),
        make_record(seed=1, accuracy=0.8, suite="another"),  # the same run
        make_record(seed=2, accuracy=0.7, suite="another"),
        make_record(seed=3, accuracy=0.1, params={"temperature": 1.0}),
        make_record(seed=4, accuracy=0.1, teacher="e" * 16),
        failed_record(seed=5),
    ]
    for record in (mine, *others):
        store.put(record)
    assert scores_of_row(mine, store) == pytest.approx([0.9, 0.8, 0.7])


# The verdict

MACHINE = Outlook((Difference("machine", "processor"),), 1.0, make_record().environment)
OTHER_CODE = Outlook((Difference("code", "code"),), 1.0, make_record().environment)
SAME = Outlook((), 1.0, make_record().environment)
SEEDS = (0.90, 0.91, 0.92)
CLOSE, FAR = make_record(accuracy=0.93), make_record(accuracy=0.80)


@pytest.mark.parametrize(
    ("again", "before", "scores", "outcome", "why"),
    [
        (make_record(), MACHINE, SEEDS, "same bits", "equal"),
        (CLOSE, MACHINE, SEEDS, "within what another processor does", "3.00 points"),
        (FAR, MACHINE, SEEDS, "differs", "10.00 points, and two seeds by no more than 6.08"),
        (CLOSE, MACHINE, SEEDS[:1], "differs", "no other seed"),
        # Where the same bits were due, no difference is small.
        (CLOSE, SAME, SEEDS, "differs", "the same bits were due"),
        (CLOSE, OTHER_CODE, SEEDS, "differs", "by other code"),
        (failed_record(), MACHINE, SEEDS, "differs", "as error now"),
    ],
)
def test_the_verdict(
    again: Record, before: Outlook, scores: tuple[float, ...], outcome: str, why: str
) -> None:
    verdict = judge(make_record(accuracy=0.90), again, before, scores)
    assert verdict.outcome == outcome
    assert why in verdict.why


def test_other_code_on_another_machine_is_said_with_the_verdict() -> None:
    both = Outlook((*MACHINE.differences, *OTHER_CODE.differences), 1.0, SAME.then)
    verdict = judge(make_record(accuracy=0.90), CLOSE, both, SEEDS)
    assert verdict.outcome == "within what another processor does"
    assert "the code differs too" in verdict.why


def test_what_older_programs_did_not_count_is_no_difference() -> None:
    then = make_record()
    ledger = then.ledger.model_copy(update={"student_images": 7})
    assert replay.compare(then, then.model_copy(update={"ledger": ledger})) == []
    assert replay.compare(then.model_copy(update={"ledger": ledger}), then) != []


def test_every_verdict_has_an_exit_code_of_its_own() -> None:
    codes = replaying.EXIT_CODES
    assert codes["same bits"] == 0
    assert len({*codes.values(), 2}) == 4  # 2 is a request that cannot be run
