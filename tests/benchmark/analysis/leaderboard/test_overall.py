"""The table over all tasks."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from statistics import fmean, variance
from typing import Any

import numpy as np
import pytest
from scipy import stats

from benchmark.analysis.leaderboard.markdown import markdown
from benchmark.analysis.leaderboard.overall import Overall, headline_rows, overall_cells, overalls
from benchmark.analysis.leaderboard.tables import tables
from benchmark.analysis.report.figures import overall_profiles
from benchmark.analysis.statistics.intervals import stratified_interval, t_interval
from benchmark.analysis.statistics.ranks import rank_draws, rank_intervals
from benchmark.records.record import Record
from benchmark.records.spec import ObjectiveSpec
from benchmark.records.store import Scan
from tests.helpers import failed_record, make_record, tiny_budget


def seeds_of(method: str, task: str, *accuracies: float, **options: Any) -> list[Record]:
    return [
        make_record(method=method, task=task, seed=seed, accuracy=accuracy, **options)
        for seed, accuracy in enumerate(accuracies)
    ]


def only_overall(records: Sequence[Record]) -> Overall:
    (overall,) = overalls(tables(Scan(list(records))))
    return overall


TWO_TASKS = [
    *seeds_of("a", "mnist", 0.9, 0.8),
    *seeds_of("a", "svhn", 0.6, 0.5),
    *seeds_of("b", "mnist", 0.7, 0.6),
    *seeds_of("b", "svhn", 0.85, 0.75),
    *seeds_of("c", "mnist", 0.95, 0.96),
]


def test_scores_are_shares_of_the_way_from_chance_to_the_teacher() -> None:
    by_method = {own.method: own for own in only_overall(TWO_TASKS).standings}
    expected = fmean(
        [
            fmean([(0.9 - 0.1) / 0.89, (0.8 - 0.1) / 0.89]),
            fmean([(0.6 - 0.1) / 0.89, (0.5 - 0.1) / 0.89]),
        ]
    )
    assert by_method["a"].score == pytest.approx(expected, abs=1e-12)
    assert by_method["a"].ranks == {"mnist": 2, "svhn": 2}
    assert by_method["b"].ranks == {"mnist": 3, "svhn": 1}
    assert by_method["b"].rank[0] == 2.0


def test_scores_are_cut_to_the_teachers_and_failures_are_at_chance() -> None:
    records = [
        *seeds_of("a", "mnist", 1.0, 0.05),
        failed_record("diverged", method="a", task="mnist", seed=2),
    ]
    (own,) = only_overall(records).standings
    assert own.scores == {"mnist": [1.0, 0.0, 0.0]}


def test_a_method_that_lacks_a_task_stands_last_in_brackets() -> None:
    overall = only_overall(TWO_TASKS)
    names, body, _ = overall_cells(overall, "data-free")
    assert names == [
        "mean rank", "method", "mean score, %", "mnist", "svhn", "n ok/planned", "collapsed",
    ]  # fmt: skip
    assert [row[1] for row in body] == ["B", "A", "C"]
    last = body[-1]
    assert last[0].startswith("(1.0")
    assert last[2].startswith("(")
    assert last[names.index("svhn")] == "–"
    assert body[0][names.index("svhn")].endswith("(1)")


def test_data_free_methods_are_not_ranked_against_those_that_saw_data() -> None:
    records = [
        *seeds_of("blind", "mnist", 0.5, 0.6),
        *seeds_of("seeing", "mnist", 0.9, 0.95, access="train images"),
    ]
    overall = only_overall(records)
    assert overall.access_classes == ["data-free", "train images"]
    assert [own.rank[0] for own in overall.standings] == [1.0, 1.0]


def test_the_setting_is_chosen_by_its_runs_and_never_by_its_scores() -> None:
    poor = seeds_of("a", "mnist", 0.3, 0.31, 0.32, params={"x": 1}, changed={"x": 1})
    good = seeds_of("a", "mnist", 0.9, 0.91, params={"x": 2}, changed={"x": 2})
    plain = seeds_of("a", "mnist", 0.5, 0.5, 0.5)
    (table,) = tables(Scan([*poor, *good, *plain]))
    assert [row.changed for row in headline_rows(table)] == [{}]
    (table,) = tables(Scan([*poor, *good]))
    assert [row.changed for row in headline_rows(table)] == [{"x": 1}]


def test_students_with_another_objective_and_skipped_runs_take_no_part() -> None:
    base = make_record(task="mnist", method="a")
    objective = ObjectiveSpec(name="fitnets", version=1, params={})
    spec = base.spec.model_copy(update={"objective": objective})
    other = base.model_copy(update={"spec": spec, "run_id": spec.run_id(base.teacher.checksum)})
    skipped = failed_record("skipped", method="b", task="mnist")
    assert overalls(tables(Scan([other, skipped]))) == []


def test_budgets_never_share_a_table() -> None:
    records = [make_record(), make_record(budget=tiny_budget(name="other"))]
    assert [o.budget for o in overalls(tables(Scan(records)))] == ["other", "tiny"]


def test_of_two_teachers_the_one_with_more_finished_runs_counts() -> None:
    records = [
        *seeds_of("a", "mnist", 0.2, 0.2),
        *seeds_of("a", "mnist", 0.8, 0.8, 0.8, teacher="f" * 16),
    ]
    (own,) = only_overall(records).standings
    assert len(own.scores["mnist"]) == 3


def test_profiles_leave_out_and_name_the_methods_that_lack_a_task() -> None:
    plot = overall_profiles(only_overall(TWO_TASKS))
    assert plot is not None
    assert "Left out, because they lack a task: C." in plot.caption
    drawn = re.findall(r">([ABC], n = \d+)</text>", plot.svg)
    assert sorted(drawn) == ["A, n = 4", "B, n = 4"]


def test_the_overall_table_comes_first_in_the_document() -> None:
    text = markdown(Scan(TWO_TASKS))
    assert text.index("## Overall, budget tiny") < text.index("## mnist, budget tiny")
    table = text[text.index("## mnist") :]
    assert "**Data-free**" in table
    assert "Not data-free" not in table


# The interval of a mean of means


def test_the_interval_over_one_stratum_is_students() -> None:
    scores = [0.9, 0.85, 0.97, 0.91]
    assert stratified_interval([scores]) == pytest.approx(t_interval(scores), rel=1e-12)


def test_the_interval_over_two_strata_is_half_of_welchs() -> None:
    # (a + b) / 2 has half the standard error of a − b and the same degrees of freedom.
    a, b = [0.9, 0.85, 0.97, 0.91], [0.3, 0.5, 0.45]
    welch = stats.ttest_ind(a, b, equal_var=False).confidence_interval()
    assert stratified_interval([a, b]) == pytest.approx((welch.high - welch.low) / 4, rel=1e-9)


def test_the_interval_over_three_strata_follows_satterthwaite() -> None:
    strata = [[0.9, 0.8, 0.7], [0.2, 0.25], [0.5, 0.51, 0.55, 0.4]]
    parts = [variance(own) / len(own) for own in strata]
    freedom = sum(parts) ** 2 / sum(p**2 / (len(own) - 1) for p, own in zip(parts, strata))  # noqa: B905
    expected = stats.t.ppf(0.975, freedom) * math.sqrt(sum(parts)) / 3
    assert stratified_interval(strata) == pytest.approx(expected, rel=1e-9)


def test_an_interval_needs_two_scores_of_every_stratum() -> None:
    assert stratified_interval([[0.5, 0.6], [0.7]]) is None
    assert stratified_interval([]) is None
    assert stratified_interval([[0.5, 0.5], [0.7, 0.7]]) == 0.0


# Ranks


def test_ranks_count_the_methods_that_are_better() -> None:
    scores = [[0.9, 0.5], [0.9, 0.5], [0.2], [0.7, 0.4, 0.6]]
    seeds = [range(2), range(2), range(1), range(3)]
    by_seed = [dict(zip(*both, strict=True)) for both in zip(seeds, scores, strict=True)]
    draws = rank_draws(by_seed, np.random.default_rng(3))
    rng, means = np.random.default_rng(3), []
    shared: dict[int, list[list[int]]] = {}
    for own in scores:
        n, mean = len(own), fmean(own)
        if n not in shared:
            shared[n] = rng.integers(n, size=(len(draws), n)).tolist()
        chosen = shared[n]
        # Half of a t-interval over half of a normal one with the biased deviation.
        wider = 1.0
        if n > 1:
            wider = math.sqrt(n / (n - 1)) * stats.t.ppf(0.975, n - 1) / stats.norm.ppf(0.975)
        means.append([mean + wider * (fmean(own[i] for i in row) - mean) for row in chosen])
    for number, row in enumerate(draws.tolist()[:200]):
        now = [resampled[number] for resampled in means]
        assert row == [1 + sum(other > value + 1e-12 for other in now) for value in now]
    same = rank_draws([{0: 0.5, 1: 0.5}, {2: 0.5, 3: 0.5}, {0: 0.1}], np.random.default_rng(0))
    assert {tuple(row) for row in same.tolist()} == {(1, 1, 3)}


def test_rank_intervals_are_quantiles_of_the_draws() -> None:
    rows = [[0.9, 0.5, 0.7], [0.8, 0.6, 0.5], [0.2, 0.3, 0.9]]
    scores = [dict(enumerate(row)) for row in rows]
    draws = rank_draws(scores, np.random.default_rng(0))
    intervals = rank_intervals(scores, np.random.default_rng(0))
    for place, (low, high) in enumerate(intervals):
        ordered = sorted(draws[:, place].tolist())
        assert low == ordered[math.ceil(0.025 * len(ordered)) - 1]
        assert high == ordered[math.ceil(0.975 * len(ordered)) - 1]
