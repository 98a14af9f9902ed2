"""Tests of `dfkd compare`, `dfkd robustness` and what stands behind them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from benchmark.analysis.comparison.compare import Comparison, compare_series
from benchmark.analysis.comparison.loss_stability import fluctuation, loss_stability
from benchmark.analysis.comparison.markdown import comparison_markdown, summary_cells
from benchmark.analysis.comparison.plots import style
from benchmark.analysis.comparison.robustness import (
    drawn_ranges,
    planned_draws,
    robustness_scores,
    score_claims,
)
from benchmark.analysis.comparison.robustness_page import (
    SWEPT,
    SweepContext,
    of_which_seeds,
    robustness_files,
    swept,
)
from benchmark.analysis.comparison.sentences import same_runs
from benchmark.analysis.comparison.series import Series, select
from benchmark.analysis.comparison.summary import summary_section
from benchmark.analysis.frame import runs_of
from benchmark.analysis.leaderboard.cells import headline_grid
from benchmark.analysis.leaderboard.tables import tables
from benchmark.analysis.report.figures import robustness_plots
from benchmark.analysis.statistics.claims import seeds_for_effect
from benchmark.analysis.statistics.intervals import wilson_interval
from benchmark.analysis.statistics.sign_flips import joint_sign_flips
from benchmark.cli.comparisons import added_defaults
from benchmark.cli.program import app
from benchmark.errors import UserError
from benchmark.records.record import Record
from benchmark.records.spec import ObjectiveSpec, PlannedEntry
from benchmark.records.store import Scan, Store
from methods.base.registry import discover
from methods.settings.versions import Versions
from tests.helpers import failed_record, make_record, one_line, tiny_budget

STEADY, SHAKY = "rdskd", "dafl"


def runs(method: str, *accuracies: float, lr: float = 0.01, **options: Any) -> list[Record]:
    params = {"generator_lr": lr, "temperature": 10.0, **options.pop("params", {})}
    changed = options.pop("changed", {"generator_lr": lr} if lr != 0.01 else {})
    return [
        make_record(
            method=method, seed=seed, accuracy=accuracy, params=params, changed=changed, **options
        )
        for seed, accuracy in enumerate(accuracies)
    ]


def with_objective(record: Record) -> Record:
    """The same run with another student objective, which scored better."""
    objective = ObjectiveSpec(name="fitnets", version=1, params={})
    spec = record.spec.model_copy(update={"objective": objective})
    found = {"spec": spec, "run_id": spec.run_id(record.teacher.checksum)}
    return record.model_copy(update={**found, "status": "ok", "metrics": {"accuracy": 0.95}})


def noisy(method: str, mean: float, n: int = 10, scale: float = 0.01, **options: Any) -> Any:
    key = [sum(method.encode()), round(1e4 * mean)]
    return runs(
        method, *(mean + scale * np.random.default_rng(key).normal(size=n)).tolist(), **options
    )


def sweep(n: int = 10) -> list[Record]:
    """A method that is steady over its rate and one that is not."""
    return [
        record
        for lr, mean in ((0.001, 0.9), (0.01, 0.89), (0.2, 0.5))
        for method, at in ((STEADY, 0.91), (SHAKY, mean))
        for record in noisy(method, at, n, lr=lr, purpose="sweep")
    ]


def series_of(
    records: Sequence[Record], methods: Sequence[str] = (STEADY, SHAKY), **options: Any
) -> list[Series]:
    options = {"added_defaults": added_defaults, **options}
    chosen = select(runs_of(records), methods, "digits", **options)
    return chosen[1]


def answer(records: Sequence[Record], *methods: str, **options: Any) -> Comparison:
    return compare_series(*select(runs_of(records), methods, "digits", **options))


def stored(folder: Path, records: Sequence[Record]) -> Path:
    for record in records:
        Store(folder).put(record)
    return folder


def dfkd(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, list(map(str, arguments)))


# What is compared


def of_version(version: int, records: Sequence[Record]) -> list[Record]:
    """The runs as another version of their method made them."""
    found = []
    for record in records:
        spec = record.spec.model_copy(update={"method_version": version})
        run_id = spec.run_id(record.teacher.checksum)
        found.append(record.model_copy(update={"spec": spec, "run_id": run_id}))
    return found


def test_a_method_is_judged_as_published_however_many_runs_other_settings_have() -> None:
    records = [
        *runs(STEADY, *[0.99] * 9, lr=0.5),
        *runs(STEADY, 0.8, 0.8),
        *runs(STEADY, *[0.95] * 6, lr=0.3, purpose="sweep"),
        *runs(STEADY, *[0.97] * 9, lr=0.7, purpose="draw"),
        *runs(STEADY, *[0.98] * 9, lr=0.9, tuned="16 trials, by agreement"),
        *runs(SHAKY, 0.7),
    ]
    first, _ = series_of(records)
    assert first.points == {None: {0: 0.8, 1: 0.8}}
    assert first.settings == {}


def test_the_newest_version_comes_first_however_few_runs_it_has() -> None:
    old, new = runs(STEADY, *[0.9] * 9), of_version(2, runs(STEADY, 0.5, lr=0.3))
    (series,) = series_of([*old, *new], [STEADY])
    assert series.points == {None: {0: 0.5}}
    (swept_over,) = series_of([*old, *new], [STEADY], over="generator_lr")
    assert swept_over.points == {0.3: {0: 0.5}}
    (series,) = series_of(old, [STEADY], versions={STEADY: Versions(2)})
    assert series.label == f"{STEADY.upper()} (version 1; the program has 2)"


def test_a_value_that_was_revised_takes_no_other_value_out_of_a_sweep() -> None:
    versions = {STEADY: Versions(1, {"generator_lr": {0.3: 2}})}
    records = [*runs(STEADY, 0.9), *of_version(2, runs(STEADY, 0.5, lr=0.3))]
    (series,) = series_of(records, [STEADY], over="generator_lr", versions=versions)
    assert list(series.points) == [0.01, 0.3]
    (series,) = series_of(records, [STEADY], versions=versions)
    assert series.points == {None: {0: 0.9}}


@pytest.mark.parametrize("more", [2, 9])
def test_without_a_published_run_the_setting_is_that_of_the_leaderboard(more: int) -> None:
    far, near = {"generator_lr": 0.5, "depth": 2}, {"generator_lr": 0.02}
    records = [
        *runs(STEADY, *[0.9] * more, params=far, changed=far),
        *runs(STEADY, 0.4, 0.4, 0.4, params=near, changed=near),
        *runs(STEADY, *[0.8] * more, lr=0.001, purpose="sweep"),
    ]
    (series,) = series_of(records, [STEADY])
    (table,) = tables(Scan(records))
    (row,) = table.headline
    assert series.run_ids == {record.run_id for record in row.records}
    assert series.settings == near


def test_of_several_budgets_that_is_taken_at_which_most_methods_ran_as_published() -> None:
    long = tiny_budget(name="long", student_steps=400)
    ours = [*runs(STEADY, 0.9, budget=long), *runs(SHAKY, 0.8, budget=long)]
    records = [*runs(STEADY, *[0.9] * 9), *ours]
    assert answer(records, STEADY, SHAKY).place.budget == "long"
    records += runs(SHAKY, *[0.9] * 9, lr=0.5)
    assert answer(records, STEADY, SHAKY).place.budget == "long"


def test_a_sweep_holds_everything_else_fixed() -> None:
    other = runs(SHAKY, *[0.3] * 20, lr=0.02, params={"temperature": 1.0})
    _, shaky = series_of([*sweep(3), *other], over="generator_lr")
    assert list(shaky.points) == [0.001, 0.01, 0.2]
    assert "generator_lr" not in shaky.settings


def test_numbers_of_the_budget_can_be_swept() -> None:
    records = [
        record
        for steps in (4, 40)
        for method in (STEADY, SHAKY)
        for record in runs(method, 0.8, budget=tiny_budget().varied(synthesis_steps=steps))
    ]
    first, second = series_of(records, over="synthesis_steps")
    assert list(first.points) == list(second.points) == [4, 40]
    assert list(series_of(records)[0].points) == [None]
    assert len(series_of(records)[0].run_ids) == 1


def test_failed_runs_are_guesses_and_unfinished_ones_are_none() -> None:
    records = [
        *runs(STEADY, 0.9),
        failed_record("diverged", method=STEADY, seed=1, params=runs(STEADY, 0.9)[0].spec.params),
        failed_record(
            "interrupted", method=STEADY, seed=2, params=runs(STEADY, 0.9)[0].spec.params
        ),
        *runs(SHAKY, 0.1, status="collapsed"),
    ]
    first, second = series_of(records)
    assert first.points == {None: {0: 0.9, 1: 0.1}}
    assert (first.collapsed, second.collapsed) == ({None: 1}, {None: 1})


def test_teachers_are_never_mixed() -> None:
    records = [*runs(STEADY, 0.9), *runs(SHAKY, 0.8), *runs(SHAKY, 0.7, 0.7, teacher="f" * 16)]
    place, (first, second) = select(runs_of(records), (STEADY, SHAKY), "digits")
    assert place.teacher == "0123456789abcdef"
    assert (first.points, second.points) == ({None: {0: 0.9}}, {None: {0: 0.8}})


def test_students_with_another_objective_take_no_part() -> None:
    own = [*runs(STEADY, 0.1, 0.1, status="collapsed"), *runs(SHAKY, 0.1, 0.1, status="collapsed")]
    other = [with_objective(record) for record in own]
    first, second = series_of([*other, *own, *other])
    assert first.points == second.points == {None: {0: 0.1, 1: 0.1}}
    assert first.run_ids == {record.run_id for record in own[:2]}
    assert "100 % (34 to 100) | 2 |" in comparison_markdown(answer([*other, *own], STEADY, SHAKY))
    with pytest.raises(UserError, match="own objective"):
        series_of(other)


def proxy_runs(method: str, *accuracies: float, **added: Any) -> list[Record]:
    """Records of DeGAN or DCGAN, which leave out what was added while it has its default."""
    options = {"params": {"width": 32, **added}, "changed": added, "purpose": "sweep"}
    return [
        make_record(method=method, seed=i, accuracy=a, **options) for i, a in enumerate(accuracies)
    ]


def test_a_record_without_an_added_parameter_is_one_at_its_default() -> None:
    records = [
        *proxy_runs("degan", 0.6, 0.7),
        *proxy_runs("degan", 0.8, 0.8, mix=0.5),
        *proxy_runs("degan", 0.5, diversity="none"),
        *proxy_runs("dcgan", 0.4, 0.5),
        *proxy_runs("dcgan", 0.9, 0.9, mix=0.5),
    ]
    degan, dcgan = series_of(records, ("degan", "dcgan"), over="mix")
    assert degan.points == {0.0: {0: 0.6, 1: 0.7}, 0.5: {0: 0.8, 1: 0.8}}
    assert dcgan.points == {0.0: {0: 0.4, 1: 0.5}, 0.5: {0: 0.9, 1: 0.9}}
    degan, dcgan = series_of(records[:-2], ("degan", "dcgan"), over="mix")
    assert (list(degan.points), list(dcgan.points)) == ([0.0, 0.5], [0.0])
    (alone,) = series_of(records, ["degan"], over="diversity")
    assert list(alone.points) == ["none", "plain"]
    assert swept(
        runs_of(records),
        ("degan", "dcgan"),
        "digits",
        "tiny",
        partial(select, added_defaults=added_defaults),
    ) == ["mix"]
    drawn = [plot.caption for plot in robustness_plots(records, added_defaults=added_defaults)]
    assert [caption.split(",")[0] for caption in drawn] == ["Over diversity", "Over mix"]


def test_a_parameter_that_a_version_does_not_know_has_no_value_there() -> None:
    records = [*runs(STEADY, 0.9), *runs(STEADY, 0.8, 0.8, params={"fresh": 1})]
    (series,) = series_of(records, [STEADY], over="fresh")
    assert series.points == {1: {0: 0.8, 1: 0.8}}


@pytest.mark.parametrize(
    ("methods", "task", "options", "says"),
    [
        (["rdksd", SHAKY], "digits", {}, "method 'rdksd' on task 'digits'; did you mean 'rdskd'?"),
        ([STEADY, SHAKY], "digitz", {}, "task 'digitz'; did you mean 'digits'?"),
        ([STEADY, SHAKY], "digits", {"budget": "tiney"}, "did you mean 'tiny'?"),
        ([STEADY, SHAKY], "digits", {"over": "temprature"}, "did you mean 'temperature'?"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(
    methods: list[str], task: str, options: dict[str, str], says: str
) -> None:
    with pytest.raises(UserError) as error:
        select(runs_of(sweep(1)), methods, task, **options)
    assert says in one_line(str(error.value))


# What is answered


def test_the_better_and_the_steadier_are_named() -> None:
    found = answer(sweep(), STEADY, SHAKY, over="generator_lr")
    (at_worst,) = found.better[0.2]
    assert at_worst.better == STEADY
    (sensitivity,) = found.sensitivity
    assert sensitivity.claim.shown
    text = comparison_markdown(found)
    assert at_worst.p_wilcoxon == pytest.approx(3 * 2 / 2**10)
    assert "; Wilcoxon's p = 0.006; a run of RDSKD beats" in text
    assert "generator_lr = 0.2: **RDSKD is better than DAFL**, shown" in text
    assert "**RDSKD is less sensitive to `generator_lr` than DAFL**, shown" in text


def test_a_sentence_speaks_of_the_better_method_whichever_is_named_first() -> None:
    records = [*noisy(STEADY, 0.9, scale=0.001), *noisy(SHAKY, 0.6, scale=0.05)]
    said = []
    for names in ((STEADY, SHAKY), (SHAKY, STEADY)):
        lines = comparison_markdown(answer(records, *names)).splitlines()
        said.append([line for line in lines if line.lstrip().startswith("- ")])
    assert said[0][0] == said[1][0]
    for better, steadier in said:
        assert better.startswith("- **RDSKD is better than DAFL**")
        assert "difference +" in better
        assert "a run of RDSKD beats one of DAFL with probability 1.00" in better
        assert "effect size +" in better
        ratio = float(steadier.split("ratio of variances ")[1].split(",")[0])
        assert "**RDSKD spreads less over seeds than DAFL**" in steadier
        assert ratio < 0.1


def test_the_interval_of_a_collapse_rate_is_rounded_outward_as_in_the_leaderboard() -> None:
    high = math.ceil(100 * wilson_interval(2, 5).high)  # type: ignore[union-attr]
    assert summary_cells([0.9] * 5, 2)[-1] == f"40 % (11 to {high})"
    records = [*runs(STEADY, 0.9, 0.9, 0.9), *runs(STEADY, 0.1, 0.1, status="collapsed")]
    records = [
        make_record(method=STEADY, seed=i, accuracy=r.score, status=r.status)
        for i, r in enumerate(records)
    ]
    (table,) = tables(Scan(records))
    assert headline_grid(table).column("collapsed") == [f"2/5 (≤ {high} %)"]


def test_sensitivity_is_the_variance_of_means_over_values_without_that_of_seeds() -> None:
    table = [[0.90, 0.60], [0.80, 0.70], [0.70, 0.65], [0.95, 0.50]]
    records = [
        *runs(STEADY, *[0.5] * 4, lr=0.1),
        *runs(STEADY, *[0.5] * 4, lr=0.2),
        *runs(SHAKY, *[row[0] for row in table], lr=0.1),
        *runs(SHAKY, *[row[1] for row in table], lr=0.2),
        *runs(SHAKY, *[0.1] * 9, lr=0.3),
    ]
    (found,) = answer(records, STEADY, SHAKY, over="generator_lr").sensitivity
    halves = [(a - b) / 2 for a, b in table]  # deviations are ± half of the difference
    pairs = [2 * a * b for i, a in enumerate(halves) for j, b in enumerate(halves) if i != j]
    assert found.deviations == (0.0, pytest.approx(math.sqrt(sum(pairs) / len(pairs))))
    assert found.claim.n == 4


def test_noise_over_seeds_is_no_sensitivity() -> None:
    records = [
        record
        for lr in (0.001, 0.01, 0.2)
        for method, scale in ((STEADY, 0.002), (SHAKY, 0.1))
        for record in noisy(method, 0.7 + lr / 1000, scale=scale, lr=lr, purpose="sweep")
    ]
    (found,) = answer(records, STEADY, SHAKY, over="generator_lr").sensitivity
    assert not found.claim.shown
    assert found.winner is None


def test_a_method_at_chance_is_never_called_steady() -> None:
    dead = [
        record
        for lr in (0.001, 0.01, 0.2)
        for record in runs(STEADY, *[0.1] * 10, lr=lr, purpose="sweep", status="collapsed")
    ]
    alive = [record for record in sweep() if record.spec.method == SHAKY]
    found = answer([*dead, *alive], STEADY, SHAKY, over="generator_lr")
    (sensitivity,) = found.sensitivity
    (spread,) = found.spreads[0.01]
    assert sensitivity.claim.shown
    assert spread.claim.shown
    assert sensitivity.less == spread.less == STEADY
    assert sensitivity.winner is spread.winner is None
    text = comparison_markdown(found)
    assert "RDSKD is at chance, where nothing varies" in text
    assert "**RDSKD" not in text
    assert "**DAFL is better than RDSKD**" in text
    short = summary_section([found], {}, {})
    assert "| less sensitive to `generator_lr` | RDSKD is at chance |" in short
    assert "**RDSKD**" not in short


@pytest.mark.parametrize(
    ("scores", "collapsed", "lost"),
    [((0.05, 0.15), 0, True), ((0.2, 0.2, 0.9), 2, True), ((0.2, 0.9), 1, False)],
)
def test_at_chance_are_means_of_guesses_and_mostly_collapsed_runs(
    scores: tuple[float, ...], collapsed: int, lost: bool
) -> None:
    points = {None: dict(enumerate(scores))}
    series = Series("a", "A", {}, points, {None: collapsed}, frozenset(), chance=0.1)
    assert series.at_chance([None]) == lost
    assert not series.at_chance([])


def test_correction_runs_over_all_values_and_pairs() -> None:
    found = answer(sweep(), STEADY, SHAKY, over="generator_lr")
    a, b = found.series
    rates = (0.001, 0.01, 0.2)
    differences = [{s: x - b.points[lr][s] for s, x in a.points[lr].items()} for lr in rates]
    together = joint_sign_flips(differences, np.random.default_rng(0))
    pairs = [found.better[lr][0] for lr in rates]
    assert [p.claim.p for p in pairs] == together.corrected
    assert together.corrected[1] > together.p[1]
    assert pairs[2].claim.p == 2 / 2**10  # of three questions it is as small as of one


def test_spreads_asked_about_together_are_corrected_for_each_other() -> None:
    def pair(**options: Any) -> list[Record]:
        return noisy(STEADY, 0.9, **options) + noisy(SHAKY, 0.8, scale=0.015, **options)

    alone = answer(pair(), STEADY, SHAKY).spreads[None][0].claim.p
    assert alone is not None
    three = [r for lr in (0.001, 0.01, 0.2) for r in pair(lr=lr, purpose="sweep")]
    together = answer(three, STEADY, SHAKY, over="generator_lr").spreads
    assert 0 < alone < 1 / 3
    assert [own[0].claim.p for own in together.values()] == pytest.approx([3 * alone] * 3)


def test_few_seeds_are_insufficient_comparison_markdown() -> None:
    text = comparison_markdown(answer(sweep(3), STEADY, SHAKY, over="generator_lr"))
    assert "shown (" not in text.replace("not shown (", "")
    assert "insufficient (" in text
    assert "it would take about" in text


def test_methods_without_a_common_value_are_insufficient() -> None:
    records = [*runs(STEADY, 0.9, 0.9, lr=0.1), *runs(SHAKY, 0.8, 0.8, lr=0.2)]
    text = comparison_markdown(answer(records, STEADY, SHAKY, over="generator_lr"))
    assert "fewer than two common values" in text


def test_where_a_method_has_no_runs_nothing_is_asked() -> None:
    extra = noisy(STEADY, 0.9, lr=0.5, purpose="sweep")
    found = answer([*sweep(), *extra], STEADY, SHAKY, over="generator_lr")
    without = answer(sweep(), STEADY, SHAKY, over="generator_lr")
    assert found.better[0.5] == found.spreads[0.5] == []
    assert [found.better[lr][0].claim.p for lr in (0.001, 0.01, 0.2)] == [
        without.better[lr][0].claim.p for lr in (0.001, 0.01, 0.2)
    ]
    text = comparison_markdown(found)
    assert "| 0.5 | RDSKD |" in text
    assert "| 0.5 | DAFL |" not in text


def test_the_summary_names_winners_only_where_they_were_shown() -> None:
    wide = noisy(SHAKY, 0.905, scale=0.2)
    at_home = answer([*noisy(STEADY, 0.91), *wide], STEADY, SHAKY)
    over = answer(sweep(), STEADY, SHAKY, over="generator_lr")
    few = answer(sweep(2), STEADY, SHAKY, over="generator_lr")
    draws = {STEADY: [0.9 + i / 100 for i in range(8)], SHAKY: [i / 100 for i in range(8)]}
    rows = dict(
        line.strip("| ").split(" | ")
        for line in summary_section([at_home, over], score_claims(draws), draws).splitlines()[6:]
    )
    assert at_home.spreads[None][0].claim.shown
    assert rows["better at one setting each"] == "not shown"
    assert rows["spreads less over seeds at one setting each"] == "**RDSKD**"
    assert rows["better at `generator_lr` = 0.2"] == "**RDSKD**"
    assert rows["less sensitive to `generator_lr`"] == "**RDSKD**"
    assert rows["more robust over whole tuning ranges"] == "**RDSKD**"
    assert "insufficient" in summary_section([few], {}, {})
    assert "whole tuning" not in summary_section([few], {}, {})


def test_a_setting_that_one_method_alone_was_swept_over_is_no_section() -> None:
    alone = [r for r in sweep(3) if r.spec.method == SHAKY or r.spec.params["generator_lr"] == 0.01]
    assert swept(runs_of(sweep(3)), (STEADY, SHAKY), "digits", "tiny") == ["generator_lr"]
    assert swept(runs_of(alone), (STEADY, SHAKY), "digits", "tiny") == []


def test_what_one_method_alone_was_swept_over_is_shown_and_not_compared(tmp_path: Path) -> None:
    alone = [r for r in sweep(3) if r.spec.method == SHAKY or r.spec.params["generator_lr"] == 0.01]
    output = tmp_path / "robustness.md"
    arguments = ("--task", "digits", "--results", stored(tmp_path / "results", alone))
    assert dfkd("robustness", STEADY, SHAKY, *arguments, "--output", output).exit_code == 0
    text = output.read_text(encoding="utf-8")
    assert "## Over settings of one method alone" in text
    assert "| DAFL | `generator_lr` = 0.2 |" in text
    assert "RDSKD | `generator_lr`" not in text


def test_over_a_setting_a_seed_is_one_block_however_many_values_there_are() -> None:
    records = [
        record
        for i, lr in enumerate((0.001, 0.01, 0.2))
        for j, name in enumerate("abc")
        for record in noisy(name, 0.5 + 0.2 * ((i + j) % 3), 12, lr=lr, purpose="sweep")
    ]
    found = answer(records, *"abc", over="generator_lr").agreement
    assert found is not None
    assert found.claim.n == 12
    alone = answer([*records, *runs("a", 0.9, lr=0.5)], *"abc", over="generator_lr").agreement
    assert alone is not None
    assert alone.mean_ranks == found.mean_ranks


def test_three_methods_are_also_ranked_together() -> None:
    records = [*noisy("a", 0.9), *noisy("b", 0.7), *noisy("c", 0.5)]
    found = answer(records, "a", "b", "c")
    assert found.agreement is not None
    assert found.agreement.claim.shown
    assert "all methods together (Friedman's test over seeds): shown" in comparison_markdown(found)


def test_families_that_use_the_same_runs_say_so() -> None:
    families = {"*A*": ["r1", "r2"], "*B*": ["r2", "r3"], "*C*": ["r3", "r4"], "*D*": ["r9"]}
    said = same_runs(families)
    assert said.startswith("*A*, *B* and *C* use the same runs: 2 runs stand in more than one")
    assert "5 %" in said
    assert same_runs({"*A*": ["r1", "r1"], "*D*": ["r9"]}) == same_runs({}) == ""


# Robustness


def test_robustness_is_the_mean_normalised_score_of_the_draws() -> None:
    draws = [
        *runs("a", 0.5, 0.7, lr=0.1, purpose="draw", teacher_accuracy=0.9),
        *runs("a", 0.05, lr=0.2, purpose="draw", teacher_accuracy=0.9),
        *runs("a", 0.99, lr=0.3, purpose="draw", teacher_accuracy=0.9),
        *runs("a", 0.9, lr=0.4, teacher_accuracy=0.9),
    ]
    assert robustness_scores(draws) == {"a": pytest.approx([(0.5 + 0.75) / 2, 0.0, 1.0])}
    failed = failed_record("diverged", method="b", purpose="draw")
    assert robustness_scores([failed]) == {"b": [0.0]}


def test_planned_draws_that_never_ran_do_not_count() -> None:
    draws = [*runs("a", 0.9, lr=0.1, purpose="draw"), *runs("a", 0.9, lr=0.2, purpose="draw")]
    elsewhere = runs("a", 0.99, lr=0.3)[0]
    skipped = failed_record("skipped", method="a", purpose="draw", params={"generator_lr": 0.4})
    plan = {
        r.run_id: PlannedEntry.of(r.spec.model_copy(update={"purpose": "draw"}), r.teacher.checksum)
        for r in [*draws, elsewhere, skipped, *runs("b", 0.5)]
    }
    records = [draws[0], elsewhere, skipped, with_objective(draws[1])]
    scan = Scan(records=records, planned={"draws": plan})
    found = robustness_scores(records, planned_draws(scan, lambda entry: True))
    assert found == {"a": pytest.approx([0.8 / 0.89, 1.0])}
    assert tables(scan)[0].robustness == found


def test_the_page_names_the_seeds_and_the_ranges_of_the_draws(tmp_path: Path) -> None:
    """A score over settings of one seed says nothing of other seeds, nor of other ranges."""
    draws = [
        make_record(
            method=method,
            seed=100,
            accuracy=0.5 + lr / 10,
            purpose="draw",
            params={"generator_lr": lr, "temperature": 10.0},
            changed={"generator_lr": lr},
        )
        for method, factor in (("rdskd", 0.001), ("dafl", 0.1))
        for lr in (factor, 2 * factor, 3 * factor, 4 * factor)
    ]
    assert drawn_ranges(draws)["dafl"] == {"generator_lr": (0.1, 0.4)}
    scan = Scan(records=[*runs("rdskd", 0.9, 0.8), *runs("dafl", 0.9, 0.8), *draws], planned={})
    output = tmp_path / "robustness.md"
    files = robustness_files(
        scan, ["rdskd", "dafl"], "digits", None, output, SweepContext(added_defaults)
    )
    text = files[output].decode()
    assert "All draws have seed 100: intervals and tests are over settings" in text
    assert "drawn were `generator_lr` from 0.001 to 0.004" in text
    assert "drawn were `generator_lr` from 0.1 to 0.4" in text
    assert of_which_seeds([*draws, *runs("rdskd", 0.9)]) == "Draws have the seeds 0, 100."


def test_a_sweep_at_a_setting_that_is_not_published_says_so(tmp_path: Path) -> None:
    def swept_at(method: str, **options: Any) -> list[Record]:
        return [
            record
            for temperature in (1.0, 20.0)
            for record in runs(method, 0.9, 0.8, params={"temperature": temperature}, **options)
        ]

    def page(records: Sequence[Record]) -> str:
        output = tmp_path / "robustness.md"
        context = SweepContext(added_defaults)
        scan = Scan(records=list(records), planned={})
        files = robustness_files(scan, ["rdskd", "dafl"], "digits", None, output, context)
        return files[output].decode()

    assert SWEPT not in page([*swept_at("rdskd"), *swept_at("dafl")])
    assert SWEPT in page([*swept_at("rdskd"), *swept_at("dafl", lr=0.02)])


def test_the_draws_that_are_asked_for_are_more_than_there_were() -> None:
    scores = {"a": [0.1, 0.5, 0.9, 0.4], "b": [0.2, 0.6, 0.99, 0.5]}
    wide = {name: [x + 0.1 * i for i, x in enumerate(own)] for name, own in scores.items()}
    (claim,) = score_claims(wide).values()
    effect = abs(np.mean(wide["a"]) - np.mean(wide["b"])) / math.sqrt(
        np.var(wide["a"], ddof=1) + np.var(wide["b"], ddof=1)
    )
    assert claim.seeds_needed == seeds_for_effect(effect)
    clear = {"a": [0.1, 0.2, 0.3, 0.9], "b": [0.5, 0.8, 0.85, 0.95]}
    (claim,) = score_claims(clear).values()
    assert claim.seeds_needed is not None
    assert claim.seeds_needed > 4


def test_two_draws_are_too_few_to_tell_robustness_apart() -> None:
    (claim,) = score_claims({"a": [0.9, 0.91], "b": [0.1, 0.11]}).values()
    assert (claim.verdict, claim.seeds_needed) == ("insufficient", 4)  # 2 / C(8, 4) = 0.029
    spread = [i / 10 for i in range(8)]
    for few in (3, 4):  # ties make no p smaller than the divisions allow
        (claim,) = score_claims({"a": [0.0] * 3, "b": [0.9] * few}).values()
        assert (claim.verdict, claim.p) == ("insufficient", None)
    (clear,) = score_claims({"a": [9 + s for s in spread], "b": spread}).values()
    assert clear.shown


def test_draws_of_many_methods_are_told_apart_as_those_of_two() -> None:
    """Four draws were insufficient for three methods after Holm's correction."""
    four = {str(i): [i + d / 100 for d in range(4)] for i in range(9)}
    assert {claim.verdict for claim in score_claims(four).values()} == {"shown"}


