from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from benchmark.machine import stopping
from benchmark.machine.tensors import checksum, save_tensors
from benchmark.tasks.base import TeacherRecipe
from benchmark.tasks.data.digits import read_digits
from benchmark.tasks.digits import Digits
from benchmark.tasks.mnist import MNIST
from benchmark.teachers import training
from benchmark.teachers.teacher import (
    TrainedTeacher,
    find_teacher,
    keep_teacher,
    teacher_file,
    teacher_folders,
    weight_bytes,
)
from benchmark.teachers.training import obtain_teacher, teacher_loss, train_teacher
from tests.helpers import one_line

DATA = read_digits()


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> Digits:
    """The digits task with a teacher of one epoch."""
    recipe = Digits.teacher_recipe.model_copy(update={"epochs": 1})
    monkeypatch.setattr(Digits, "teacher_recipe", recipe)
    return Digits()


def obtained(task: Digits, *folders: Path) -> tuple[TrainedTeacher, list[str], int]:
    """The teacher, what was said, and how many training steps were reported."""
    said: list[str] = []
    steps: list[int] = []
    teacher = obtain_teacher(
        task, DATA, folders, said.append, lambda phase, step, total, loss: steps.append(step)
    )
    return teacher, said, len(steps)


def test_a_teacher_is_trained_once_and_found_again(task: Digits, tmp_path: Path) -> None:
    first, said, steps = obtained(task, tmp_path)
    assert steps == 1437 // 64
    again, _, steps = obtained(task, tmp_path)
    assert steps == 0
    assert said == []
    assert again.info == first.info
    assert checksum(again.weights) == first.info.checksum
    assert [path.name for path in tmp_path.iterdir()] == [teacher_file(task, DATA.checksum())]


