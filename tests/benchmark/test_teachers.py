from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmark.artifacts import checksum
from benchmark.data.digits import read_digits
from benchmark.tasks.digits import Digits
from benchmark.teachers import (
    TrainedTeacher,
    find_teacher,
    keep_teacher,
    obtain_teacher,
    teacher_file,
    train_teacher,
    weight_bytes,
)
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
    keep_teacher(digits_teacher, tmp_path / "shipped" / name)
    found, said, steps = obtained(task, tmp_path / "cache", tmp_path / "shipped")
    assert (found.info, said, steps) == (digits_teacher.info, [], 0)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / name).write_bytes(b"broken")
    found, said, steps = obtained(task, tmp_path / "cache", tmp_path / "shipped")
    assert (found.info, len(said), steps) == (digits_teacher.info, 1, 0)


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