def test_the_more_robust_is_the_one_with_the_higher_mean_of_which_there_is_a_test() -> None:
    often = [0.81 + i / 1000 for i in range(18)] + [0.0] * 6
    always = [0.71 + i / 1000 for i in range(24)]
    (claim,) = score_claims({"often": often, "always": always}).values()
    assert not claim.shown
    better = [0.9 + i / 1000 for i in range(24)]
    (claim,) = score_claims({"often": often, "better": better}).values()
    pooled = np.array(often + better)
    shuffled = np.array([np.random.default_rng(i).permutation(pooled) for i in range(4000)])
    t = stats.ttest_ind(shuffled[:, :24], shuffled[:, 24:], axis=1, equal_var=False).statistic
    observed = stats.ttest_ind(often, better, equal_var=False).statistic
    beyond = np.mean(np.abs(t) >= abs(observed) - 1e-9)
    assert claim.p == pytest.approx(beyond, abs=0.004)


def test_the_leaderboard_shows_robustness_beside_the_headline_and_no_sweeps() -> None:
    records = [
        *runs("a", 0.9, 0.91),
        *sweep(2),
        *runs("a", 0.545, lr=0.1, purpose="draw"),
        *runs("b", 0.2, purpose="draw"),
    ]
    (table,) = tables(Scan(records=records))
    assert [row.method for row in table.rows] == ["a"]
    assert headline_grid(table).column("robustness") == ["0.50 (1)"]
    (plain,) = tables(Scan(records=runs("a", 0.9)))
    assert "robustness" not in headline_grid(plain).names


