"""The harness on maps: teachers, runs, records, pictures and tables of the `scenes` task."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from torch import nn
from typer.testing import CliRunner

from benchmark.analysis.leaderboard.cells import headline_grid
from benchmark.analysis.leaderboard.classes import class_tables
from benchmark.analysis.leaderboard.markdown import markdown_table
from benchmark.analysis.leaderboard.tables import tables
from benchmark.analysis.leaderboard.terminal import print_table
from benchmark.cli.display import outcome
from benchmark.cli.program import app
from benchmark.errors import UserError
from benchmark.machine.cache import picture_path
from benchmark.metrics.segmentation import mean_iou, pixel_accuracy
from benchmark.records.record import Record, SegmentationInfo, TeacherInfo
from benchmark.records.store import Scan, Store
from benchmark.runs.job import Context, Job
from benchmark.runs.pictures import maps, sheet
from benchmark.runs.replay import compare
from benchmark.runs.trial import execute
from benchmark.suites.plan import plan
from benchmark.suites.suite import MethodEntry, Suite
from benchmark.tasks.base import TeacherRecipe
from benchmark.tasks.data.base import Dataset
from benchmark.tasks.data.scenes import PALETTE, TOWN, draw_scenes
from benchmark.tasks.digits import Digits
from benchmark.tasks.models import deeplab
from benchmark.tasks.registry import get_task
from benchmark.tasks.scenes import Scenes
from benchmark.teachers.teacher import TrainedTeacher
from benchmark.teachers.training import train_teacher
from methods.base.registry import discover
from methods.base.student import train_student
from methods.losses.predictions import IGNORE_INDEX as VOID
from tests.helpers import make_record, one_line

DATA = Dataset(draw_scenes(40, 0, TOWN), draw_scenes(12, 1, TOWN))
QUICK = TeacherRecipe(epochs=4, batch=8, learning_rate=1e-2)


class FewScenes(Scenes):
    """Few enough scenes for a test, and networks to match."""

    teacher_recipe = QUICK

    def load(self, data_dir: Path | None) -> Dataset:
        return DATA


@pytest.fixture(scope="module")
def teacher() -> TrainedTeacher:
    torch.set_num_threads(1)
    return train_teacher(FewScenes(), DATA, lambda *event: None)


@pytest.fixture
def run_of(teacher: TrainedTeacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Execute a method's smoke run on `FewScenes`."""
    monkeypatch.setattr("benchmark.runs.trial.get_task", lambda name: FewScenes())
    monkeypatch.setattr("benchmark.runs.job.dataset", lambda *args: DATA)
    context = Context(cache=tmp_path / "cache", teacher_folders=(), threads=1)

    def execute_one(method: str) -> Record:
        suite = Suite(
            name="s",
            budget="smoke",
            tasks=["scenes"],
            seeds=[0],
            methods=[MethodEntry(name=method)],
        )
        (run,) = plan(suite, discover())
        spec = run.spec(DATA.checksum())
        return execute(Job(spec, spec.run_id(teacher.info.checksum), {}, teacher), context)

    execute_one.context = context  # type: ignore[attr-defined]
    return execute_one


# Teachers


def test_a_teacher_of_maps_has_a_miou_and_no_accuracy(teacher: TrainedTeacher) -> None:
    written = teacher.info.model_dump(mode="json")
    assert set(written) == {"checksum", "miou", "pixel_accuracy", "chance", "recipe"}
    assert teacher.info.score == teacher.info.miou > teacher.info.chance
    assert TeacherInfo.model_validate(written) == teacher.info


def test_a_teacher_has_one_metric() -> None:
    with pytest.raises(ValueError, match="either an accuracy or a miou"):
        TeacherInfo(checksum="x", chance=0.1, recipe={})
    with pytest.raises(ValueError, match="either an accuracy or a miou"):
        TeacherInfo(checksum="x", chance=0.1, recipe={}, accuracy=0.5, miou=0.5)


