from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from benchmark.analysis.frame import to_frame
from benchmark.analysis.image_quality import comparisons, section, write
from benchmark.analysis.leaderboard.markdown import markdown
from benchmark.analysis.leaderboard.quality import quality_tables
from benchmark.analysis.leaderboard.tables import tables
from benchmark.analysis.leaderboard.terminal import print_quality
from benchmark.analysis.statistics.correlation import rank_correlation
from benchmark.errors import UserError
from benchmark.records.record import ImageQuality, Measured, Record
from benchmark.records.spec import ObjectiveSpec
from benchmark.records.store import Scan, Store
from tests.helpers import make_record, tiny_budget

METHODS = ("rdskd", "dafl", "mskd", "zskd", "degan", "noise")


def measured(record: Record, fid: float, extractor: str = "task", **changes: object) -> Record:
    def of(value: float) -> Measured:
        return Measured(images=5000, metrics={"fid": value, "inception_score": 9.0, "lpips": 0.5})

    quality = ImageQuality(
        version=1,
        extractor="a critic",
        checksum="c" * 16,
        dtype="float32",
        batch=250,
        reference=10000,
        pairs=2000,
        samples=of(fid),
        real_test=of(0.25),
        noise=of(987.0),
    ).model_copy(update=changes)
    return record.model_copy(update={"quality": {**record.quality, extractor: quality}})


def suite(slope: float = -1.0, seeds: int = 3) -> list[Record]:
    """Six methods whose accuracy moves with their FID by ``slope`` per thousand."""
    records = []
    for place, method in enumerate(METHODS):
        for seed in range(seeds):
            fid = 40.0 * place + seed
            record = make_record(method=method, seed=seed, accuracy=0.5 + slope * fid / 1000)
            records.append(measured(record, fid))
    return records


# Records


def test_a_record_without_image_metrics_is_written_as_before_there_were_any() -> None:
    record = make_record()
    assert "quality" not in json.loads(record.to_json())
    full = measured(record, 12.5)
    assert Record.from_json(full.to_json()) == full
    assert full.run_id == record.run_id


def test_the_frame_keeps_extractors_in_columns_of_their_own() -> None:
    both = measured(measured(make_record(), 12.5), 80.0, "inception", checksum="i" * 16)
    row = to_frame([both]).iloc[0]
    assert (row["fid_task"], row["fid_inception"]) == (12.5, 80.0)
    assert (row["task_extractor"], row["inception_extractor"]) == ("c" * 16, "i" * 16)
    assert row["task_samples"] == 5000


def test_the_variance_of_the_kd_loss_is_of_the_curve_s_second_half() -> None:
    curve = {"step": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], "value": [90.0, 50.0, 9.0, 1.0, 2.0, 6.0]}
    record = make_record().model_copy(update={"curves": {"distillation/loss": curve}})
    row = to_frame([record]).iloc[0]
    assert row["kd_loss_variance"] == pytest.approx(
        ((1 - 3) ** 2 + (2 - 3) ** 2 + (6 - 3) ** 2) / 2
    )


# Tables


def test_tables_without_image_metrics_stay_as_they_are() -> None:
    assert "Image quality" not in markdown(Scan(records=[make_record()]))


def test_a_quality_table_is_framed_and_says_what_it_was_measured_with() -> None:
    records = [
        measured(make_record(seed=s, metrics={"class_balance": 0.5}), 10.0 + s) for s in (0, 1)
    ]
    records.append(make_record(method="unmeasured", seed=0))
    (table,) = tables(Scan(records=records))
    (quality,) = quality_tables(table)
    assert [row[0] for row in quality.body] == ["Real test images", "RDSKD", "Normal noise"]
    for part in (
        *("extractor `task`: a critic", "c" * 16, "float32, batches of 250", "5,000 images"),
        *("10,000 real", "2,000 pairs"),
    ):
        assert part in quality.caption
    assert "biased" not in quality.caption
    fid = quality.body[1][3]
    # t(0.975, 1) · 0.7071 / √2
    assert fid == "10.50 ± 6.35"
    assert quality.body[1][1] == "2"
    assert "0.500" in quality.body[1]
    text = markdown(Scan(records=records))
    assert text.index("| rank |") < text.index("Image quality, extractor") < text.index("987.00")


def test_few_images_are_said_to_bias_fid() -> None:
    def of(count: int) -> Measured:
        return Measured(images=count, metrics={"fid": 9.0})

    few = measured(make_record(), 9.0, samples=of(2047), real_test=of(2047))
    fewer_real = measured(make_record(method="dafl"), 9.0, samples=of(2048), real_test=of(297))
    (table,) = tables(Scan(records=[few, fewer_real]))
    for quality in quality_tables(table):
        assert "Fewer than 2,048 images: FID is biased." in quality.caption


def test_batches_of_several_sizes_are_all_named() -> None:
    records = [measured(make_record(seed=0), 9.0), measured(make_record(seed=1), 9.0, batch=50)]
    (table,) = tables(Scan(records=records))
    (quality,) = quality_tables(table)
    assert "batches of 50 or 250" in quality.caption