def test_fluctuation_is_the_noise_around_a_trend() -> None:
    values = [1.0, 3.0, 2.0, 5.0]
    assert fluctuation(values) == pytest.approx(math.sqrt((4 + 1 + 9) / 3 / 2))
    noise = np.random.default_rng(0).normal(0, 0.3, 4000)
    trend = np.linspace(0, 50, 4000)
    assert fluctuation((trend + noise).tolist()) == pytest.approx(0.3, rel=0.05)
    assert fluctuation([1.0, 2.0]) is None


def test_stability_looks_at_the_generators_terms_in_their_second_half() -> None:
    steps = [float(i) for i in range(9)]
    curve = {"step": steps, "value": [100.0, -100.0, 100.0, -100.0, 1.0, 3.0, 1.0, 3.0, 1.0]}
    curves = {"synthesis/entropy": curve, "distillation/loss": curve}
    found = loss_stability([make_record(seed=4, curves=curves)])
    assert found == {"entropy": {4: pytest.approx(math.sqrt(2))}}


# Commands


def test_compare_answers_and_saves_the_plot(tmp_path: Path) -> None:
    results = stored(tmp_path / "results", sweep())
    plot = tmp_path / "plots" / "lr.svg"
    arguments = ("--task", "digits", "--over", "generator_lr", "--results", results, "--plot", plot)
    done = dfkd("compare", STEADY, SHAKY, *arguments)
    assert done.exit_code == 0, done.output
    assert "RDSKD is less sensitive to" in done.output
    first = plot.read_bytes()
    assert b"<svg" in first
    assert dfkd("compare", STEADY, SHAKY, *arguments).output == done.output
    assert plot.read_bytes() == first


