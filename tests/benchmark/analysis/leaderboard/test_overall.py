"""The table over all tasks."""

from __future__ import annotations

import math
import re
from pathlib import Path
from statistics import fmean, variance
from typing import Any

import numpy as np
import pytest
from scipy import stats

from benchmark.analysis.leaderboard.markdown import markdown
from benchmark.analysis.leaderboard.overall import Overall, OverallClass, overall_cells, overalls
from benchmark.analysis.leaderboard.tables import tables
from benchmark.analysis.report.figures import overall_profiles
from benchmark.analysis.statistics.intervals import stratified_interval, t_interval
from benchmark.analysis.statistics.ranks import rank_draws, rank_intervals
from benchmark.records.record import Record
from benchmark.records.spec import ObjectiveSpec
from benchmark.records.store import Scan, Store
from tests.helpers import failed_record, make_record, tiny_budget


def seeds_of(method: str, task: str, *accuracies: float, **options: Any) -> list[Record]:
    return [
        make_record(method=method, task=task, seed=seed, accuracy=accuracy, **options)
        for seed, accuracy in enumerate(accuracies)
    ]


def overall_of(*records: Record, settings: str = "as published") -> Overall:
    found = overalls(tables(Scan(list(records))))
    return next(own for own in found if own.settings == settings)


def only_class(*records: Record, settings: str = "as published") -> OverallClass:
    (own,) = overall_of(*records, settings=settings).classes
    return own


def shown(own: OverallClass) -> dict[str, dict[str, str]]:
    """Cells by heading, by title, in the table's order."""
    names, body, _ = overall_cells(own)
    return {row[1]: dict(zip(names, row, strict=True)) for row in body}


TWO_TASKS = [
    *seeds_of("a", "mnist", 0.9, 0.8),
    *seeds_of("a", "svhn", 0.6, 0.5),
    *seeds_of("b", "mnist", 0.7, 0.6),
    *seeds_of("b", "svhn", 0.85, 0.75),
]
LESS = [*seeds_of("c", "mnist", 0.95, 0.96)]


def test_scores_are_shares_of_the_way_from_chance_to_the_teacher() -> None:
    by_method = {own.method: own for own in only_class(*TWO_TASKS).standings}
    expected = fmean(
        [
            fmean([(0.9 - 0.1) / 0.89, (0.8 - 0.1) / 0.89]),
            fmean([(0.6 - 0.1) / 0.89, (0.5 - 0.1) / 0.89]),
        ]
    )
    assert by_method["a"].score == pytest.approx(expected, abs=1e-12)
    assert by_method["a"].ranks == {"mnist": 1, "svhn": 2}
    assert by_method["b"].ranks == {"mnist": 2, "svhn": 1}
    assert by_method["b"].rank is not None
    assert by_method["b"].rank.mean == 1.5


def test_scores_are_cut_to_the_teachers_and_failures_are_at_chance() -> None:
    records = [
        *seeds_of("a", "mnist", 1.0, 0.05),
        failed_record("diverged", method="a", task="mnist", seed=2),
        *seeds_of("a", "svhn", 0.99),
    ]
    (own,) = only_class(*records).standings
    assert own.scores == {"mnist": [1.0, 0.0, 0.0], "svhn": [1.0]}


def test_a_mean_is_over_the_tasks_that_all_methods_share() -> None:
    third = [*seeds_of("a", "digits", 0.9, 0.9), *seeds_of("a", "scenes", 0.9, 0.9)]
    own = only_class(*TWO_TASKS, *third)
    assert own.tasks == ["mnist", "svhn"]
    assert {tuple(standing.scores) for standing in own.standings} == {("mnist", "svhn")}


def test_a_method_of_one_task_is_named_and_changes_nothing_of_the_others() -> None:
    alone, together = only_class(*TWO_TASKS), only_class(*TWO_TASKS, *LESS)
    assert shown(together) == shown(alone)
    assert together.caption() == "Over 2 tasks: mnist, svhn. Left out, on one task only: C."


def test_there_is_no_overall_of_one_task() -> None:
    assert overalls(tables(Scan(TWO_TASKS[:2] + LESS))) == []
    assert "Overall" not in markdown(Scan(LESS)).split("# Leaderboard")[1].split("## ", 1)[1]
    apart = [*TWO_TASKS[:4], *seeds_of("d", "mnist", 0.5), *seeds_of("d", "digits", 0.5)]
    assert overalls(tables(Scan(apart))) == []


def test_controls_are_reference_lines_that_take_no_rank_and_no_part_in_the_tasks() -> None:
    low = [record for task in ("mnist", "svhn") for record in seeds_of("b", task, 0.2, 0.21)]
    noise = [
        record
        for task in ("mnist", "svhn", "digits")
        for record in seeds_of("noise", task, 0.5, 0.5)
    ]
    own = only_class(*TWO_TASKS[:4], *low, *noise)
    assert own.tasks == ["mnist", "svhn"], "a control alone makes no task an overall's"
    cells = shown(own)
    assert list(cells) == ["A", "B", "NOISE"]
    assert cells["B"]["mean rank"].startswith("2.0 "), "behind A, though also behind noise"
    assert cells["NOISE"]["mean rank"] == "reference"
    assert cells["NOISE"]["mnist"] == f"{100 * 0.4 / 0.89:.2f}"
    assert overalls(tables(Scan(noise))) == []