@pytest.mark.parametrize(
    "change", [{"augmentation": "scale-crop-flip"}, {"class_balanced": True}], ids=str
)
def test_what_a_recipe_adds_for_maps_acts_and_repeats(change: dict[str, object]) -> None:
    task = FewScenes()
    checksums = []
    for recipe in (QUICK, QUICK.model_copy(update=change), QUICK.model_copy(update=change)):
        task.teacher_recipe = recipe.model_copy(update={"epochs": 1})  # type: ignore[misc]
        checksums.append(train_teacher(task, DATA, lambda *event: None).info.checksum)
    assert checksums[0] != checksums[1] == checksums[2]


def test_dropout_of_a_teacher_repeats_and_leaves_the_global_generator_alone() -> None:
    task = FewScenes()
    task.teacher_recipe = QUICK.model_copy(update={"epochs": 1})  # type: ignore[misc]
    made = task.make_teacher
    task.make_teacher = lambda: _with_dropout(made())  # type: ignore[method-assign]
    before = torch.get_rng_state()
    first = train_teacher(task, DATA, lambda *event: None).info
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    assert train_teacher(task, DATA, lambda *event: None).info == first


def _with_dropout(network: nn.Module) -> nn.Module:
    forward = network.forward_features
    network.forward_features = lambda x: nn.functional.dropout(forward(x), 0.5, network.training)
    return network


def test_pretrained_weights_that_cannot_be_had_are_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def offline(*args: object, **options: object) -> object:
        raise OSError("name or service\nnot known")

    network = get_task("camvid-imagenet").make_student()
    monkeypatch.setattr(deeplab.timm, "create_model", offline)
    with pytest.raises(UserError) as error:
        get_task("camvid-imagenet").load_pretrained(network)
    message = one_line(str(error.value))
    assert "mobilenetv2_100" in message
    assert "not known" in message
    with pytest.raises(UserError, match="has no pretrained backbone"):
        Digits().load_pretrained(nn.Identity())


def test_pretrained_weights_arrive_in_the_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    network = deeplab.timm_deeplab("mobilenetv2_050", 3, 16, width=8)
    source = deeplab.timm_deeplab("mobilenetv2_050", 3, 16, width=8).backbone
    monkeypatch.setattr(deeplab.timm, "create_model", lambda *args, **options: source)
    deeplab.load_imagenet_backbone(network)
    for name, value in network.backbone.state_dict().items():
        assert torch.equal(value, source.state_dict()[name]), name


def test_no_default_recipe_needs_a_network() -> None:
    for name in ("scenes", "camvid", "camvid-lite", "camvid-void", "voc2012"):
        assert all(not recipe.pretrained for recipe in get_task(name).recipes())
    for name in ("camvid-imagenet", "voc2012-imagenet"):
        identities = [recipe.identity() for recipe in get_task(name).recipes()]
        assert all(identity["pretrained"] == "imagenet" for identity in identities)


# Runs


@pytest.mark.parametrize("method", ["student-supervised", "kd-real", "noise"])
def test_a_run_is_scored_by_its_confusion_matrix(run_of, method: str) -> None:
    record = run_of(method)
    assert record.status in {"ok", "collapsed"}, record.reason
    assert Record.from_json(record.to_json()) == record
    info, metrics = record.segmentation, record.metrics
    assert info is not None
    confusion = torch.tensor(info.confusion)
    assert confusion.sum() == (DATA.test.labels != VOID).sum()
    true = DATA.test.labels[DATA.test.labels != VOID].long().bincount(minlength=9)
    assert torch.equal(confusion.sum(dim=1), true)
    assert metrics["miou"] == pytest.approx(mean_iou(confusion))
    assert metrics["pixel_accuracy"] == pytest.approx(pixel_accuracy(confusion))
    assert info.classes == list(Scenes.classes)
    of_samples = {"agreement", "class_balance", "confidence"}
    of_maps = {"miou", "pixel_accuracy", "miou_agreement", "miou_oracle", "miou_dev"}
    assert set(metrics) == of_maps | of_samples
    assert record.curves["evaluation/miou"]["step"] == [2, 4]
    assert record.score == metrics["miou"]


def test_a_run_of_maps_repeats(run_of) -> None:
    first, again = run_of("kd-real"), run_of("kd-real")
    assert compare(first, again) == []
    assert first.segmentation is not None
    altered = first.segmentation.confusion
    changed = [[count + 1 for count in row] for row in altered]
    other = first.model_copy(
        update={"segmentation": first.segmentation.model_copy(update={"confusion": changed})}
    )
    assert compare(first, other) == ["the confusion matrix differs"]