def test_three_methods_are_also_drawn_at_their_mean_ranks(tmp_path: Path) -> None:
    records = [*noisy("a", 0.9, 12), *noisy("b", 0.7, 12), *noisy("c", 0.5, 12)]
    results, plot = stored(tmp_path / "results", records), tmp_path / "plots" / "all.svg"
    arguments = ("compare", *"abc", "--task", "digits", "--results", results, "--plot", plot)
    done = dfkd(*arguments)
    assert done.exit_code == 0, done.output
    ranks = plot.with_name("all-ranks.svg")
    assert f"plot: {ranks}" in done.output
    drawn = ranks.read_bytes()
    assert b"<svg" in drawn
    assert dfkd(*arguments).exit_code == 0
    assert ranks.read_bytes() == drawn


def test_too_few_seeds_draw_no_ranks(tmp_path: Path) -> None:
    records = [*noisy("a", 0.9, 5), *noisy("b", 0.7, 5), *noisy("c", 0.5, 5)]
    results, plot = stored(tmp_path / "results", records), tmp_path / "all.svg"
    plot.with_name("all-ranks.svg").write_text("of more records")
    done = dfkd("compare", *"abc", "--task", "digits", "--results", results, "--plot", plot)
    assert done.exit_code == 0, done.output
    assert [path.name for path in tmp_path.glob("*.svg")] == ["all.svg"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([STEADY], "two or more different methods"),
        ([STEADY, STEADY], "two or more different methods"),
        ([STEADY, SHAKY, "--plot", "x.docx"], "must end in .svg, .png or .pdf"),
        ([STEADY, SHAKY, "--over", "lr"], "no parameter 'lr'"),
    ],
)
def test_a_comparison_that_cannot_be_is_refused_in_one_line(
    tmp_path: Path, arguments: list[str], says: str
) -> None:
    results = stored(tmp_path / "results", sweep(1))
    done = dfkd("compare", *arguments, "--task", "digits", "--results", results)
    assert done.exit_code == 2
    assert says in one_line(done.output)