def test_a_method_with_missing_runs_has_no_rank_and_stands_below(tmp_path: Path) -> None:
    ahead = [record for t in ("mnist", "svhn") for record in seeds_of("z", t, 0.98, 0.98)]
    store = Store(tmp_path)
    store.add_plan("suite", [(record.spec, record.teacher.checksum) for record in ahead])
    scan = Scan([*TWO_TASKS, *ahead[:3]], planned=store.scan().planned)
    (overall,) = overalls(tables(scan))
    cells = shown(overall.classes[0])
    assert list(cells)[-1] == "Z"
    assert cells["Z"]["mean rank"] == "provisional"
    assert cells["Z"]["n ok/planned"] == "3/4"
    assert [cells[name]["mnist"].split()[1] for name in "AB"] == ["(1)", "(2)"]
    assert float(cells["Z"]["svhn"]) == pytest.approx(100 * 0.88 / 0.89, abs=0.01)


def test_a_method_over_its_budget_has_no_rank() -> None:
    spent = make_record(method="b", task="svhn", seed=7, accuracy=0.99, status="over_budget")
    cells = shown(only_class(*TWO_TASKS, spent))
    assert cells["B"]["mean rank"] == "over budget"
    assert cells["B"]["svhn"] == shown(only_class(*TWO_TASKS))["B"]["svhn"].split()[0]


def test_data_free_methods_are_not_ranked_against_those_that_saw_data() -> None:
    records = [
        record
        for task in ("mnist", "svhn")
        for record in (
            *seeds_of("blind", task, 0.5, 0.6),
            *seeds_of("seeing", task, 0.9, 0.95, access="train images"),
        )
    ]
    overall = overall_of(*records)
    assert [own.access for own in overall.classes] == ["data-free", "train images"]
    ranks = [own.rank for c in overall.classes for own in c.standings]
    assert [rank.mean for rank in ranks if rank] == [1.0, 1.0]


def changed(task: str, x: int, *accuracies: float, **options: Any) -> list[Record]:
    return seeds_of("a", task, *accuracies, params={"x": x}, changed={"x": x}, **options)


def test_the_published_setting_stands_in_however_few_runs_it_has() -> None:
    records = [*TWO_TASKS, *changed("mnist", 1, 0.95, 0.95, 0.95, 0.95)]
    (own,) = (s for s in only_class(*records).standings if s.method == "a")
    assert own.rows["mnist"].changed == {}
    assert len(own.scores["mnist"]) == 2


def test_tuned_settings_have_an_overall_of_their_own() -> None:
    tuned = [
        record.model_copy(
            update={"spec": record.spec.model_copy(update={"tuned": "16 trials, by agreement"})}
        )
        for record in [*changed("mnist", 1, 0.95, 0.95), *changed("svhn", 2, 0.9, 0.9)]
    ]
    noise = [r for task in ("mnist", "svhn") for r in seeds_of("noise", task, 0.5, 0.5)]
    own = only_class(*TWO_TASKS, *tuned, *noise, settings="tuned")
    assert [standing.method for standing in own.standings] == ["a", "noise"]
    assert {task: row.changed for task, row in own.standings[0].rows.items()} == {
        "mnist": {"x": 1},
        "svhn": {"x": 2},
    }
    published = only_class(*TWO_TASKS, *tuned, *noise)
    assert all(row.changed == {} for s in published.standings for row in s.rows.values())
    assert "## Overall, budget tiny, tuned" in markdown(Scan([*TWO_TASKS, *tuned]))
    half = overalls(tables(Scan([*TWO_TASKS, *tuned[:2]])))
    assert [overall.settings for overall in half] == ["as published"]


def test_students_with_another_objective_and_skipped_runs_take_no_part() -> None:
    objective = ObjectiveSpec(name="fitnets", version=1, params={})
    others = []
    for task in ("mnist", "svhn"):
        base = make_record(task=task, method="a")
        spec = base.spec.model_copy(update={"objective": objective})
        run_id = spec.run_id(base.teacher.checksum)
        others += [
            base.model_copy(update={"spec": spec, "run_id": run_id}),
            failed_record("skipped", method="b", task=task),
        ]
    assert overalls(tables(Scan(others))) == []


def test_budgets_never_share_a_table() -> None:
    records = [
        make_record(task=task, budget=tiny_budget(name=name))
        for task in ("mnist", "svhn")
        for name in ("tiny", "other")
    ]
    assert [o.budget for o in overalls(tables(Scan(records)))] == ["other", "tiny"]


def test_of_two_teachers_the_one_counts_with_which_more_methods_ran() -> None:
    records = [
        *seeds_of("a", "mnist", 0.2, 0.2),
        *seeds_of("b", "mnist", 0.2, 0.2),
        *seeds_of("a", "mnist", 0.8, 0.8, 0.8, 0.8, 0.8, teacher="f" * 16),
        *seeds_of("a", "svhn", 0.2, 0.2),
        *seeds_of("b", "svhn", 0.2, 0.2),
    ]
    assert [len(own.scores["mnist"]) for own in only_class(*records).standings] == [2, 2]


def test_profiles_show_the_ranked_methods() -> None:
    noise = [r for task in ("mnist", "svhn") for r in seeds_of("noise", task, 0.5, 0.5)]
    plot = overall_profiles(overall_of(*TWO_TASKS, *LESS, *noise))
    assert plot is not None
    drawn = re.findall(r">([A-Z]+, n = \d+)</text>", plot.svg)
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
