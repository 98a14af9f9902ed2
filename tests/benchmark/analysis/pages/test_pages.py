"""Tests of `dfkd pages`: every page of results is made of the records, and checked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from benchmark.analysis import page_files
from benchmark.analysis.leaderboard.tables import Table, tables
from benchmark.analysis.pages.readme import fill_results
from benchmark.analysis.pages.results import results_page, table_section
from benchmark.analysis.pages.wording import listed, ranged
from benchmark.analysis.text import counted
from benchmark.cli.program import app
from benchmark.published.papers import load_published
from benchmark.records.record import Record
from benchmark.records.store import Scan, Store
from tests.helpers import make_record

README = """# Mine

<!-- results:begin digits tiny -->
typed by hand
<!-- results:end -->

The end.
"""


def dfkd(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["pages", *map(str, arguments)])


def seeds_of(method: str, mean: float, n: int = 10, **options: object) -> list[Record]:
    """Runs of a method whose scores lie about a mean, the seeds' noise shared by all methods."""
    noise = np.random.default_rng(0).normal(0, 0.004, n)
    return [
        make_record(method=method, seed=i, accuracy=mean + float(noise[i]), **options)  # type: ignore[arg-type]
        for i in range(n)
    ]


def only_table(records: Sequence[Record]) -> Table:
    (found,) = tables(Scan(list(records)))
    return found