def test_a_student_that_says_one_class_everywhere_is_collapsed(
    run_of, monkeypatch: pytest.MonkeyPatch
) -> None:
    def constant(problem, samples, objective, run):
        student = problem.make_student()
        torch.optim.SGD(student.parameters(), lr=1.0).step()
        nn.init.zeros_(student.classifier.weight)
        with torch.no_grad():
            student.classifier.bias.copy_(torch.eye(9)[3])
        return student

    monkeypatch.setattr("methods.base.method.train_student", constant)
    record = run_of("noise")
    assert record.status == "collapsed"
    assert record.reason.startswith("miou 0.0")
    assert record.segmentation is not None
    assert sum(value > 0 for value in record.segmentation.per_class_iou if value is not None) == 1


# Pictures


def test_every_run_of_maps_leaves_a_picture(
    run_of, teacher: TrainedTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    students = []

    def remembered(*args, **kwargs):
        students.append(train_student(*args, **kwargs))
        return students[-1]

    monkeypatch.setattr("methods.base.method.train_student", remembered)
    record = run_of("kd-real")
    path = picture_path(run_of.context.cache, record.run_id)
    picture = Image.open(io.BytesIO(path.read_bytes())).convert("RGB")
    assert picture.width == 6 * 128 + 5 * 4

    def tile(row: int, column: int) -> np.ndarray:
        """Of the sheet, in which images are enlarged four times."""
        top, left = 16 + 132 * row, 132 * column
        return np.asarray(picture)[top + 2 : top + 128 : 4, left + 2 : left + 128 : 4]

    (student,) = students
    last = len(DATA.test.images) - 1
    shown = torch.tensor([0, last])
    inputs = FewScenes().preprocess(DATA.test.images[shown])
    with torch.no_grad():
        seen = [net.eval()(inputs).argmax(1) for net in (teacher.build(FewScenes()), student)]
    for column, labels in enumerate((DATA.test.labels[shown], *seen), start=1):
        for row, true in zip((0, 5), labels, strict=True):
            drawn = tile(row, column)
            assert np.array_equal(drawn, np.asarray(maps(FewScenes(), true[None])[0]))
            assert {tuple(colour) for colour in drawn.reshape(-1, 3)} <= {*PALETTE, (0, 0, 0)}
    assert not torch.equal(*seen)
    photograph = FewScenes().normalization.denormalize(inputs)[1].mul(255).round()
    assert np.array_equal(tile(5, 0), photograph.permute(1, 2, 0).numpy().astype(np.uint8))


def test_a_picture_that_cannot_be_written_costs_no_run(run_of, tmp_path: Path) -> None:
    blocked = tmp_path / "cache" / "pictures"
    blocked.parent.mkdir(parents=True)
    blocked.write_text("a file where the folder should be")
    assert run_of("kd-real").status in {"ok", "collapsed"}


def test_a_sheet_leaves_out_the_columns_it_has_not_got() -> None:
    tile = Image.new("RGB", (200, 150), "red")
    drawn = sheet([[tile, tile], [tile]], ["a", "b", "c"])
    assert drawn.size == (2 * 200 + 4, 16 + 2 * 150 + 4)


# Tables and pages


def records() -> list[Record]:
    return [
        make_record(
            accuracy=miou,
            metric="miou",
            method=method,
            seed=seed,
            task="scenes",
            chance=0.05,
            teacher_accuracy=0.5,
            metrics={"pixel_accuracy": 0.7 + miou, "miou_oracle": 0.3, "miou_agreement": 0.2},
        )
        for method, scores in {"kd-real": (0.2, 0.24), "noise": (0.1, 0.1)}.items()
        for seed, miou in enumerate(scores)
    ]


def test_tables_of_maps_rank_by_miou_with_pixel_accuracy_beside_it() -> None:
    (table,) = tables(Scan(records=records()))
    grid = headline_grid(table)
    at = grid.names.index("access") + 1
    assert grid.names[at : at + 2] == ("mIoU, %", "pixel accuracy, %")
    assert "accuracy, %" not in grid.names
    first = dict(zip(grid.names, grid.body[0], strict=True))
    assert first["method"] == "KD-REAL"
    assert first["mIoU, %"] == "22.00 (0.00 to 47.41)"
    assert first["pixel accuracy, %"] == "92.00"
    assert first["of teacher, %"] == "44.00"
    assert first["oracle, %"] == "30.00"
    assert first["agreement, %"] == "20.00"
    assert "Teacher `0123456789abcdef`, mIoU 50.00 %" in markdown_table(table)
    console = Console(width=250, record=True, file=io.StringIO())
    print_table(table, console)
    assert "pixel accuracy, %" in console.export_text()


def test_a_failed_run_of_maps_counts_at_its_chance() -> None:
    failed = make_record(
        accuracy=None,
        metric="miou",
        method="kd-real",
        seed=2,
        task="scenes",
        chance=0.05,
        teacher_accuracy=0.5,
        status="error",
    )
    (table,) = tables(Scan(records=[*records(), failed]))
    row = next(row for row in table.rows if row.method == "kd-real")
    assert row.score == pytest.approx((0.2 + 0.24 + 0.05) / 3)


def test_progress_and_pages_say_miou(tmp_path: Path) -> None:
    record = records()[0]
    assert outcome(record) == "mIoU 0.2000 (teacher 0.5000)"
    assert outcome(make_record()) == "0.9000 (teacher 0.9900)"
    info = SegmentationInfo(
        classes=["sky", "road", "sign"],
        per_class_iou=[0.75, 0.6, None],
        confusion=[[3, 0, 1], [0, 3, 1], [0, 0, 0]],
        sample_shares=[0.7, 0.2, 0.1],
    )
    Store(tmp_path).put(record.model_copy(update={"segmentation": info}))
    arguments = ["show", record.run_id, "--results", str(tmp_path)]
    shown = " ".join(CliRunner().invoke(app, arguments).output.split())
    assert "miou 0.5000" in shown
    assert "sky 0.7500 4 0.7500 sign 0.5000 0.7000" in shown
    assert "sign absent from the test images, not in the mean 0 – – 0.0000 0.1000" in shown
    assert "dfkd replay draws it" in shown


def test_classes_have_tables_of_their_own_below_the_ranked_one() -> None:
    """IoU averaged over runs; a record made before shares were kept counts for IoU alone."""
    first = SegmentationInfo(
        classes=["sky", "sign"],
        per_class_iou=[0.5, None],
        confusion=[[8, 0], [0, 0]],
        sample_shares=[0.25, 0.75],
    )
    second = first.model_copy(update={"per_class_iou": [0.6, None], "sample_shares": None})
    runs = [
        make_record(method="noise", seed=seed).model_copy(update={"segmentation": info})
        for seed, info in enumerate((first, second))
    ]
    (table,) = tables(Scan(records=runs))
    iou, shares = class_tables(table)
    assert iou.body == [["NOISE", "2", "55.00", "–"]]
    assert shares.body == [
        ["Test images, labels", "–", "100.00", "0.00"],
        ["NOISE", "1", "25.00", "75.00"],
    ]
    assert "| images of | n | sky | sign |" in markdown_table(table)
    assert "sample_shares" not in runs[1].to_json()
    assert Record.from_json(runs[0].to_json()) == runs[0]


def test_a_run_says_what_the_teacher_sees_in_its_images(run_of) -> None:
    record = run_of("noise")
    assert record.segmentation is not None
    shares = record.segmentation.sample_shares
    assert shares is not None
    assert sum(shares) == pytest.approx(1)
    assert sum(record.segmentation.test_shares) == pytest.approx(1)


def test_records_without_maps_are_written_as_before() -> None:
    text = make_record().to_json()
    assert "segmentation" not in text
    assert "miou" not in text
    assert "pixel_accuracy" not in text


def test_labels_of_maps_are_kept_small_and_handed_out_wide(run_of, teacher: TrainedTeacher) -> None:
    from benchmark.runs.posing import pose
    from methods.base.teacher import Teacher
    from methods.baselines import StudentSupervised

    task = FewScenes()
    problem = pose(task, StudentSupervised(), Teacher(teacher.build(task)), 0, run_of.context)
    assert DATA.train.labels.dtype == torch.uint8
    assert problem.train_labels.dtype == torch.int64
    assert problem.task_type == "segmentation"
