"""The report in a browser: sorting, filtering, runs, phones and dark mode.

Needs the `browser` extra and a Chromium, the system's or playwright's own; skipped without.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmark.analysis.report.page import render
from benchmark.records.store import Scan
from tests.helpers import failed_record, make_record

playwright = pytest.importorskip(
    "playwright.sync_api", reason="no playwright: pip install 'dfkd-bench[browser]'"
)

NASTY = "<img src=x onerror=\"document.title='hacked'\">"
PHONE = {"width": 375, "height": 800}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        names = ("chromium", "chromium-browser", "google-chrome", "chrome")
        own = driver.chromium.executable_path
        path = next(filter(None, map(shutil.which, names)), own)
        if not Path(path).exists():
            pytest.skip("no Chromium: playwright install chromium-headless-shell, or your system's")
        opened = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    records = [
        make_record(method=name[0], title=name, seed=seed, accuracy=level + seed / 50, task=task)
        for task in ("mnist", "svhn")
        for name, level in (("Alpha", 0.5), ("Beta", 0.9), ("Gamma", 0.1))
        for seed in range(3)
    ]
    records += [
        make_record(method="D", title="Delta", access="train images", seed=seed, seconds=1.0 + seed)
        for seed in range(2)
    ]
    failed = failed_record("error", method="E", title="Epsilon").model_copy(
        update={"reason": NASTY}
    )
    records += [make_record(method="many", title="Many", task="x", seed=s) for s in range(250)]
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(Scan([*records, failed]), Path("results"), Path("none")), "utf-8")
    return path.as_uri()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The report; a message on the browser's console is an error."""
    yield from opened(browser, address)


def opened(browser: Any, address: str, **options: Any) -> Iterator[Any]:
    tab = browser.new_page(**options)
    messages: list[str] = []
    tab.on("console", lambda message: messages.append(message.text))
    tab.on("pageerror", lambda error: messages.append(str(error)))
    tab.on("request", lambda request: messages.extend([request.url] * (request.url != address)))
    tab.goto(address)
    yield tab
    unwanted = [message for message in messages if not message.startswith(("data:", "file:"))]
    tab.close()
    assert unwanted == []


def ranked(page: Any) -> Any:
    """The data-free table of MNIST."""
    section = page.locator("main > section").filter(has=page.locator("h2", has_text="mnist"))
    return section.locator("table.sortable").first


def titles(table: Any) -> list[str]:
    return [text.strip() for text in table.locator("tbody tr:visible td.words a").all_inner_texts()]


def test_tables_are_sorted_by_number_and_by_word(page: Any) -> None:
    table = ranked(page)
    assert titles(table) == ["Beta", "Alpha", "Gamma"]
    score = table.locator("th", has_text="accuracy, %").locator("button")
    score.click()
    assert titles(table) == ["Gamma", "Alpha", "Beta"]
    assert table.locator("th[aria-sort=ascending]").inner_text().startswith("accuracy")
    score.click()
    assert titles(table) == ["Beta", "Alpha", "Gamma"]
    table.locator("th", has_text="method").locator("button").click()
    assert titles(table) == ["Alpha", "Beta", "Gamma"]
    assert table.locator("th[aria-sort]").count() == 1


def test_rows_are_filtered_by_words_and_by_access(page: Any) -> None:
    table = ranked(page)
    page.fill("#words", "mnist alp")
    assert titles(table) == ["Alpha"]
    assert "of" in page.locator("#count").inner_text()
    assert page.locator("#runs tbody tr").count() == 3
    page.fill("#words", "")
    assert len(titles(table)) == 3
    page.select_option("#access", "train images")
    assert titles(table) == []
    assert page.locator("#runs tbody tr").count() == 2


def test_long_lists_of_runs_are_drawn_bit_by_bit(page: Any) -> None:
    assert page.locator("#runs tbody tr").count() == 200
    page.click("#more")
    assert page.locator("#runs tbody tr").count() == 271
    assert page.locator("#more").is_hidden()


def test_a_row_leads_to_its_runs_and_a_run_to_its_details(page: Any) -> None:
    ranked(page).locator("a", has_text="Alpha").click()
    rows = page.locator("#runs tbody tr")
    playwright.expect(rows).to_have_count(3)
    assert "Of Alpha, mnist" in page.locator("#chosen").inner_text()
    name = rows.first.locator("a").inner_text()
    rows.first.locator("a").click()
    dialog = page.locator("dialog[open]")
    text = dialog.inner_text()
    again = f"dfkd replay {name} --results results"
    for part in (name, again, "Alpha on mnist", "student_steps=6"):
        assert part in text
    assert "dfkd run --task mnist --method A --budget tiny" in text
    assert dialog.locator(".curves path").count() == 1
    dialog.locator("button", has_text="Close").click()
    playwright.expect(page.locator("dialog[open]")).to_have_count(0)
    page.locator("#chosen a").click()
    playwright.expect(rows).to_have_count(200)


def test_an_address_opens_a_run(browser: Any, address: str) -> None:
    name = make_record(method="A", title="Alpha", task="svhn", accuracy=0.5).run_id
    tab = browser.new_page()
    tab.goto(f"{address}#run-{name}")
    assert "Alpha on svhn, seed 0" in tab.locator("dialog[open] h2").inner_text()
    tab.close()


def test_a_reason_is_shown_as_it_was_written(page: Any) -> None:
    page.fill("#words", "epsilon")
    page.locator("#runs tbody a").first.click()
    assert NASTY in page.locator("dialog[open]").inner_text()
    assert page.locator("dialog img").count() == 0
    assert page.title() == "dfkd-bench: report"


def test_it_fits_a_phone(browser: Any, address: str) -> None:
    for tab in opened(browser, address, viewport=PHONE):
        assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        sizes = tab.evaluate(
            """[...document.querySelectorAll("figure svg text")].map((text) => {
                const seen = text.getScreenCTM();  // some are upright
                return parseFloat(getComputedStyle(text).fontSize) * Math.hypot(seen.a, seen.b);
            })"""
        )
        assert sizes
        assert min(sizes) >= 7
        tab.locator("#runs tbody a").first.click()
        box = tab.locator("dialog[open]").bounding_box()
        assert box["width"] <= PHONE["width"]


def test_it_follows_dark_mode(browser: Any, address: str) -> None:
    brightness = """(name) => getComputedStyle(document.body)[name].match(/\\d+/g)
        .slice(0, 3).reduce((sum, value) => sum + Number(value), 0) / 765"""
    ink = """() => getComputedStyle(document.querySelector("figure svg text")).fill"""
    for scheme, dark in (("dark", True), ("light", False)):
        for tab in opened(browser, address, color_scheme=scheme):
            assert (tab.evaluate(brightness, "backgroundColor") < 0.3) == dark
            assert (tab.evaluate(brightness, "color") > 0.7) == dark
            assert tab.evaluate(ink) == tab.evaluate("getComputedStyle(document.body).color")
