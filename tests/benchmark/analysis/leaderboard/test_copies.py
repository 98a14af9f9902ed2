"""One experiment that several suites asked for: it counts once, with the student that it has."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmark.analysis.comparison.robustness import robustness_scores
from benchmark.analysis.comparison.series import select
from benchmark.analysis.frame import runs_of
from benchmark.analysis.leaderboard.cells import headline_grid
from benchmark.analysis.leaderboard.tables import tables
from benchmark.analysis.report.page import render
from benchmark.records.record import Record, one_a_run
from benchmark.records.store import Scan, Store
from tests.helpers import failed_record, make_record


def done(suite: str, seed: int = 0, purpose: str = "table") -> Record:
    return make_record(suite=suite, seed=seed, accuracy=0.9 + seed / 100, purpose=purpose)


def timeout(suite: str, purpose: str = "table") -> Record:
    return failed_record("timeout", suite=suite, purpose=purpose)


def scanned(records: Sequence[Record], folder: Path, planned: Sequence[Record] = ()) -> Scan:
    store = Store(folder)
    for record in records:
        store.put(record)
    for record in planned:
        store.add_plan(record.spec.suite, [(record.spec, record.teacher.checksum)])
    return store.scan()


def cell(scan: Scan, name: str) -> str:
    (table,) = tables(scan)
    (shown,) = headline_grid(table).column(name)
    return shown


def test_what_a_sweep_had_run_already_counts_in_the_table_that_plans_it(tmp_path: Path) -> None:
    swept = [done("sweep", seed, purpose="sweep") for seed in range(3)]
    mine = [done("mine", seed) for seed in range(4)]
    assert {r.run_id for r in swept} < {r.run_id for r in mine}
    scan = scanned([*swept, mine[3]], tmp_path, planned=mine)
    assert cell(scan, "n ok/planned") == "4/4"
    assert cell(scan, "accuracy, %") == "91.50 ± 2.05"


def test_what_nobody_planned_for_the_table_stays_out_of_it(tmp_path: Path) -> None:
    scan = scanned([done("sweep", 0, purpose="sweep"), done("mine", 1)], tmp_path)
    assert cell(scan, "n ok/planned") == "1/1"


@pytest.mark.parametrize(("failed", "finished"), [("a", "b"), ("b", "a")])
def test_a_failed_copy_does_not_hide_the_finished_one(
    tmp_path: Path, failed: str, finished: str
) -> None:
    scan = scanned([timeout(failed), done(finished)], tmp_path)
    assert cell(scan, "n ok/planned") == "1/1"
    assert cell(scan, "accuracy, %") == "90.00"
    (series,) = select(runs_of(scan.records), ["rdskd"], "digits")[1]
    assert series.points == {None: {0: 0.9}}
    page = render(scan, tmp_path, tmp_path)
    assert "it broke" not in page, "a reason of the failed copy"


def test_robustness_is_the_same_whichever_copy_is_read_first() -> None:
    copies = [timeout("a", "draw"), done("b", purpose="draw")]
    for order in itertools.permutations(copies):
        assert robustness_scores(order) == {"rdskd": [pytest.approx(0.8 / 0.89)]}
        assert one_a_run(order) == [copies[1]]


def test_another_suites_student_counts_before_an_own_failure(tmp_path: Path) -> None:
    store = Store(tmp_path)
    own, other = timeout("a"), done("b")
    store.put(own)
    assert store.get(own.spec, own.run_id) == own
    store.put(other)
    found = store.get(own.spec, own.run_id)
    assert found is not None
    assert (found.status, found.spec) == ("ok", own.spec)