def test_missing_results_are_named(tmp_path: Path) -> None:
    done = dfkd("compare", STEADY, SHAKY, "--task", "digits", "--results", tmp_path / "absent")
    assert done.exit_code == 2
    assert "does not exist" in one_line(done.output)


def test_the_document_says_what_the_records_say(tmp_path: Path) -> None:
    curve = {"step": [float(i) for i in range(9)], "value": [0.1 * i * (-1) ** i for i in range(9)]}
    draws = [
        record
        for method, mean in ((STEADY, 0.9), (SHAKY, 0.5))
        for i in range(8)
        for record in runs(method, mean + i / 100, lr=1.0 + i, purpose="draw")
    ]
    headline = [
        record
        for method in (STEADY, SHAKY)
        for record in noisy(method, 0.9, curves={"synthesis/entropy": curve})
    ]
    results = stored(tmp_path / "results", [*sweep(), *draws, *headline])
    output = tmp_path / "docs" / "robustness.md"
    arguments = (STEADY, SHAKY, "--task", "digits", "--results", results, "--output", output)
    done = dfkd("robustness", *arguments)
    assert done.exit_code == 0, done.output
    text = output.read_text(encoding="utf-8")
    assert "## Over `generator_lr`" in text
    assert "“At one setting each” and “Over `generator_lr`” use the same runs" in text
    assert text.index("## Summary") < text.index("## At one setting each")
    assert "**RDSKD is more robust than DAFL**, shown" in text
    assert "`entropy`, RDSKD or DAFL: not shown" in text
    for name in ("headline", "generator_lr", "draws"):
        assert (output.parent / "robustness" / f"{name}.svg").is_file()
        assert f"(robustness/{name}.svg)" in text


def test_the_document_says_insufficient_where_nothing_was_swept(tmp_path: Path) -> None:
    results = stored(tmp_path / "results", [*noisy(STEADY, 0.9), *noisy(SHAKY, 0.8)])
    output = tmp_path / "robustness.md"
    dfkd("robustness", STEADY, SHAKY, "--task", "digits", "--results", results, "--output", output)
    text = output.read_text(encoding="utf-8")
    assert "Insufficient: no setting of these methods was swept" in text
    assert "There are no draws by this rule yet" in text


def test_no_two_shipped_methods_look_alike() -> None:
    looks = [tuple(style(name).values()) for name in discover()]
    assert len(set(looks)) == len(looks)