def section(records: Sequence[Record]) -> str:
    return table_section(only_table(records))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder of results with a README beside its pages."""
    folder = tmp_path / "results"
    records = [
        *seeds_of("rdskd", 0.9),
        *seeds_of("dafl", 0.8),
        *seeds_of("noise", 0.3),
        *seeds_of("rdskd", 0.9, n=2, task="mnist"),
        *seeds_of("dafl", 0.8, n=2, task="mnist"),
    ]
    for record in records:
        Store(folder).put(record)
    (folder / "README.md").write_text(README, encoding="utf-8")
    return folder


def test_every_page_is_written_and_then_agrees(results: Path) -> None:
    assert dfkd("--results", results).exit_code == 0
    for name in ("leaderboard", "docs/results", "docs/robustness", "docs/image-quality"):
        assert (results / f"{name}.md").is_file(), name
    readme = (results / "README.md").read_text(encoding="utf-8")
    assert readme.startswith("# Mine")
    assert readme.endswith("The end.\n")
    assert "typed by hand" not in readme
    assert "| RDSKD | as published |" in readme
    before = {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}
    checked = dfkd("--check", "--results", results)
    assert checked.exit_code == 0
    assert "every page agrees" in checked.output
    assert dfkd("--results", results).output == "34 records\n"
    assert {path: path.read_bytes() for path in before} == before


def test_pages_that_were_edited_by_hand_are_named(results: Path) -> None:
    dfkd("--results", results)
    true = {path: path.read_text(encoding="utf-8") for path in results.rglob("*.md")}
    assert len(true) == 5
    for path, text in true.items():
        edited = (
            text.replace("90.", "97.") if "90." in text else text.replace(". ", ", surely. ", 1)
        )
        assert edited != text
        path.write_text(edited, encoding="utf-8")
    done = dfkd("--check", "--results", results)
    assert done.exit_code == 1
    for path, text in true.items():
        said = f"'{path}' does not agree with '{results}'; run: dfkd pages --results {results}"
        assert said in done.output.splitlines()
        assert path.read_text(encoding="utf-8") != text
    assert dfkd("--results", results).exit_code == 0
    assert {path: path.read_text(encoding="utf-8") for path in true} == true


def test_a_new_record_makes_pages_stale(results: Path) -> None:
    dfkd("--results", results)
    Store(results).put(make_record(method="dafl", seed=10, accuracy=0.1, status="collapsed"))
    done = dfkd("--check", "--results", results)
    assert done.exit_code == 1
    for page in ("leaderboard.md", "results.md", "README.md"):
        assert page in done.output


def test_text_outside_the_marks_is_left_alone(results: Path) -> None:
    dfkd("--results", results)
    readme = results / "README.md"
    readme.write_text(readme.read_text(encoding="utf-8") + "More.\n", encoding="utf-8")
    assert dfkd("--check", "--results", results).exit_code == 0


def test_figures_that_no_page_shows_any_more_are_named_and_removed(tmp_path: Path) -> None:
    page, old = tmp_path / "docs" / "page.md", tmp_path / "docs" / "page" / "old.svg"
    old.parent.mkdir(parents=True)
    old.write_text("<svg/>")
    other = old.with_name("of-somebody-else.svg")
    other.write_text("<svg/>")
    page.write_text("![Old](page/old.svg)\n", encoding="utf-8")
    files: page_files.Files = {page: b"No figure.\n"}
    assert page_files.stale(files) == [page, old]
    assert page_files.write(files) == [page, old]
    assert not old.exists()
    assert other.exists()
    assert page_files.stale(files) == []


@pytest.mark.parametrize(
    ("there", "wanted", "current"),
    [
        (
            b"<dc:title>Matplotlib v3.9, x</dc:title> a",
            b"<dc:title>Matplotlib v3.9, x</dc:title> b",
            False,
        ),
        (
            b"<dc:title>Matplotlib v3.9, x</dc:title> a",
            b"<dc:title>Matplotlib v4.0, x</dc:title> b",
            True,
        ),
        (b"a", b"<dc:title>Matplotlib v4.0, x</dc:title> b", False),
    ],
)
def test_a_figure_may_be_drawn_by_another_matplotlib(
    tmp_path: Path, there: bytes, wanted: bytes, current: bool
) -> None:
    path = tmp_path / "figure.svg"
    path.write_bytes(there)
    assert (page_files.stale({path: wanted}) == []) is current


def test_what_is_shown_is_said_with_its_numbers() -> None:
    text = section([*seeds_of("rdskd", 0.9), *seeds_of("dafl", 0.8), *seeds_of("noise", 0.3)])
    assert "All 3 pairs are *shown* to differ." in text
    assert "**RDSKD** is shown to be better than every other row." in text
    assert "Shown to be better than the control (NOISE): RDSKD and DAFL." in text
    assert "- **RDSKD** is better than DAFL (+10.00 points, +10.00 to +10.00; p = 0.002" in text
    assert "n = 10" in text


def test_the_winner_s_difference_is_positive_whichever_row_comes_first() -> None:
    shared = {"access": "proxy images"}
    ours = seeds_of("rdskd", 0.8, **shared)
    theirs = [
        make_record(method="dafl", seed=i, accuracy=0.9, metrics={"accuracy_oracle": 0.9}, **shared)  # type: ignore[arg-type]
        for i in range(10)
    ]
    assert "- **DAFL** is better than RDSKD (+" in section([*ours, *theirs])


def test_what_is_not_shown_names_the_seeds_it_would_take() -> None:
    rng = np.random.default_rng(1)
    records = [
        make_record(method=method, seed=i, accuracy=0.9 + float(rng.normal(0, 0.01)))
        for method in ("rdskd", "dafl")
        for i in range(8)
    ]
    text = section(records)
    assert "The only pair is *not shown* to differ." in text
    assert "RDSKD or DAFL" in text or "DAFL or RDSKD" in text
    assert "n = 8; it would take" in text


def test_few_seeds_are_insufficient_and_claim_nothing() -> None:
    text = section([*seeds_of("rdskd", 0.9, n=3), *seeds_of("dafl", 0.2, n=3)])
    assert (
        "The only pair is *insufficient* (3 common seeds; fewer than 6 can show nothing)." in text
    )
    assert "better" not in text
    assert "p =" not in text


def test_collapses_have_the_interval_of_their_rate() -> None:
    fallen = [
        make_record(method="dafl", seed=i, accuracy=0.1, status="collapsed") for i in range(2)
    ]
    standing = [make_record(method="dafl", seed=i) for i in range(2, 5)]
    text = section([*fallen, *standing, *seeds_of("rdskd", 0.9)])
    assert "2 of 5 students of DAFL ended at chance (the rate is 11 to 77 %)." in text
    assert "No student of RDSKD did (0 of 10 each: at most 28 %)." in text


def test_runs_that_never_were_are_said_and_not_compared() -> None:
    whole = seeds_of("dafl", 0.8, n=8)
    halted = make_record(method="rdskd", seed=9, accuracy=None, status="interrupted")
    text = section([*seeds_of("rdskd", 0.9, n=8), halted, *whole, *seeds_of("mskd", 0.5, n=8)])
    assert "The only pair is *shown* to differ." in text
    assert "RDSKD (1 missing)." in text


def test_methods_alone_in_their_classes_are_said_to_be_so_each() -> None:
    proxy = [make_record(method="b", seed=i, access="proxy images") for i in range(2)]
    one = table_section(only_table([*seeds_of("a", 0.9), *seeds_of("c", 0.8), *proxy]))
    assert "Alone in its access class, and so not compared: B (proxy images)." in one
    two = table_section(only_table([*seeds_of("a", 0.9), *proxy]))
    assert "Each alone in its access class, and so not compared: A (data-free) and B" in two


def test_a_tuned_row_is_compared_with_the_published_one() -> None:
    how = "16 trials, by agreement"
    tuned = seeds_of(
        "dafl", 0.95, params={"temperature": 3.0}, changed={"temperature": 3.0}, tuned=how
    )
    text = section([*seeds_of("dafl", 0.8), *tuned])
    assert "- **DAFL (tuned)** is better than DAFL (as published) (+15.00 points" in text
    assert "- Tuned, against the published setting: DAFL better (+15.00 points" in text
    assert how in text


def test_programs_and_work_are_told_or_said_to_be_missing() -> None:
    known = seeds_of("rdskd", 0.9, work=2e12, fingerprint="feedbeef0000")
    text = section([*known, *seeds_of("dafl", 0.8)])
    assert "Code with 1 fingerprint made 10 of them (`feedbeef` 10); the code of the other" in text
    assert "Work of a run, in TFLOP: RDSKD 2.0." in text
    assert "Work was not recorded for DAFL." in text


def test_the_papers_numbers_come_from_the_published_data() -> None:
    ours = seeds_of("kd-real", 0.9, task="mnist", metrics={"accuracy_oracle": 0.91})
    page = results_page(Scan(ours), load_published())
    assert "### DAFL, Table 1" in page
    assert "| MNIST: kd-real | 91.00 ± 0.00 | 10/10 | 98.91 | −7.91 | budgets differ" in page
    assert "- *budgets differ*: our runs do not follow the paper's schedule" in page
    empty = results_page(Scan(seeds_of("rdskd", 0.9)), load_published())
    assert "No published row has runs here yet." in empty


def test_no_records_are_said() -> None:
    assert "There are no records yet" in results_page(Scan(), load_published())
    assert "No records yet." in fill_results(README, Scan())


def test_sentences_are_grammatical() -> None:
    assert [counted(n, "run") for n in (0, 1, 1353)] == ["0 runs", "1 run", "1,353 runs"]
    assert listed([]) == ""
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a and b"
    assert listed(["a", "b", "c"], "or") == "a, b or c"
    assert listed(["KD, real", "noise", "x (y, z)"]) == "KD, real; noise; and x (y, z)"
    assert listed(["x (y, z)", "b"]) == "x (y, z) and b"
    assert ranged([4, 0, 1, 2, 3, 7, 9]) == "0 to 4, 7 and 9"
    assert ranged([5, 6]) == "5 and 6"
