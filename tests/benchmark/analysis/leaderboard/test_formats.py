"""The leaderboard as CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from benchmark.analysis.comparison.plots import arms
from benchmark.analysis.leaderboard.cells import headline_grid
from benchmark.analysis.leaderboard.formats import csv_text, escaped, latex
from benchmark.analysis.leaderboard.markdown import markdown
from benchmark.analysis.leaderboard.quotes import published
from benchmark.analysis.leaderboard.tables import QUANTISED as FORMS
from benchmark.analysis.leaderboard.tables import SIZES, tables
from benchmark.analysis.leaderboard.terminal import print_table
from benchmark.analysis.statistics.intervals import BCA_FROM, mean_interval
from benchmark.cli.program import app
from benchmark.records.record import ImageQuality, Measured, Record
from benchmark.records.store import Scan, Store
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


def lines(records: Sequence[Record], task: str = "") -> list[dict[str, str]]:
    """Of the CSV, those of a task; without one, those of all tasks but not of their overall."""
    found = csv.DictReader(io.StringIO(csv_text(Scan(list(records)))))
    return [row for row in found if (row["task"] == task if task else row["task"] != "overall")]


def test_csv_has_every_row_with_numbers_as_fractions() -> None:
    by_method = {row["method"]: row for row in lines(RECORDS)}
    a = by_method["a"]
    assert float(a["mean"]) == pytest.approx(0.92)
    assert float(a["half_width"]) == pytest.approx(4.302653 * 0.02 / 3**0.5, rel=1e-5)
    assert float(a["high"]) - float(a["low"]) == pytest.approx(2 * float(a["half_width"]))
    assert (a["n_ok"], a["n_planned"], a["access"]) == ("3", "3", "data-free")
    assert float(a["teacher_queries"]) == 100
    assert float(by_method["c"]["mean"]) == 0.1, "it failed, and counts at chance"
    assert by_method["c"]["mean_finished"] == ""
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
    (row,) = lines(records)
    assert (float(row["low"]), float(row["high"])) == pytest.approx((expected.low, expected.high))
    shown = f"({100 * expected.low:.2f} to {100 * expected.high:.2f})"
    assert shown in markdown(Scan(records))
    assert shown in latex(Scan(records))
    few = make_record(method="a", seed=0), make_record(method="a", seed=1)
    assert "90.00 ± 0.00" in markdown(Scan([*few]))


def test_csv_quotes_published_numbers_as_fractions() -> None:
    settings = {"generator_lr": 0.001}
    records = [
        make_record(method="rdskd", task="mnist", seed=seed, params=settings) for seed in range(2)
    ]
    (table,) = tables(Scan(records))
    cells, _ = published(table)
    (cell,) = cells.values()
    (row,) = lines(records)
    assert float(row["published"]) == pytest.approx(float(cell.split()[0]) / 100)


def test_csv_counts_collapsed_runs_and_says_how_sure_a_robustness_is() -> None:
    draws = [
        make_record(accuracy=a, params={"temperature": t}, purpose="draw")
        for t, a in ((1.0, 0.99), (2.0, 0.545), (3.0, 0.1))
    ]
    runs = [make_record(seed=0), make_record(seed=1, accuracy=0.1, status="collapsed")]
    (row,) = lines([*runs, *draws, failed_record(seed=2)])
    assert (row["collapsed"], row["n_ok"], row["n_planned"]) == ("1", "2", "3")
    assert (float(row["robustness"]), row["robustness_draws"]) == (pytest.approx(0.5), "3")
    # 1, 0.5 and 0: t(0.975, 2) · 0.5 / √3
    assert float(row["robustness_half_width"]) == pytest.approx(4.302653 * 0.5 / 3**0.5, rel=1e-5)
    assert lines(runs)[0]["robustness_draws"] == ""


def with_images(record: Record, fid: float, extractor: str = "task", images: int = 5000) -> Record:
    found = Measured(images=images, metrics={"fid": fid, "inception_score": 2.5})
    quality = ImageQuality(
        version=1,
        extractor="a critic",
        checksum="c" * 16,
        dtype="float32",
        batch=250,
        reference=10000,
        pairs=2000,
        samples=found,
        real_test=found,
        noise=found,
    )
    return record.model_copy(update={"quality": {**record.quality, extractor: quality}})


def test_csv_has_the_image_metrics_of_most_runs() -> None:
    runs = [with_images(make_record(seed=seed), 10.0 + seed) for seed in range(2)]
    runs += [with_images(make_record(seed=7), 99.0, images=50)]
    first, other = lines([*runs, make_record(method="unmeasured", accuracy=0.5)])
    assert (first["task_n"], first["task_samples"], first["task_extractor"]) == (
        *("2", "5000"),
        "c" * 16,
    )
    assert float(first["fid_task"]) == pytest.approx(10.5)
    # t(0.975, 1) · 0.7071 / √2
    assert float(first["fid_task_half_width"]) == pytest.approx(12.7062 / 2, rel=1e-4)
    assert float(first["inception_score_task"]) == 2.5
    assert (first["kid_task"], first["fid_inception"], other["fid_task"]) == ("", "", "")


QUANTISED = {
    "accuracy_full_precision": 0.95,
    "accuracy_int8": 0.875,
    "kib_full_precision": 2048.0,
    "kib_int8": 512.25,
}
"""What the record of a student of 8 bits holds beside its own score."""


def quantised(metric: str = "accuracy") -> list[Record]:
    """Two seeds of a student of 8 bits, one of 4, one that was not quantised."""
    eight = {name.replace("accuracy", metric): value for name, value in QUANTISED.items()}
    four = {"kib_full_precision": 2048.0, "kib_int4": 260.0, f"{metric}_full_precision": 0.95}
    return [
        make_record(method="eight", seed=0, metric=metric, metrics=eight),
        make_record(method="eight", seed=1, metric=metric, metrics={**eight, "kib_int8": 513.75}),
        make_record(method="four", metric=metric, metrics=four, accuracy=0.8),
        make_record(method="plain", metric=metric, accuracy=0.5),
    ]


@pytest.mark.parametrize(("metric", "called"), [("accuracy", "accuracy"), ("miou", "mIoU")])
def test_tables_show_quantised_students_where_there_are_any(metric: str, called: str) -> None:
    (table,) = tables(Scan(quantised(metric)))
    grid = headline_grid(table)
    by_method = {
        row.method: dict(zip(grid.names, line, strict=True))
        for row, line in zip(grid.rows, grid.body, strict=True)
    }
    names = [f"full-precision {called}, %", f"int8 {called}, %"]
    sizes = ["full-precision KiB", "int8 KiB", "int4 KiB"]
    assert grid.names[-5:] == (*names, *sizes)
    shown = {method: [line[n] for n in (*names, *sizes)] for method, line in by_method.items()}
    assert shown == {
        "eight": ["95.00", "87.50", "2,048.0", "513.0", "–"],
        "four": ["95.00", "–", "2,048.0", "–", "260.0"],
        "plain": ["–"] * 5,
    }
    text = markdown(Scan(quantised(metric)))
    assert f"| int8 {called}, % |" in text
    console = Console(width=300, record=True, file=io.StringIO())
    print_table(table, console)
    printed = console.export_text()
    for made in (printed, latex(Scan(quantised(metric))).replace("\\%", "%")):
        assert f"int8 {called}, %" in made
        assert "int4 KiB" in made
    assert "513.0" in printed
    (plain,) = tables(Scan([make_record(metric=metric)]))
    assert not any("int8" in name or "KiB" in name for name in headline_grid(plain).names)


def test_only_the_columns_that_some_run_fills_are_shown() -> None:
    (table,) = tables(Scan(quantised()[2:]))
    names = ("full-precision accuracy, %", "full-precision KiB", "int4 KiB")
    assert headline_grid(table).names[-3:] == names
    assert not tables(Scan([failed_record(metrics={"kib_int8": 1.0})]))[0].forms


def test_csv_has_scores_and_sizes_of_quantised_students_as_they_are_recorded() -> None:
    by_method = {row["method"]: row for row in lines(quantised())}
    eight, four, plain = (by_method[name] for name in ("eight", "four", "plain"))
    assert float(eight["mean_int8"]) == 0.875
    assert float(eight["mean_full_precision"]) == 0.95
    assert float(eight["kib_int8"]) == 513.0
    assert (eight["kib_int4"], four["mean_int8"]) == ("", "")
    assert (float(four["kib_int4"]), float(four["kib_full_precision"])) == (260.0, 2048.0)
    quantised_only = [*(f"mean_{form}" for form in FORMS), *(f"kib_{form}" for form in SIZES)]
    assert {plain[name] for name in quantised_only} == {""}
    maps = {row["method"]: row for row in lines(quantised("miou"))}
    assert float(maps["eight"]["mean_int8"]) == 0.875


def test_csv_begins_with_the_methods_over_all_tasks() -> None:
    records = [
        make_record(task=task, method=method, seed=seed, accuracy=accuracy)
        for task in ("x", "y")
        for method, accuracy in (("a", 0.99), ("b", 0.545))
        for seed in (0, 1)
    ]
    best, worse = lines([*records, failed_record(task="x", method="b", seed=2)], "overall")
    assert (best["method"], best["rank"], best["budget"]) == ("a", "1.0", "tiny")
    assert float(best["mean"]) == pytest.approx(1)
    assert float(worse["mean"]) == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert (worse["n_ok"], worse["n_planned"], worse["collapsed"]) == ("4", "5", "0")
    assert best["metric"] == "normalised score"
    assert len(lines(records, "x")) == 2


def test_latex_has_the_image_metrics_below_their_table() -> None:
    text = latex(Scan([with_images(make_record(seed=seed), 10.0 + seed) for seed in range(2)]))
    assert r"FID $\downarrow$" in text
    assert r"10.50 $\pm$ 6.35" in text
    assert text.index("budget tiny") < text.index("Image quality, extractor task")
    labels = re.findall(r"label\{(.*?)\}", text)
    assert len(labels) == len(set(labels)) == 2


def test_latex_escapes_and_keeps_access_classes_apart() -> None:
    text = latex(Scan(RECORDS))
    assert r"50 \% of A\_B \& more" in text
    assert r"92.00 $\pm$ 4.97" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 1
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
