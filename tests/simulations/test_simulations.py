"""Small forms of the simulations: they fail where the test of all pairs is Holm's, or none."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.analysis.statistics.claims import ALPHA
from tests.simulations import studies, tables, worlds
from tests.simulations.__main__ import PAGE, TABLES, main
from tests.simulations.page import page
from tests.simulations.tables import Section

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("kind", worlds.ERRORS)
@pytest.mark.parametrize("apart", [0.0, 3.0])
def test_equal_methods_are_seldom_told_apart_whether_or_not_others_differ(
    kind: str, apart: float
) -> None:
    shifts = worlds.halves(7, apart)
    ours, uncorrected = studies.rates(
        [studies.joint, studies.alone], shifts, 8, worlds.ERRORS[kind], 150, 1
    )
    assert ours.error <= ALPHA + 0.05  # three standard errors
    assert uncorrected.error > ALPHA + 0.05


@pytest.mark.parametrize(("methods", "n"), [(15, 10), (7, 6)])
def test_six_seeds_and_many_methods_can_be_told_apart(methods: int, n: int) -> None:
    """Holm's correction tells none of them apart, whatever their scores."""
    ours, holm = studies.rates(
        [studies.joint, studies.holm], worlds.halves(methods, 5.0), n, worlds.normal, 20, 2
    )
    assert holm.power == 0
    assert ours.power > 0.7


@pytest.mark.parametrize("name", studies.FURTHER)
def test_a_further_row_changes_no_verdict_but_where_it_could_be_equal_to_others(name: str) -> None:
    shifts = worlds.halves(tables.ADDED_TO, 2.0)
    ours, holm = studies.added_row(
        [studies.joint, studies.holm], shifts, studies.FURTHER[name], 10, 40, 3
    )
    assert ours.insufficient == 0
    assert ours.verdicts <= (0.08 if name.startswith("one more") else 0.0)
    assert holm.insufficient == 1
    assert holm.lost > 0.15


def test_a_method_that_met_no_collapse_is_told_apart_from_one_of_equal_mean() -> None:
    found = studies.rare_collapse(worlds.COLLAPSE, 10, 200, 4)
    assert found.unmet == pytest.approx(0.85**10, abs=0.09)
    assert found.joint == pytest.approx(found.unmet, abs=0.03)


def test_intervals_of_few_runs_do_not_cover_collapses_and_the_bound_does() -> None:
    found = [studies.coverage(worlds.COLLAPSE, n, 300, 5) for n in (3, 5, 10)]
    assert [own.interval for own in found] == pytest.approx([0.38, 0.54, 0.82], abs=0.09)
    assert all(own.interval == own.uncut for own in found)
    assert all(own.bound == 1 for own in found)
    assert studies.coverage(0.0, 5, 300, 5).interval == pytest.approx(0.95, abs=0.04)


def test_orders_keep_the_size_of_friedmans_test() -> None:
    by_orders, _ = studies.friedman(3, 6, 300, 6, 99)
    assert by_orders <= ALPHA + 0.04


def test_the_page_has_the_text_that_the_program_writes() -> None:
    """Its numbers take minutes; its text, and the constants in it, are compared here."""
    written = (ROOT / PAGE).read_text(encoding="utf-8")
    numbers = {name: Section("| § |", "§") for name in tables.STUDIES}
    pieces = page(numbers, TABLES).split("§\n\n| § |")
    assert len(pieces) == 1 + len(tables.STUDIES)
    for piece in pieces:
        assert piece.strip() in written


def test_check_compares_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {name: Section("| a |", "Numbers.") for name in tables.STUDIES}
    monkeypatch.setattr("tests.simulations.__main__.sections", lambda count: iter(made.items()))
    output = tmp_path / "statistics.md"
    assert main(output, check=True) == 1
    assert not output.exists()
    assert main(output) == 0
    assert main(output, check=True) == 0
    output.write_text(output.read_text(encoding="utf-8").replace("Numbers", "Number"))
    assert main(output, check=True) == 1