@pytest.mark.parametrize("damage", ["flipped byte", "truncated", "no header", "empty"])
def test_a_damaged_teacher_is_said_and_trained_again_to_the_same_bits(
    task: Digits, tmp_path: Path, damage: str
) -> None:
    first, _, _ = obtained(task, tmp_path)
    path = tmp_path / teacher_file(task, DATA.checksum())
    content = bytearray(path.read_bytes())
    if damage == "flipped byte":
        content[len(content) // 2] ^= 0xFF
    else:
        kept = {"truncated": len(content) // 2, "no header": 4, "empty": 0}[damage]
        content = content[:kept]
    path.write_bytes(content)

    again, said, steps = obtained(task, tmp_path)
    assert len(said) == 1
    assert str(path) in one_line(said[0])
    assert "damaged" in said[0]
    assert steps > 0
    assert again.info == first.info
    _, said, steps = obtained(task, tmp_path)
    assert (said, steps) == ([], 0)  # the repaired file is good


def test_training_does_not_depend_on_the_global_generator(task: Digits) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = train_teacher(task, DATA, lambda *event: None)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert train_teacher(task, DATA, lambda *event: None).info == first.info


def test_a_second_folder_serves_when_the_first_is_empty_or_damaged(
    task: Digits, tmp_path: Path, digits_teacher: TrainedTeacher
) -> None:
    name = teacher_file(task, DATA.checksum())
    shipped = with_recipe(digits_teacher, task.recipe().identity())
    keep_teacher(shipped, tmp_path / "shipped" / name)
    found, said, steps = obtained(task, tmp_path / "cache", tmp_path / "shipped")
    assert (found.info, said, steps) == (shipped.info, [], 0)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / name).write_bytes(b"broken")
    found, said, steps = obtained(task, tmp_path / "cache", tmp_path / "shipped")
    assert (found.info, len(said), steps) == (shipped.info, 1, 0)


def test_a_file_of_another_recipe_than_its_name_says_is_not_taken(
    task: Digits, tmp_path: Path, digits_teacher: TrainedTeacher
) -> None:
    path = tmp_path / teacher_file(task, DATA.checksum())
    for recipe in ({**task.recipe().identity(), "epochs": 3}, {"imported": "mine.pth"}):
        keep_teacher(with_recipe(digits_teacher, recipe), path)
        said: list[str] = []
        assert find_teacher(task, DATA.checksum(), [tmp_path], said.append) is None
        assert "not trained by the recipe" in one_line(said[0])
        assert "dfkd import-teacher" in said[0]


def test_weights_that_another_program_wrote_are_not_taken(task: Digits, tmp_path: Path) -> None:
    path = tmp_path / teacher_file(task, DATA.checksum())
    weights = task.make_teacher().state_dict()
    save_tensors(path, weights, {"made by": "somebody"})
    said: list[str] = []
    assert find_teacher(task, DATA.checksum(), [tmp_path], said.append) is None
    assert "does not say what teacher it is" in said[0]
    save_file(weights, path)
    assert find_teacher(task, DATA.checksum(), [tmp_path], said.append) is None
    assert str(path) in one_line(said[1])


def test_shipped_teachers_are_found_wherever_the_records_are(tmp_path: Path) -> None:
    shipped = Path(__file__).parents[3] / "results"
    own, fallback, cache = teacher_folders(tmp_path / "results")
    assert own == tmp_path / "results" / "teachers"
    assert fallback.samefile(shipped / "teachers")
    assert cache == tmp_path / "cache" / "teachers"
    assert len(teacher_folders(shipped)) == 2
    found = find_teacher(MNIST(), "3ee7f568b8fdc891", teacher_folders(tmp_path / "results"))
    assert found is not None
    assert found.info.checksum == "7063eadebfb4206c"


def with_recipe(teacher: TrainedTeacher, recipe: dict[str, Any]) -> TrainedTeacher:
    return replace(teacher, info=teacher.info.model_copy(update={"recipe": recipe}))


def test_no_teacher_anywhere_is_none(task: Digits, tmp_path: Path) -> None:
    assert find_teacher(task, DATA.checksum(), [tmp_path, tmp_path / "absent"]) is None


def test_another_recipe_version_or_data_is_another_file(
    task: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {teacher_file(task, DATA.checksum()), teacher_file(task, "other data")}
    monkeypatch.setattr(Digits, "version", 99)
    names.add(teacher_file(task, DATA.checksum()))
    recipe = Digits.teacher_recipe.model_copy(update={"learning_rate": 0.5})
    monkeypatch.setattr(Digits, "teacher_recipe", recipe)
    names.add(teacher_file(task, DATA.checksum()))
    assert len(names) == 4


def test_what_is_known_of_a_teacher_is_true(digits_teacher: TrainedTeacher) -> None:
    info = digits_teacher.info
    assert info.checksum == checksum(digits_teacher.weights)
    assert info.chance == pytest.approx(37 / 360)  # the most frequent digit of the test split
    task = Digits()
    network = digits_teacher.build(task).eval()
    with torch.no_grad():
        predicted = network(task.preprocess(DATA.test.images)).argmax(1)
    assert info.accuracy == pytest.approx(float((predicted == DATA.test.labels).float().mean()))
    assert info.accuracy > 0.5
    assert checksum(network.state_dict()) == info.checksum
    assert weight_bytes(digits_teacher) < 200_000


# Interrupted training


@pytest.fixture
def dropping_out(monkeypatch: pytest.MonkeyPatch) -> Digits:
    """A teacher of two epochs whose training draws from every random stream there is."""
    recipe = TeacherRecipe(
        epochs=2,
        batch=64,
        learning_rate=0.01,
        optimizer="sgd",
        momentum=0.9,
        schedule="one-cycle",
        augmentation="crop-flip",
    )
    build = Digits.make_teacher
    monkeypatch.setattr(Digits, "teacher_recipe", recipe)
    monkeypatch.setattr(
        Digits,
        "make_teacher",
        lambda self: torch.nn.Sequential(torch.nn.Dropout(0.2), build(self)),
    )
    return Digits()


def interrupted_at(
    step: int, task: Digits, cache: Path, do: Callable[[], None] = lambda: None
) -> list[int]:
    """Train as the command does, and do something at a step; the steps that were trained."""
    steps: list[int] = []

    def watch(phase: str, done: int, total: int, loss: float) -> None:
        steps.append(done)
        if done == step:
            do()

    with stopping.on_signals(None, patient=False):
        obtain_teacher(task, DATA, [cache / "teachers"], progress=watch, checkpoint_seconds=60)
    return steps


@pytest.mark.parametrize(
    ("number", "step"),
    [(signal.SIGINT, 1), (signal.SIGTERM, 22), (signal.SIGINT, 44)],
)
def test_a_teacher_goes_on_where_it_was_stopped_with_the_same_bits(
    dropping_out: Digits, tmp_path: Path, number: int, step: int
) -> None:
    whole = train_teacher(dropping_out, DATA, lambda *event: None)
    with pytest.raises(KeyboardInterrupt):
        interrupted_at(step, dropping_out, tmp_path, lambda: signal.raise_signal(number))
    (state,) = (tmp_path / "checkpoints").glob("*/*")
    assert state.name == "teacher.safetensors"
    assert not (tmp_path / "teachers").exists()

    assert interrupted_at(0, dropping_out, tmp_path) == list(range(step + 1, 45))
    found = find_teacher(dropping_out, DATA.checksum(), [tmp_path / "teachers"])
    assert found is not None
    assert found.info == whole.info
    assert not list((tmp_path / "checkpoints").iterdir())  # what has its teacher is forgotten


def test_a_damaged_state_of_a_teacher_is_said_and_training_starts_again(
    dropping_out: Digits, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted_at(9, dropping_out, tmp_path, lambda: signal.raise_signal(signal.SIGINT))
    (state,) = (tmp_path / "checkpoints").glob("*/*")
    state.write_bytes(state.read_bytes()[:-100])
    assert interrupted_at(0, dropping_out, tmp_path) == list(range(1, 45))
    assert "checkpoint ignored" in one_line(caplog.messages[0])


def test_a_second_signal_stops_a_teacher_at_once(dropping_out: Digits, tmp_path: Path) -> None:
    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        interrupted_at(5, dropping_out, tmp_path, twice)
    assert not (tmp_path / "checkpoints").exists()


def test_a_teacher_of_another_recipe_does_not_go_on_from_this_one(
    dropping_out: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted_at(9, dropping_out, tmp_path, lambda: signal.raise_signal(signal.SIGINT))
    recipe = Digits.teacher_recipe.model_copy(update={"learning_rate": 0.02})
    monkeypatch.setattr(Digits, "teacher_recipe", recipe)
    assert interrupted_at(0, dropping_out, tmp_path) == list(range(1, 45))


def test_a_teacher_of_other_code_does_not_go_on_from_this_one(
    dropping_out: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted_at(9, dropping_out, tmp_path, lambda: signal.raise_signal(signal.SIGINT))
    monkeypatch.setattr(training, "fingerprint", lambda *files: "other code")
    assert interrupted_at(0, dropping_out, tmp_path) == list(range(1, 45))


def test_a_recipe_may_use_some_of_the_images(task: Digits, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Digits.teacher_recipe.model_copy(update={"images": 128})
    monkeypatch.setattr(Digits, "teacher_recipe", recipe)
    steps: list[int] = []
    few = train_teacher(task, DATA, lambda phase, step, total, loss: steps.append(total))
    assert steps == [2, 2]
    assert few.info.recipe["images"] == 128


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """−log softmax at the label, worked out in float64, for logits N×K."""
    shares = logits.double().exp()
    return -(shares[range(len(labels)), labels] / shares.sum(1)).log()


def test_class_255_of_a_classifier_is_a_class_like_any_other() -> None:
    stream = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 300, generator=stream)
    for labels in (torch.tensor([255, 3, 255, 0]), torch.full((4,), 255)):
        expected = cross_entropy(logits, labels).mean()
        torch.testing.assert_close(teacher_loss(logits, labels).double(), expected)


def test_void_pixels_do_not_count_and_a_batch_of_void_alone_costs_nothing() -> None:
    stream = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 2, 2, generator=stream, requires_grad=True)
    labels = torch.tensor([[[0, 255], [2, 1]], [[255, 255], [255, 0]]])
    flat, chosen = logits.movedim(1, -1).reshape(-1, 3), labels.flatten()
    seen = chosen != 255
    expected = cross_entropy(flat[seen].detach(), chosen[seen]).mean()
    loss = teacher_loss(logits, labels)
    torch.testing.assert_close(loss.detach().double(), expected)
    nothing = teacher_loss(logits, torch.full_like(labels, 255))
    nothing.backward()
    assert nothing.item() == 0
    assert logits.grad is not None
    assert logits.grad.count_nonzero() == 0
