"""`dfkd report`, without a browser (see test_report_browser.py)."""

from __future__ import annotations

import base64
import json
import re
import shlex
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from benchmark.analysis.comparison.plots import (
    CostPoint,
    comparison_figure,
    cost_figure,
    pareto_front,
)
from benchmark.analysis.comparison.series import select
from benchmark.analysis.frame import runs_of
from benchmark.analysis.leaderboard.tables import tables
from benchmark.analysis.report.figures import cost_plot, size_with_legend, svg
from benchmark.analysis.report.page import render
from benchmark.analysis.report.runs import FEW_POINTS, MANY, POINTS, rerun, runs_json
from benchmark.cli.planning import planned_runs
from benchmark.cli.program import app
from benchmark.cli.run_request import RunRequest
from benchmark.machine.cache import picture_path, sheet_path
from benchmark.records.record import Record
from benchmark.records.spec import PlannedEntry
from benchmark.records.store import Scan, Store
from tests.helpers import failed_record, make_record, tiny_budget, write_file

NASTY = "<script>alert('x')</script><!-- & \"quoted\" 'too' </title>"


def page_of(*records: Record, cache: Path = Path("no-cache")) -> str:
    return render(Scan(list(records)), Path("my results"), cache)


def data_of(page: str) -> dict[str, Any]:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    found: dict[str, Any] = json.loads(text)
    return found


def run_of(record: Record, **options: Any) -> tuple[list[Any], dict[str, Any]]:
    data = json.loads(runs_json([record], options.pop("rows", {}), Path("results")))
    return data["runs"][0], data


# The page


def test_the_page_holds_every_table_and_every_run() -> None:
    records = [make_record(method=m, seed=s, task=t) for m in "ab" for s in (0, 1) for t in "xy"]
    page = page_of(*records)
    for heading in (
        "Overall, budget tiny, as published",
        "x, budget tiny",
        "y, budget tiny",
        "Runs",
    ):
        assert f"<h2>{heading}</h2>" in page
    assert {run[0] for run in data_of(page)["runs"]} == {record.run_id for record in records}


def test_it_needs_no_network_and_no_other_file() -> None:
    page = page_of(make_record(), make_record(seed=1), make_record(method="b", work=3e9))
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page)
    assert "@import" not in page
    assert not re.findall(r"url\((?!#)", page)
    names = set(re.findall(r'https?://[^"\s<]+', page))
    assert names <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_what_others_wrote_is_text_and_never_markup() -> None:
    nasty = make_record(title=NASTY, changed={NASTY: NASTY}, data_note=NASTY, note=NASTY)
    page = page_of(nasty, failed_record(method="b", title="B").model_copy(update={"reason": NASTY}))
    assert "<script>alert" not in page
    assert page.count("<script") == 3
    assert page.count("</script>") == 3
    reasons = [run[7] for run in data_of(page)["runs"]]
    assert NASTY in reasons


def test_a_dollar_in_a_title_begins_no_formula() -> None:
    titles = {"a": r"$\frac$ loss", "b": "5 $"}
    page = page_of(*(make_record(method=m, title=t, work=2e9) for m, t in titles.items()))
    drawn = "".join(re.findall(r"<svg.*?</svg>", page, re.S))
    for title in titles.values():
        assert f">{title}</text>" in drawn


def test_equal_records_give_equal_bytes() -> None:
    records = [make_record(seed=s, method=m, work=1e9 + s) for s in (0, 1) for m in "ab"]
    assert page_of(*records) == page_of(*records)


def test_without_records_it_says_how_to_make_some() -> None:
    assert "No records yet" in page_of()


def test_one_experiment_of_two_suites_is_one_run() -> None:
    page = page_of(make_record(suite="one"), make_record(suite="two"))
    assert len(data_of(page)["runs"]) == 1


def test_rows_lead_to_their_runs() -> None:
    page = page_of(make_record(method="a", accuracy=0.5), make_record(method="b", accuracy=0.9))
    rows = {run[0]: run[1] for run in data_of(page)["runs"]}
    a = rows[make_record(method="a").run_id]
    assert re.search(rf'<a href="#row-{a}">A</a>', page)
    (labels,) = re.findall(r'id="labels">(.*?)</script>', page)
    assert json.loads(labels)[a] == "A, digits"


def test_cached_pictures_are_in_the_page(tmp_path: Path) -> None:
    record = make_record()
    for path, content in (
        (picture_path(tmp_path, record.run_id), b"what it sees"),
        (sheet_path(tmp_path, record.run_id), b"what it learnt from"),
    ):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    page = page_of(record, make_record(method="b"), cache=tmp_path)
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert [base64.b64decode(p) for p in pictures] == [b"what it sees", b"what it learnt from"]


