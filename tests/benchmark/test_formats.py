"""The leaderboard as CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmark.analysis.formats import csv_text, escaped, latex
from benchmark.analysis.leaderboard import published
from benchmark.analysis.markdown import markdown
from benchmark.analysis.plots import arms
from benchmark.analysis.statistics.intervals import BCA_FROM, mean_interval
from benchmark.analysis.tables import tables
from benchmark.cli import app
from benchmark.store import Scan, Store
from tests.helpers import failed_record, make_record, one_line

RECORDS = [
    *(make_record(method="a", seed=s, accuracy=x) for s, x in enumerate((0.9, 0.92, 0.94))),
    make_record(method="b", title="50 % of A_B & more", access="train images", accuracy=0.8),
    failed_record("error", method="c"),
]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    store = Store(tmp_path / "results")
    for record in RECORDS:
        store.put(record)
    return store.root


def board(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, ["leaderboard", *map(str, arguments)])


def test_csv_has_every_row_with_numbers_as_fractions() -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(Scan(RECORDS)))))
    by_method = {row["method"]: row for row in rows}
    a = by_method["a"]
    assert float(a["mean"]) == pytest.approx(0.92)
    assert float(a["half_width"]) == pytest.approx(4.302653 * 0.02 / 3**0.5, rel=1e-5)
    assert float(a["high"]) - float(a["low"]) == pytest.approx(2 * float(a["half_width"]))
    assert (a["n_ok"], a["n_planned"], a["access"]) == ("3", "3", "data-free")
    assert float(a["teacher_queries"]) == 100
    assert by_method["c"]["mean"] == ""
    assert by_method["c"]["rank"] == ""
    assert by_method["b"]["title"] == "50 % of A_B & more"


def test_many_seeds_have_the_ends_of_a_bootstraps_interval_everywhere() -> None:
    skewed = [0.9 - 0.4 * x**3 for x in np.linspace(0, 1, BCA_FROM)]
    records = [make_record(method="a", seed=s, accuracy=x) for s, x in enumerate(skewed)]
    expected = mean_interval(skewed)
    assert expected is not None
    assert expected.method == "BCa"
    below, above = arms(skewed)
    assert below > above
    (row,) = csv.DictReader(io.StringIO(csv_text(Scan(records))))
    assert (float(row["low"]), float(row["high"])) == pytest.approx((expected.low, expected.high))
    shown = f"({100 * expected.low:.2f} to {100 * expected.high:.2f})"
    assert shown in markdown(Scan(records))
    assert shown in latex(Scan(records))
    few = make_record(method="a", seed=0), make_record(method="a", seed=1)
    assert "90.00 ± 0.00" in markdown(Scan([*few]))


def test_csv_quotes_published_numbers_as_fractions() -> None:
    records = [make_record(method="rdskd", task="mnist", seed=seed) for seed in range(2)]
    (table,) = tables(Scan(records))
    ((cell,), _) = published(table)
    (row,) = csv.DictReader(io.StringIO(csv_text(Scan(records))))
    assert float(row["published"]) == pytest.approx(float(cell.split()[0]) / 100)


def test_latex_escapes_and_keeps_access_classes_apart() -> None:
    text = latex(Scan(RECORDS))
    assert r"50 \% of A\_B \& more" in text
    assert r"92.00 $\pm$ 4.97" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 3
    ranked = text[text.rindex(r"\begin{tabular}") :]
    assert ranked.index("92.00") < ranked.rindex(r"\midrule") < ranked.index("A\\_B")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b", r"a\_b"),
        ("\\", r"\textbackslash{}"),
        ("{~^}", r"\{\textasciitilde{}\textasciicircum{}\}"),
    ],
)
def test_special_characters_are_printed_as_they_are(text: str, expected: str) -> None:
    assert escaped(text) == expected


@pytest.mark.parametrize("form", ["latex", "csv"])
def test_forms_are_written_and_checked(results: Path, tmp_path: Path, form: str) -> None:
    output = tmp_path / "table"
    readme = tmp_path / "README.md"
    readme.write_text("<!-- leaderboard digits tiny -->\nold\n<!-- end leaderboard -->\n")
    options = ("--results", results, "--output", output, "--format", form)
    assert board(*options).exit_code == 0
    assert board(*options, "--check").exit_code == 0
    assert "old" in readme.read_text()
    output.write_text("edited")
    stale = board(*options, "--check")
    assert stale.exit_code == 1
    assert f"--format {form}" in stale.output


def test_an_unknown_form_is_answered_in_one_line(results: Path) -> None:
    done = board("--results", results, "--format", "latx")
    assert done.exit_code == 2
    assert "did you mean 'latex'?" in one_line(done.output)
