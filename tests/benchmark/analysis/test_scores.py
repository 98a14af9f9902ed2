"""Tests of what a run counts for."""

from __future__ import annotations

from typing import get_args

import pytest

from benchmark.analysis.comparison.robustness import robustness_scores
from benchmark.analysis.comparison.series import select
from benchmark.analysis.frame import runs_of
from benchmark.analysis.scores import counted_score
from benchmark.records.record import FAILED, SCORED, Status
from tests.helpers import failed_record, make_record

CHANCE = 0.1


@pytest.mark.parametrize("failure", sorted(FAILED))
@pytest.mark.parametrize("score", [0.0, 0.09, 0.1, 0.12, 0.9])
def test_a_crash_never_counts_for_more_than_a_finished_run(failure: Status, score: float) -> None:
    crashed = counted_score(failure, None, CHANCE)
    assert crashed == CHANCE
    for status in ("ok", "collapsed"):
        finished = counted_score(status, score, CHANCE)
        assert finished is not None
        assert finished >= crashed
        assert finished == (score if score > CHANCE else CHANCE)


def test_what_did_not_end_within_its_budget_does_not_count() -> None:
    others = set(get_args(Status)) - FAILED - SCORED
    assert others == {"skipped", "interrupted", "over_budget"}
    assert {counted_score(status, 0.9, CHANCE) for status in others} == {None}
    assert counted_score("ok", None, CHANCE) is None


def test_comparisons_and_robustness_follow_the_rule() -> None:
    """A method whose students end below chance is as good as one that crashes, not worse."""
    crashes = [failed_record("diverged", method="b", seed=s, purpose="draw") for s in range(3)]
    collapses = [
        make_record(method="a", seed=s, accuracy=0.05, status="collapsed", purpose="draw")
        for s in range(3)
    ]
    found = robustness_scores([*collapses, *crashes])
    assert found == {"a": [0.0], "b": [0.0]}
    runs = [
        r.model_copy(update={"spec": r.spec.model_copy(update={"purpose": "table"})})
        for r in [*collapses, *crashes]
    ]
    _, (a, b) = select(runs_of(runs), ("a", "b"), "digits")
    assert a.points == b.points == {None: dict.fromkeys(range(3), CHANCE)}


def test_trials_of_tuning_and_runs_over_their_budget_are_not_compared() -> None:
    fine = [make_record(method="a", seed=s, accuracy=0.8) for s in range(3)]
    tuned = [make_record(method="a", seed=100 + s, accuracy=0.99, purpose="tune") for s in range(9)]
    greedy = [
        make_record(method="a", seed=3 + s, accuracy=0.99, status="over_budget") for s in range(2)
    ]
    _, (series,) = select(runs_of([*fine, *tuned, *greedy]), ["a"], "digits")
    assert series.points == {None: {0: 0.8, 1: 0.8, 2: 0.8}}
    draws = [
        r.model_copy(update={"spec": r.spec.model_copy(update={"purpose": "draw"})}) for r in greedy
    ]
    assert robustness_scores(draws) == {}