def test_swept_settings_have_a_plot() -> None:
    records = [
        make_record(seed=s, accuracy=0.5 + 0.1 * s, params={"lr": x, "k": 1}, purpose="sweep")
        for s in (0, 1)
        for x in (0.1, 0.01)
    ]
    page = page_of(*records)
    assert "<h2>Robustness: digits, budget tiny</h2>" in page
    assert "Over lr, all else being equal" in page
    assert "Over k" not in page
    draws = [make_record(params={"lr": x}, purpose="draw") for x in (0.1, 0.2, 0.3)]
    assert "Performance profiles over random draws" in page_of(*draws)


def test_a_planned_draw_that_never_ran_is_not_in_the_profile() -> None:
    draws = [make_record(params={"lr": x}, purpose="draw") for x in (0.1, 0.2, 0.3)]
    plan = {r.run_id: PlannedEntry.of(r.spec, r.teacher.checksum) for r in draws}
    page = render(Scan(records=draws[:2], planned={"s": plan}), Path("r"), Path("no-cache"))
    assert "n = 2" in page
    assert "n = 3" not in page


# Runs as data


def test_a_run_keeps_its_numbers() -> None:
    record = make_record(metrics={"agreement": 0.8}, seed=3)
    run, data = run_of(record, rows={record.run_id: 5})
    assert (run[0], run[1], run[5], run[6], run[8]) == (record.run_id, 5, 3, "ok", 0.9)
    setup = data["shared"][run[2]]
    assert setup["spec"]["params"] == record.spec.params
    assert setup["spec"]["budget"]["student_steps"] == record.spec.budget.student_steps
    assert dict(zip(data["shared"][run[9]], run[10], strict=True)) == record.metrics
    assert run[11]["seconds"] == record.ledger.seconds
    place, values = run[-1]["distillation/loss"]
    assert data["shared"][place] == [0.0, 1.0]
    assert values == [1.0, 0.5]


def test_what_runs_share_is_written_once() -> None:
    records = [make_record(seed=seed) for seed in range(50)]
    data = json.loads(runs_json(records, {}, Path("results")))
    assert len({run[2] for run in data["runs"]}) == 1
    assert len(data["shared"]) == 5


@pytest.mark.parametrize("length", [1, 2, POINTS, POINTS + 1, 1999])
def test_thinned_curves_keep_their_last_point(length: int) -> None:
    steps, values = [float(i) for i in range(length)], [i / 7 for i in range(length)]
    run, data = run_of(make_record(curves={"loss": {"step": steps, "value": values}}))
    place, kept = run[-1]["loss"]
    assert len(kept) == len(data["shared"][place]) <= POINTS
    assert kept[-1] == pytest.approx(values[-1], rel=1e-3)
    assert data["shared"][place][-1] == steps[-1]
    if length <= POINTS:
        assert data["shared"][place] == steps


def test_many_runs_have_fewer_points() -> None:
    curve = {"loss": {"step": [float(i) for i in range(100)], "value": [0.5] * 100}}
    record = make_record(curves=curve)
    data = json.loads(runs_json([record] * (MANY + 1), {}, Path("results")))
    assert len(data["runs"][0][-1]["loss"][1]) <= FEW_POINTS == data["points"]


def test_the_command_plans_the_same_experiment() -> None:
    command = ["dfkd", "run", "--task", "digits", "--method", "rdskd", "--budget", "smoke"]
    options = ["--set", "temperature=4.0", "--objective", "fitnets"]
    (planned,) = planned_runs(request_of([*command[2:], *options, "--seeds", "3"]))
    spec = planned.spec("d" * 16)
    record = make_record(
        method="rdskd",
        params=spec.params,
        changed=planned.changed,
        budget=spec.budget,
        task="digits",
        seed=3,
    )
    record = record.model_copy(update={"spec": spec, "run_id": spec.run_id("t" * 16)})
    line = rerun(record)
    assert line is not None
    (again,) = planned_runs(request_of([*shlex.split(line)[2:], "--seeds", "3"]))
    assert again.spec("d" * 16).run_id("t" * 16) == record.run_id
    assert again.suite == record.spec.suite


def request_of(words: list[str]) -> RunRequest:
    """The arguments of `dfkd run` as `RunRequest` holds them."""
    values: dict[str, list[str]] = {}
    for name, value in zip(words[::2], words[1::2], strict=True):
        values.setdefault(name, []).append(value)
    return RunRequest(
        task=values["--task"][0],
        methods=tuple(values["--method"]),
        settings=tuple(values.get("--set", [])),
        seeds=values["--seeds"][0],
        budget=values["--budget"][0],
        suite_name=values.get("--suite-name", ["custom"])[0],
        device="cpu",
        objective=values.get("--objective", [None])[0],  # type: ignore[list-item]
        objective_settings=tuple(values.get("--objective-set", [])),
    )