def test_how_the_student_learnt_stands_beside_its_images() -> None:
    curves = {"distillation/loss": {"step": [0.0, 1.0, 2.0, 3.0], "value": [9.0, 5.0, 1.0, 2.0]}}
    told = {"class_balance": 0.5, "confidence": 0.75, "agreement": 0.8125}
    records = [
        measured(make_record(seed=0, metrics=told, curves=curves), 9.0),
        # No curve, and an older record without what the teacher says.
        measured(make_record(seed=1, curves={"a/b": {"step": [], "value": []}}), 9.0),
    ]
    (table,) = tables(Scan(records=records))
    (quality,) = quality_tables(table)
    assert list(quality.headings[-4:]) == ["balance", "confidence", "agreement", "loss variance"]
    assert quality.body[1][-4:] == ["0.500", "0.750", "0.812", "0.5"]
    assert {len(row) for row in quality.body} == {len(quality.headings)}
    assert "loss variance" in quality.caption


def test_whichever_suite_s_record_of_a_run_was_measured_its_numbers_are_shown() -> None:
    seeds = range(2)
    aa = [make_record(suite="aa", seed=seed) for seed in seeds]
    bb = [measured(make_record(suite="bb", seed=seed), 10.0 + seed) for seed in seeds]
    for records in ([*aa, *bb], [*bb, *aa]):
        (table,) = tables(Scan(records=records))
        (quality,) = quality_tables(table)
        assert quality.body[1][1:3] == ["2", "9.00"]


