from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from benchmark.analysis.leaderboard.quality import quality_tables
from benchmark.analysis.leaderboard.tables import tables
from benchmark.analysis.report.page import render
from benchmark.cli.measure import MeasureBars, _add, _shown
from benchmark.cli.program import app
from benchmark.machine.cache import cache_dir, sheet_path
from benchmark.metrics import image_quality
from benchmark.metrics.images import Unmeasurable
from benchmark.records.record import ImageQuality, LedgerInfo, Measured, Record
from benchmark.records.store import Store
from benchmark.runs.images import extractors as judges
from benchmark.runs.images import measure as measuring
from benchmark.runs.images.contact_sheet import GAP, HEAD, MARGIN, contact_sheet
from benchmark.runs.images.recovered import Recovered
from benchmark.runs.job import Context, Job
from benchmark.runs.trial import execute
from benchmark.suites.plan import plan
from benchmark.suites.suite import MethodEntry, Suite
from benchmark.tasks.digits import Digits
from benchmark.tasks.scenes import Scenes
from benchmark.teachers.critic import obtain_critic
from benchmark.teachers.teacher import TrainedTeacher
from methods.base.registry import discover
from tests.helpers import failed_record, make_record, one_line, tiny_budget, write_file

NANS = """
import torch
from methods.base.method import Method
from methods.base.drawn_images import samples_from

class Nans(Method):
    name, title, paper = "nans", "NaNs", "a test"

    def synthesize(self, problem, run):
        return samples_from(lambda n, stream: torch.full((n, *problem.image_shape), torch.nan), run)

    def objective(self, problem):
        from methods.base import Distillation
        class Zero(Distillation):
            def __call__(self, student, batch):
                return sum(p.square().sum() for p in student.parameters())
        return Zero(1.0)
"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_quality, "PAIRS", 20)
    monkeypatch.setattr(image_quality, "REFERENCE_IMAGES", 100)
    quick = Digits.critic_recipe.model_copy(update={"epochs": 1})
    monkeypatch.setattr(Digits, "critic_recipe", quick)


def dfkd(*arguments: Any) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def finished(
    context: Context,
    teacher: TrainedTeacher,
    method: str,
    params: dict[str, Any] | None = None,
    folders: tuple[Path, ...] = (),
) -> tuple[Record, Job, Context]:
    entry = MethodEntry(name=method, params=params or {})
    suite = Suite(name="mine", budget="smoke", tasks=["digits"], seeds=[0], methods=[entry])
    (run,) = plan(suite, discover(folders))
    spec = run.spec(Digits().load(None).checksum())
    job = Job(spec, spec.run_id(teacher.info.checksum), dict(run.changed), teacher)
    context = dataclasses.replace(context, method_folders=folders)
    return execute(job, context), job, context


def stored(tmp_path: Path, *records: Record) -> Path:
    for record in records:
        Store(tmp_path / "results").put(record)
    return tmp_path / "results"


def empty_sample_cache() -> None:
    for path in (cache_dir() / "samples").iterdir():
        path.unlink()


# Images found again


def test_images_are_found_or_made_again_bit_for_bit(
    context: Context, digits_teacher: TrainedTeacher
) -> None:
    record, job, context = finished(context, digits_teacher, "rdskd")
    kept = Recovered(record, job, context, synthesize=False)
    assert kept.statistics().items() <= record.metrics.items()
    empty_sample_cache()
    with pytest.raises(Unmeasurable, match="not in the cache; --synthesize"):
        Recovered(record, job, context, synthesize=False)
    made = Recovered(record, job, context, synthesize=True)
    assert torch.equal(made.draw(50).pixels, kept.draw(50).pixels)
    assert torch.equal(made.draw(50).labels, kept.draw(50).labels)
    assert made.trial.run.ledger.student_steps == 0, "no student is trained for it"


def test_a_generator_trained_with_its_student_needs_the_whole_run(
    context: Context, digits_teacher: TrainedTeacher
) -> None:
    record, job, context = finished(context, digits_teacher, "dafl", {"schedule": "joint"})
    with pytest.raises(Unmeasurable, match="--synthesize"):
        Recovered(record, job, context, synthesize=False)
    made = Recovered(record, job, context, synthesize=True)
    assert made.draw(12).pixels.shape == (12, 3, 16, 16)
    assert made.trial.run.ledger.student_steps == record.ledger.student_steps


def test_other_images_than_the_run_s_are_refused(
    context: Context, digits_teacher: TrainedTeacher
) -> None:
    record, job, context = finished(context, digits_teacher, "rdskd")
    curve = {"step": [0.0], "value": [7.0]}
    elsewhere = record.model_copy(update={"curves": {**record.curves, "synthesis/loss": curve}})
    with pytest.raises(Unmeasurable, match="synthesis/loss differs"):
        Recovered(elsewhere, job, context, synthesize=False)


def test_runs_without_images_of_their_own_are_refused_with_the_reason(
    context: Context, digits_teacher: TrainedTeacher
) -> None:
    record, job, context = finished(context, digits_teacher, "kd-real")
    with pytest.raises(Unmeasurable, match="real training images"):
        Recovered(record, job, context, synthesize=True)
    failed = record.model_copy(update={"status": "diverged"})
    with pytest.raises(Unmeasurable, match="did not finish"):
        Recovered(failed, job, context, synthesize=True)


# dfkd measure


def test_a_suite_is_measured_once_and_keeps_its_run_ids(
    tmp_path: Path, context: Context, digits_teacher: TrainedTeacher
) -> None:
    made, *_ = finished(context, digits_teacher, "noise")
    real, *_ = finished(context, digits_teacher, "kd-real")
    results = stored(tmp_path, made, real)
    done = dfkd("measure", "mine", "--results", results, "--device", "cpu", "--images", 40)
    assert done.exit_code == 0, done.output
    for part in ("Real test images", "Noise", "critic of digits", "40 images", "40 images are few"):
        assert part in done.output
    assert "not measured: its student learns from the real training images" in done.output
    store = Store(results)
    measured = store.find(made.run_id)
    assert measured.quality["task"].samples.images == 40
    assert measured.quality["task"].real_test.metrics["fid"] > 0
    assert measured.model_copy(update={"quality": {}}) == made
    assert store.find(real.run_id) == real
    assert list((results / "teachers").glob("digits-critic-*.safetensors"))
    before = store.path(made.spec, made.run_id).stat().st_mtime_ns
    empty_sample_cache()
    again = dfkd("measure", made.run_id, "--results", results, "--device", "cpu")
    assert again.exit_code == 0
    assert store.path(made.spec, made.run_id).stat().st_mtime_ns == before
    fresh = dfkd(
        "measure", made.run_id, "--results", results, "--device", "cpu", "--images", 40,
        "--overwrite", "always", "--synthesize",
    )  # fmt: skip
    assert fresh.exit_code == 0, fresh.output
    assert store.find(made.run_id) == measured
    assert "--images asks for" not in fresh.output
    more = dfkd(
        "measure", made.run_id, "--results", results, "--device", "cpu", "--images", 4_000,
        "--overwrite", "always",
    )  # fmt: skip
    there = store.find(made.run_id).quality["task"].samples.images
    assert f"its {there:,} images are measured; --images asks for 4,000" in more.output


def test_images_that_cannot_be_had_are_said_with_exit_code_1(
    tmp_path: Path, context: Context, digits_teacher: TrainedTeacher
) -> None:
    record, *_ = finished(context, digits_teacher, "noise", {"temperature": 5.0})
    record = record.model_copy(update={"status": "ok"})
    results = stored(tmp_path, record)
    empty_sample_cache()
    done = dfkd("measure", record.run_id, "--results", results, "--device", "cpu")
    assert done.exit_code == 1
    assert "not in the cache; --synthesize makes them again" in done.output
    assert Store(results).find(record.run_id).quality == {}


def test_nan_images_are_a_reason_not_a_number(
    tmp_path: Path, context: Context, digits_teacher: TrainedTeacher
) -> None:
    path = write_file(tmp_path / "nans.py", NANS)
    record, job, context = finished(context, digits_teacher, "nans", folders=(path,))
    record = record.model_copy(update={"status": "ok", "reason": ""})
    with pytest.raises(Unmeasurable, match="NaN"):
        Recovered(record, job, context, synthesize=False).draw(20)


def test_other_images_definitions_or_critics_than_measured_are_measured_again(
    tmp_path: Path,
    context: Context,
    digits_teacher: TrainedTeacher,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, *_ = finished(context, digits_teacher, "noise")
    results = stored(tmp_path, made)
    path = Store(results).path(made.spec, made.run_id)

    def measured(*options: Any) -> ImageQuality | None:
        """What was written, None when nothing was."""
        before = path.stat().st_mtime_ns
        done = dfkd("measure", made.run_id, "--results", results, "--device", "cpu", *options)
        assert done.exit_code == 0, done.output
        changed = path.stat().st_mtime_ns != before
        return Store(results).find(made.run_id).quality["task"] if changed else None

    first = measured("--images", 20)
    assert first is not None
    assert first.samples.images == 20
    assert measured() is None
    more = measured("--images", 30)
    assert more is not None
    assert more.samples.images == more.real_test.images == 30
    # The bank of this budget has fewer; all of them are all there are.
    everything = measured("--images", 10_000)
    assert everything is not None
    assert 30 < everything.samples.images < 10_000
    assert measured("--images", 10_000) is None
    monkeypatch.setattr(image_quality, "VERSION", 77)
    monkeypatch.setattr(judges, "VERSION", 77)
    newer = measured()
    assert newer is not None
    assert newer.version == 77
    another = Digits.critic_recipe.model_copy(update={"seed": 5})
    for kept in (results / "teachers").iterdir():
        kept.unlink()
    monkeypatch.setattr(Digits, "critic_recipe", another)
    assert measured() is None, "no critic is trained to see whether it is another one"
    obtain_critic(Digits(), Digits().load(None), results)
    judged = measured()
    assert judged is not None
    assert judged.checksum != newer.checksum


def test_every_suite_s_copy_of_a_run_gets_the_numbers(
    tmp_path: Path, context: Context, digits_teacher: TrainedTeacher
) -> None:
    made, *_ = finished(context, digits_teacher, "noise")
    twin = made.model_copy(update={"spec": made.spec.model_copy(update={"suite": "aa"})})
    results = stored(tmp_path, made, twin)
    done = dfkd("measure", "mine", "--results", results, "--device", "cpu", "--images", 40)
    assert done.exit_code == 0, done.output
    store = Store(results)
    found = {record.spec.suite: record for record in store.scan().records}
    assert found["aa"].quality == found["mine"].quality != {}
    (table,) = tables(store.scan())
    assert len(quality_tables(table)) == 1
    # A copy that was never measured takes the numbers there are.
    store.put(twin)
    empty_sample_cache()
    done = dfkd("measure", "aa", "--results", results, "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert {record.spec.suite: record for record in store.scan().records} == found


def test_a_collapsed_run_without_its_images_is_a_failure_too(
    tmp_path: Path, context: Context, digits_teacher: TrainedTeacher
) -> None:
    record, *_ = finished(context, digits_teacher, "noise", {"temperature": 5.0})
    collapsed = record.model_copy(update={"status": "collapsed"})
    diverged = record.model_copy(update={"status": "diverged", "metrics": {}})
    for status, code in ((collapsed, 1), (diverged, 0)):
        results = stored(tmp_path, status)
        empty_sample_cache()
        done = dfkd("measure", record.run_id, "--results", results, "--device", "cpu")
        assert done.exit_code == code, done.output
        assert "not measured" in done.output


def test_what_one_run_lacks_does_not_keep_the_others_from_being_measured(
    tmp_path: Path, context: Context, digits_teacher: TrainedTeacher
) -> None:
    made, *_ = finished(context, digits_teacher, "noise")
    ledger = LedgerInfo(synthetic_images=9)
    maps = make_record(suite="mine", task="scenes", metric="miou")
    elsewhere = make_record(suite="mine", task="digits", teacher="f" * 16)
    results = stored(
        tmp_path, *(r.model_copy(update={"ledger": ledger}) for r in (maps, elsewhere)), made
    )
    done = dfkd("measure", "mine", "--results", results, "--device", "cpu", "--images", 40)
    assert done.exit_code == 1
    assert "there is no critic of 'scenes'" in done.output
    assert "not the record's" in done.output
    assert "Real test images" in done.output
    assert "task" in Store(results).find(made.run_id).quality


def test_the_first_seed_of_every_row_gets_a_sheet_for_the_report(
    tmp_path: Path, context: Context, digits_teacher: TrainedTeacher
) -> None:
    made, *_ = finished(context, digits_teacher, "noise")
    other = make_record(method="rdskd", suite="mine", seed=0)
    results = stored(tmp_path, made, other)
    done = dfkd("measure", "mine", "--results", results, "--device", "cpu", "--images", 40)
    assert done.exit_code == 0, done.output
    with Image.open(sheet_path(cache_dir(), made.run_id)) as sheet:
        assert sheet.size[1] == HEAD + 10 * (64 + GAP)
    assert not sheet_path(cache_dir(), other.run_id).exists()
    page = render(Store(results).scan(), results, cache_dir())
    assert page.count("data:image/png") == 1


def test_only_the_lowest_finished_seed_of_a_row_is_shown() -> None:
    records = [make_record(seed=seed) for seed in (2, 1, 3)]
    records += [failed_record(seed=0), make_record(method="b", seed=7)]
    assert _shown(records) == {records[1].run_id, records[-1].run_id}


@pytest.mark.parametrize(
    ("budget", "images", "expected"),
    [
        ("smoke", None, 5_000),
        ("cpu", None, 5_000),
        ("gpu", None, 10_000),
        ("paper", None, 10_000),
        ("cpu", 64, 64),
        ("paper", 64, 64),
    ],
)
def test_how_many_images_are_judged_depends_on_the_budget(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    budget: str,
    images: int | None,
    expected: int,
) -> None:
    class Enough(Exception):
        pass

    class Fake:
        def __init__(self, *arguments: object) -> None:
            pass

        def draw(self, count: int) -> None:
            raise Enough(str(count))

    monkeypatch.setattr(measuring, "Recovered", Fake)
    monkeypatch.setattr(measuring, "revive", lambda *arguments, **options: (None, None))
    request = measuring.MeasureRequest("mine", ("task",), tmp_path, images=images, device="cpu")
    record = make_record(budget=tiny_budget(name=budget))
    bars = MeasureBars(Console(quiet=True))
    with pytest.raises(Enough, match=f"^{expected}$"):
        measuring.Measuring(request, bars.say, bars.bar).measure(record)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["measure", "nothing"], "has no suite 'nothing'"),
        (["measure", "mine", "--extractor", "incepton"], "did you mean 'inception'?"),
        (["measure", "mine", "--overwrite", "failed"], "choose never or always"),
        (["image-quality"], "dfkd measure SUITE"),
        (["image-quality", "--extractor", "tsk"], "choose from: task, inception"),
        (["images", "abcd"], "no record 'abcd'"),
    ],
)
def test_bad_input_is_answered_in_one_line(tmp_path: Path, arguments: list[str], says: str) -> None:
    results = stored(tmp_path, make_record(suite="mine"))
    done = dfkd(*arguments, "--results", results)
    assert done.exit_code == 2, done.output
    assert says in one_line(done.output)


def test_maps_have_no_critic_but_a_sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = Scenes.teacher_recipe.model_copy(update={"epochs": 1})
    monkeypatch.setattr(Scenes, "teacher_recipe", quick)
    results = tmp_path / "results"
    ran = dfkd(
        *("run", "--task", "scenes", "--method", "noise", "--budget", "smoke"),
        *("--seeds", "0", "--jobs", "1", "--results", results),
    )
    assert ran.exit_code == 0, ran.output
    refused = dfkd("measure", "custom", "--results", results)
    assert refused.exit_code == 1
    assert "--extractor inception" in one_line(refused.output)
    (record,) = Store(results).scan().records
    drawn = dfkd("images", record.run_id, "--results", results, "--output", tmp_path / "sheet.png")
    assert drawn.exit_code == 0, drawn.output
    assert Image.open(tmp_path / "sheet.png").height == HEAD + 9 * (64 + GAP)


# dfkd images


def test_a_contact_sheet_shows_every_class_and_leaves_missing_images_out() -> None:
    def of(value: int, count: int) -> torch.Tensor:
        return torch.full((count, 3, 16, 16), value, dtype=torch.uint8)

    sheet = contact_sheet([[of(10, 3), of(20, 0)], [of(30, 2), of(40, 2)]], ["a", "b"], 2)
    tile, block = 64, 2 * (64 + GAP) + MARGIN // 2
    assert sheet.size == (MARGIN + 2 * block, HEAD + 2 * (tile + GAP))

    def centre(group: int, label: int, column: int) -> Any:
        left = MARGIN + group * block + column * (tile + GAP)
        return sheet.getpixel((left + tile // 2, HEAD + label * (tile + GAP) + tile // 2))

    assert centre(0, 0, 1) == (10, 10, 10)
    assert centre(0, 1, 0) == (255, 255, 255)
    assert centre(1, 1, 1) == (40, 40, 40)


def test_the_images_command_writes_a_picture(
    tmp_path: Path, context: Context, digits_teacher: TrainedTeacher
) -> None:
    record, *_ = finished(context, digits_teacher, "noise")
    results = stored(tmp_path, record)
    output = tmp_path / "sheet.png"
    done = dfkd("images", record.run_id[:8], "--results", results, "--output", output)
    assert done.exit_code == 0, done.output
    assert str(output) in done.output
    assert sheet_path(cache_dir(), record.run_id).read_bytes() == output.read_bytes()
    with Image.open(output) as sheet:
        assert sheet.size[1] == HEAD + 10 * (64 + GAP)
    other = tmp_path / "sheet.jpg"
    done = dfkd("images", record.run_id, "--results", results, "--output", other)
    assert done.exit_code == 2
    assert f"--output '{other}' must end in .png" in done.output.replace("\n", "")
    assert not other.exists()
    empty_sample_cache()
    done = dfkd("images", record.run_id, "--results", results, "--output", output)
    assert done.exit_code == 2
    assert "--synthesize" in one_line(done.output)


def test_what_another_command_measured_in_the_meantime_is_kept(tmp_path: Path) -> None:
    def quality(dtype: str) -> ImageQuality:
        numbers = Measured(images=9, metrics={"fid": 1.0})
        return ImageQuality(
            version=1,
            extractor="a critic",
            checksum="c" * 16,
            dtype=dtype,
            batch=250,
            reference=10000,
            pairs=2000,
            samples=numbers,
            real_test=numbers,
            noise=numbers,
        )

    store, record = Store(tmp_path), make_record()
    old = record.model_copy(update={"quality": {"inception": quality("old")}})
    store.put(old)
    measured = old.model_copy(
        update={"quality": {"inception": quality("old"), "task": quality("mine")}}
    )
    store.put(record.model_copy(update={"quality": {"inception": quality("new")}}))
    _add(measured, old, ("task",), store)
    (found,) = store.scan().records
    assert {name: own.dtype for name, own in found.quality.items()} == {
        "inception": "new",
        "task": "mine",
    }