def test_numbers_off_a_preset_have_no_command_but_replay() -> None:
    assert rerun(make_record(budget=tiny_budget().varied(student_steps=7))) is None


# Plots


def test_drawings_are_small_and_take_the_pages_ink() -> None:
    records = [make_record(seed=s, accuracy=0.5 + s / 10) for s in range(3)]
    place, series = select(runs_of(records), ["rdskd"], "digits")
    texts = [svg(comparison_figure(place, [None], series), name) for name in ("one", "two")]
    for text in texts:
        assert text.startswith("<svg ")
        ElementTree.fromstring(text)
        assert "#000000" not in text
        assert "currentColor" in text
        assert "RDSKD, n = 3" in text
        assert len(text) < 40_000
    first, second = (set(re.findall(r'\bid="([^"]+)"', text)) for text in texts)
    assert first
    assert not first & second
    for text, own in zip(texts, (first, second), strict=True):
        used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
        assert used <= own


def test_labels_and_legends_lie_beside_the_axes_and_within_the_figure() -> None:
    titles = [f"A method with a rather long name, the {i}th" for i in range(12)]
    points = [CostPoint(t, t, 1e5 + i, i / 12, (0.1, 0.1), True) for i, t in enumerate(titles)]
    figure = cost_figure(points, "accuracy", size_with_legend(12))
    svg(figure, "any")
    (axes,), (legend,) = figure.axes, figure.legends
    for axis in (axes.xaxis, axes.yaxis):
        box = axis.get_tightbbox()
        assert box.y0 > legend.get_window_extent().y1
        assert 0 <= box.x0 < box.x1 <= figure.bbox.width
        assert 0 <= box.y0 < box.y1 <= figure.bbox.height
    assert axes.bbox.height > figure.bbox.height / 4


def test_the_pareto_front_is_what_nothing_beats() -> None:
    costs = [(3.0, 0.5), (1.0, 0.4), (2.0, 0.7), (2.0, 0.6), (5.0, 0.7), (4.0, 0.9), (9.0, 0.1)]
    points = [CostPoint("m", "M", cost, score, (0.0, 0.0), True) for cost, score in costs]
    expected = sorted(
        (cost, score)
        for cost, score in costs
        if not any((c <= cost and s >= score) and (c, s) != (cost, score) for c, s in costs)
    )
    assert [(p.work, p.score) for p in pareto_front(points)] == expected
    assert pareto_front([]) == []


def test_methods_that_saw_data_are_hollow_and_no_part_of_the_front() -> None:
    points = [
        CostPoint("a", "A", 10.0, 0.5, (0.1, 0.1), True),
        CostPoint("b", "B", 5.0, 0.99, (0.1, 0.1), False),
    ]
    (axes,) = cost_figure(points, "accuracy").axes
    dashed = [line for line in axes.get_lines() if line.get_linestyle() == "--"]
    assert [list(line.get_ydata()) for line in dashed] == [[50.0, 50.0]]
    faces = {c.get_label(): c.lines[0].get_markerfacecolor() for c in axes.containers}
    assert faces["B"] == "none"
    assert faces["A"] != "none"


# The command


def test_the_command_writes_one_file(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    store.put(make_record())
    output = tmp_path / "pages" / "report.html"
    options = ["report", "--results", str(store.root), "--output", str(output)]
    done = CliRunner().invoke(app, options)
    assert done.exit_code == 0
    assert "1 records" in done.output
    assert output.read_text(encoding="utf-8").startswith("<!doctype html>")
    bad = write_file(store.root / "suite" / "digits" / "a" / "0123.json", "{")
    spoilt = CliRunner().invoke(app, options)
    assert spoilt.exit_code == 1
    assert str(bad) in spoilt.output.replace("\n", "")
    absent = CliRunner().invoke(app, ["report", "--results", str(tmp_path / "absent")])
    assert absent.exit_code == 2
    assert "does not exist" in absent.output


def test_the_cost_plot_counts_the_seeds_of_the_points_that_it_shows() -> None:
    records = [make_record(method=m, seed=s, work=1e9 + s) for m in "ab" for s in range(5)]
    (table,) = tables(Scan([*records, failed_record("error", method="c")]))
    plot = cost_plot(table)
    assert plot is not None
    assert "n = 5 seeds per point" in plot.caption


def test_no_table_of_the_page_has_seconds_of_one_machine() -> None:
    """Seconds are of one machine: the cost in tables and plots is the work."""
    page = page_of(*(make_record(method=m, work=2e9) for m in "ab"))
    headings = re.findall(r"<th[^>]*>(.*?)</th>", page, re.S)
    assert any("work, GFLOP" in heading for heading in headings)
    assert not any("seconds" in heading for heading in headings)
    assert '["seconds"' not in page
    assert "floating-point operations a run" in page
