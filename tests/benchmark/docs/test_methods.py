from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.docs.methods import (
    by_access,
    differences_of,
    fill_list,
    index,
    method_files,
    suites_of,
)
from benchmark.records.store import Scan
from methods.base.registry import discover
from tests.helpers import make_record

METHODS = discover([])


def page(name: str, scan: Scan, docs: Path) -> str:
    return method_files(scan, METHODS, docs)[docs / "methods" / f"{name}.md"].decode()


@pytest.fixture(scope="module")
def scan() -> Scan:
    records = [make_record(method="noise", task="digits", seed=seed) for seed in range(3)]
    return Scan(records, [])


def test_every_method_has_a_page_and_a_line_in_the_list(scan: Scan, tmp_path: Path) -> None:
    files = method_files(scan, METHODS, tmp_path)
    assert {path.stem for path in files} == {*METHODS, "index"}
    for name, method in METHODS.items():
        assert f"[{method.title}]({name}.md)" in index(METHODS)


def test_a_page_has_every_parameter_with_its_source(scan: Scan, tmp_path: Path) -> None:
    text = page("rdskd", scan, tmp_path)
    params = METHODS["rdskd"].Params
    for name, field in params.model_fields.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{name}` |"))
        assert params.info(name).source.replace("|", "\\|") in row
        assert str(field.description) in row.replace("\\|", "|")


def test_a_page_begins_with_the_equations_of_its_file(scan: Scan, tmp_path: Path) -> None:
    assert "exp(L_oh − L_oh^prev) + exp(L_ie − L_ie^prev) + L_ds" in page("rdskd", scan, tmp_path)


def test_a_page_shows_the_records_of_its_method_only(scan: Scan, tmp_path: Path) -> None:
    assert "## Results here" in page("noise", scan, tmp_path)
    assert "| 3/3 |" in page("noise", scan, tmp_path)
    assert "## Results here" not in page("rdskd", scan, tmp_path)


def test_published_numbers_point_to_their_protocol(scan: Scan, tmp_path: Path) -> None:
    text = page("rdskd", scan, tmp_path)
    row = next(line for line in text.splitlines() if "| 97.30 |" in line)
    number = row.split("[")[1].split("]")[0]
    said = next(line for line in text.splitlines() if line.startswith(f"{number}. "))
    assert "teacher 97.94" in said


def test_differences_belong_to_every_method_that_their_cell_names(tmp_path: Path) -> None:
    page = tmp_path / "differences.md"
    page.write_text("| what | here | there |\n|---|---|---|\n| CMI, NAYER, pool | one | two |\n")
    found = differences_of(page)
    assert found["cmi"] == found["nayer"] == [("CMI, NAYER, pool", "one", "two")]
    assert "pool" not in found


def test_a_difference_stands_on_its_methods_page(scan: Scan, tmp_path: Path) -> None:
    (tmp_path / "differences.md").write_text("| RDSKD, distance | nearer | farther |\n")
    assert "| RDSKD, distance | nearer | farther |" in page("rdskd", scan, tmp_path)
    assert "farther" not in page("mskd", scan, tmp_path)


def test_a_picture_is_shown_where_there_is_one(scan: Scan, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "digits-rdskd.png").touch()
    assert "](../images/digits-rdskd.png)" in page("rdskd", scan, tmp_path)
    assert "digits-rdskd" not in page("mskd", scan, tmp_path)


def test_suites_are_those_that_run_the_method() -> None:
    assert "mnist" in suites_of(["rdskd"])["rdskd"]
    assert suites_of(["nobody"]) == {"nobody": []}


def test_methods_are_listed_by_what_they_see() -> None:
    classes = by_access(METHODS)
    assert next(iter(classes)) == "data-free"
    assert METHODS["noise"] in classes["controls"]
    assert METHODS["degan"] in classes["proxy images"]
    assert sum(map(len, classes.values())) == len(METHODS)


def test_the_list_of_a_readme_is_filled_between_its_marks() -> None:
    text = "before\n<!-- methods:begin -->\nold\n<!-- methods:end -->\nafter\n"
    filled = fill_list(text, METHODS, "docs/methods")
    assert "old" not in filled
    assert "[RDSKD](docs/methods/rdskd.md)" in filled
    assert filled.startswith("before\n")
    assert filled.endswith("\nafter\n")
    assert fill_list(filled, METHODS, "docs/methods") == filled
