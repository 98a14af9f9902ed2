"""Every kind of hostile method becomes one record with a reason, and the next run is untouched.

A few of each kind; ``python -m tests.hostile`` tries all of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark.machine import stopping
from benchmark.records.record import Record
from benchmark.runs.job import Context
from tests.benchmark.grid.test_grid import Grid, facts
from tests.hostile import methods as hostile

METHODS = Path(hostile.__file__)


@pytest.fixture
def grid(tmp_path: Path, context: Context) -> Iterator[Grid]:
    """A grid with handlers, as the command has them."""
    context = dataclasses.replace(context, method_folders=(METHODS,))
    with stopping.on_signals(None, patient=True):
        yield Grid(context, tmp_path / "results")


def tried(grid: Grid, *names: str) -> list[Record]:
    """The records of these methods; the run after them is that of a grid without them."""
    (alone,) = grid.run("noise")
    *records, after = grid.run(*names, "noise", overwrite="always")
    assert facts(after) == facts(alone)
    for record in records:
        assert record.status in hostile.VARIANTS[record.spec.method].right, record
        assert record.reason or record.status in hostile.FINISHES
        assert grid.store.get(record.spec, record.run_id) == record
    assert [record.spec.method for record in records] == list(names)
    return records


def test_whatever_is_raised_is_a_record_with_a_reason(grid: Grid) -> None:
    records = tried(grid, *(f"raises-{name}-in-synthesize" for name in hostile.EXCEPTIONS))
    reasons = dict(zip(hostile.EXCEPTIONS, (record.reason for record in records), strict=True))
    assert reasons["generator-exit"].startswith("GeneratorExit: ")
    assert reasons["own"].startswith("Own: mine (methods.py, line ")
    assert reasons["silent"] == "Silent: (its message cannot be shown)"


@pytest.mark.parametrize("place", hostile.PLACES)
def test_wherever_it_is_raised(grid: Grid, place: str) -> None:
    tried(grid, *(f"raises-{name}-in-{place.strip('_')}" for name in ("own", "keyboard")))


def test_a_verdict_that_cannot_be_written_is_escaped(grid: Grid) -> None:
    records = tried(
        grid, "diverges-in-surrogates", "diverges-silently", "over-budget-in-surrogates"
    )
    assert records[0].reason == "\\ud800"


@pytest.mark.parametrize("kind", ["leaves", "returns"])
def test_what_no_record_can_hold_is_left_out_and_said(grid: Grid, kind: str) -> None:
    for record in tried(grid, *(n for n, v in hostile.VARIANTS.items() if v.kind == kind)):
        if kind == "leaves" and record.status == "error" and "nameless-phase" not in record.reason:
            assert record.metrics == {}


def test_what_is_left_out_is_named(grid: Grid) -> None:
    records = tried(grid, "note-is-none", "leaves-half-an-image", "leaves-curve-without-values")
    assert [record.reason for record in records] == [
        "a record cannot hold the method's note (it is NoneType, not text)",
        "a record cannot hold the ledger's synthetic_images (it is 80.5)",
        "a record cannot hold the curve 'x' ('value')",
    ]