@pytest.mark.parametrize("width", [60, 80, 250])
def test_a_terminal_shows_whole_columns_and_says_which_it_has_no_room_for(width: int) -> None:
    title = "A method (generator_lr=0.02, temperature=10.0)"
    records = [measured(make_record(seed=s, title=title), 1234.5 + s) for s in (0, 1)]
    (table,) = tables(Scan(records=records))
    console = Console(file=io.StringIO(), width=width)
    print_quality(table, console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    words = " ".join(text.split())
    assert "1235.00 ± 6.35" in text
    assert "…" not in text
    assert ("loss variance; set COLUMNS=180" in words) == (width < 200)
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("changes", [{"checksum": "d" * 16}, {"reference": 500}, {"pairs": 7}])
def test_images_measured_otherwise_never_share_a_table(changes: dict[str, object]) -> None:
    records = [
        measured(make_record(), 10.0),
        measured(make_record(method="dafl"), 11.0, **changes),
        measured(make_record(method="mskd"), 12.0, "inception"),
    ]
    (table,) = tables(Scan(records=records))
    found = quality_tables(table)
    assert [len(quality.body) for quality in found] == [3, 3, 3]
    assert "`inception`" in found[-1].caption


# Rank correlation


@pytest.mark.parametrize("kind", ["spearman", "kendall"])
def test_a_monotone_relation_has_correlation_one_and_an_interval_above_zero(kind: str) -> None:
    methods = [name for name in METHODS for _ in range(3)]
    x = np.arange(18.0)
    found = rank_correlation(
        list(x),
        list(np.exp(x)),
        methods,
        np.random.default_rng(0),
        kind,
        resamples=100,  # type: ignore[arg-type]
    )
    assert found.value == pytest.approx(1)
    assert found.interval == pytest.approx((1.0, 1.0))
    assert (found.verdict, found.methods, found.runs) == ("rises", 6, 18)


def test_kendall_and_spearman_are_the_textbook_s() -> None:
    x, y = [1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 4.0]
    rng = np.random.default_rng(0)
    assert rank_correlation(x, y, list("abcd"), rng).value == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert rank_correlation(x, y, list("abcd"), rng, "kendall").value == pytest.approx((5 - 1) / 6)


def test_seeds_of_one_method_are_no_independent_evidence() -> None:
    # Within every method the two rise together; across methods they fall.
    rng = np.random.default_rng(1)
    methods = [name for name in METHODS for _ in range(30)]
    place = np.repeat(np.arange(6.0), 30)
    x, y = place + rng.normal(0, 2, 180), rng.normal(0, 1, 6).repeat(30) + rng.normal(0, 0.1, 180)
    clustered = rank_correlation(list(x), list(y), methods, np.random.default_rng(0))
    alone = rank_correlation(list(x), list(y), [str(i) for i in range(180)], rng, resamples=200)
    assert clustered.interval is not None
    assert alone.interval is not None
    width = clustered.interval[1] - clustered.interval[0]
    assert width > 1.3 * (alone.interval[1] - alone.interval[0])


def test_few_methods_or_a_constant_give_no_claim() -> None:
    rng = np.random.default_rng(0)
    few = rank_correlation([1, 2, 3, 4], [1, 2, 3, 4], list("aabb"), rng)
    assert (few.value, few.interval, few.verdict) == (pytest.approx(1), None, "insufficient")
    constant = rank_correlation([1] * 6, list(range(6)), list("abcdef"), rng)
    assert (constant.value, constant.verdict) == (None, "insufficient")
    with pytest.raises(ValueError, match="every run"):
        rank_correlation([1.0], [1.0, 2.0], ["a"], rng)


def test_what_rests_on_one_method_is_no_claim() -> None:
    methods = [name for name in "abcdefg" for _ in range(3)]
    alone = [1.0 * (name == "g") for name in methods]
    score = [float(i) for i in range(len(methods))]
    found = rank_correlation(alone, score, methods, np.random.default_rng(0))
    assert found.value is not None
    assert found.value > 0.5
    assert found.verdict == "undecided", "a third of all draws of methods are without that one"


# The page


def test_the_page_says_what_may_be_claimed_and_is_the_same_each_time(tmp_path: Path) -> None:
    results, page = tmp_path / "results", tmp_path / "docs" / "image-quality.md"
    for record in suite():
        Store(results).put(record)
    write(results, page, "task", Console(quiet=True))
    text = page.read_text(encoding="utf-8")
    (row,) = [line for line in text.splitlines() if line.startswith("| FID")]
    assert "-1.00 [-1.00, -1.00]" in row
    assert "students are better where it is lower" in row
    assert "18 runs of 6 methods" in text
    (score,) = [line for line in text.splitlines() if line.startswith("| IS")]
    assert "| – | – |" in score, "a measure that does not vary ranks nothing"
    (plot,) = page.parent.glob("*.svg")
    assert plot.name in text
    before = (text, plot.read_bytes())
    write(results, page, "task", Console(quiet=True))
    assert (page.read_text(encoding="utf-8"), plot.read_bytes()) == before


@pytest.mark.parametrize("changes", [{"reference": 500}, {"pairs": 7}, {"version": 2}])
def test_images_measured_otherwise_never_share_a_section(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    for record in [*suite(), *(measured(r, 3.0, **changes) for r in suite()[:3])]:
        Store(tmp_path / "results").put(record)
    write(tmp_path / "results", tmp_path / "page.md", "task", Console(quiet=True))
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "15 runs of 5 methods" in text
    assert "3 runs of 1 methods" in text
    plots = sorted(path.name for path in tmp_path.glob("*.svg"))
    assert len(plots) == 2
    assert all(text.count(f"({plot})") == 1 for plot in plots)
    few = measured(make_record(), 3.0, samples=Measured(images=9, metrics={"fid": 9.0}))
    (comparison,) = comparisons(to_frame([few]), "task")
    assert "Fewer than 2,048 images: FID is biased." in section(comparison, "x.svg")
    assert "biased" not in text


def test_settings_of_one_method_are_no_independent_evidence_either(tmp_path: Path) -> None:
    for place, tau in enumerate((1.0, 2.0, 4.0, 8.0, 16.0, 20.0)):
        for seed in range(3):
            settings = {"temperature": tau}
            record = make_record(
                seed=seed, accuracy=0.9 - place / 100, params=settings, changed=settings
            )
            Store(tmp_path / "results").put(measured(record, 40.0 * place + seed))
    write(tmp_path / "results", tmp_path / "page.md", "task", Console(quiet=True))
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "18 runs of 1 methods" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| FID")]
    assert "insufficient" in row


def test_numbers_off_the_budget_are_a_section_of_their_own() -> None:
    longer = tiny_budget().varied(synthesis_steps=40)
    records = [*suite(), *(measured(make_record(seed=s, budget=longer), 3.0) for s in range(3))]
    sections = list(comparisons(to_frame(records), "task"))
    assert [len(section.runs) for section in sections] == [18, 3]
    assert "(synthesis_steps=40)" in sections[1].title


def test_objectives_and_proxy_images_are_rows_of_their_own() -> None:
    def changed(record: Record, name: str, proxy: str = "", objective: str = "") -> Record:
        spec = record.spec.model_copy(
            update={
                "proxy": proxy,
                "objective": ObjectiveSpec(name=objective, version=1, params={})
                if objective
                else None,
            }
        )
        method = record.method.model_copy(update={"proxy": name})
        run_id = spec.run_id(record.teacher.checksum)
        return measured(
            record.model_copy(update={"spec": spec, "method": method, "run_id": run_id}), 9.0
        )

    plain = make_record()
    records = [
        changed(plain, ""),
        changed(plain, "", objective="structured"),
        changed(plain, "usps", proxy="1" * 16),
        changed(plain, "svhn", proxy="2" * 16),
        changed(plain, "svhn", proxy="3" * 16),
    ]
    (comparison,) = comparisons(to_frame(records), "task")
    assert set(comparison.runs["row"]) == {
        "RDSKD",
        "RDSKD (objective=structured)",
        "RDSKD (proxy=usps)",
        "RDSKD (proxy=svhn 222222)",
        "RDSKD (proxy=svhn 333333)",
    }


def test_the_page_needs_measured_runs(tmp_path: Path) -> None:
    Store(tmp_path).put(make_record())
    with pytest.raises(UserError, match="dfkd measure SUITE --extractor inception"):
        write(tmp_path, tmp_path / "x.md", "inception", Console(quiet=True))
