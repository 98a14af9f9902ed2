"""Teachers that somebody else trained: read, scored, kept under their own id, named by runs."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from benchmark.errors import UserError
from benchmark.machine.tensors import checksum
from benchmark.tasks.data.digits import read_digits
from benchmark.tasks.digits import Digits
from benchmark.tasks.registry import get_task
from benchmark.teachers.imported import (
    Source,
    find_imported,
    import_teacher,
    imported_file,
    imported_teachers,
    keep_imported,
)
from benchmark.teachers.normalized import Renormalized
from benchmark.teachers.teacher import TrainedTeacher, keep_teacher
from methods.base.problem import Normalization
from methods.networks.inspection import final_layer
from tests.helpers import one_line

DATA = read_digits()
OTHER = Normalization((0.5,), (0.25,))


@pytest.fixture
def file(tmp_path: Path, digits_teacher: TrainedTeacher) -> Path:
    """The weights of the digits teacher, as a stranger would give them."""
    path = tmp_path / "elsewhere" / "digits_cnn.pth"
    path.parent.mkdir()
    state = {f"module.{key}": value for key, value in digits_teacher.weights.items()}
    torch.save({"state_dict": state, "epoch": 3}, path)
    return path


def imported(file: Path, **options: Any) -> TrainedTeacher:
    return import_teacher(Digits(), DATA, Source(file, **options), "cpu")


def refusal(file: Path, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        imported(file, **options)
    return one_line(str(caught.value))


# Importing


def test_an_imported_teacher_is_scored_and_says_where_it_comes_from(
    file: Path, digits_teacher: TrainedTeacher
) -> None:
    teacher = imported(file)
    assert teacher.info.accuracy == digits_teacher.info.accuracy
    assert teacher.info.chance == digits_teacher.info.chance
    assert teacher.info.checksum == digits_teacher.info.checksum
    assert teacher.info.recipe == {
        "imported": "digits_cnn.pth",
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "data": DATA.checksum(),
    }
    digits = teacher.info.recipe["sha256"][:16]
    assert teacher.info.origin == f"imported from digits_cnn.pth, SHA-256 {digits}"
    assert digits_teacher.info.origin == ""


def test_what_cannot_be_a_teacher_is_answered_in_one_line(tmp_path: Path, file: Path) -> None:
    assert "there is no file" in refusal(tmp_path / "absent.pth")
    whole = tmp_path / "whole.pt"
    torch.save(Digits().make_teacher(), whole)
    assert "execute anything" in refusal(whole)
    student = tmp_path / "student.pt"
    torch.save(Digits().make_student().state_dict(), student)
    assert "not those of the teacher of 'digits'" in refusal(student)
    assert "no weight has 'stem'" in refusal(file, renames=(("stem", "conv"),))
    broken = {key: v * torch.nan for key, v in Digits().make_teacher().state_dict().items()}
    torch.save(broken, tmp_path / "nan.pt")
    assert "NaN" in refusal(tmp_path / "nan.pt")
    no_spread = Normalization((0.0,), (0.0,))
    assert "--std is not above zero" in refusal(file, normalization=no_spread)
    colours = Normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert "--mean has 3 numbers" in refusal(file, normalization=colours)


# A normalisation of its own


def test_the_same_weights_behind_another_normalisation_are_another_teacher(
    file: Path, digits_teacher: TrainedTeacher
) -> None:
    same, other = (imported(file, normalization=own) for own in (Digits.normalization, OTHER))
    assert same.info.checksum == digits_teacher.info.checksum
    assert other.info.checksum != same.info.checksum
    assert other.info.recipe["mean"] == [0.5]
    assert other.info.origin.endswith("its input normalised by mean 0.5 and std 0.25")


def test_a_network_sees_what_its_own_normalisation_makes_of_the_pixels(
    file: Path, digits_teacher: TrainedTeacher
) -> None:
    task, pixels = Digits(), DATA.test.images[:64]
    network = imported(file, normalization=OTHER).build(task).eval()
    plain = digits_teacher.build(task).eval()
    sized = nn.functional.interpolate(
        pixels.float() / 255, size=task.image_shape[1:], mode="bilinear", align_corners=False
    )
    with torch.no_grad():
        expected = plain((sized - 0.5) / 0.25)
        torch.testing.assert_close(network(task.preprocess(pixels)), expected)


def test_a_renormalized_network_is_read_again_with_the_same_checksum(
    file: Path, tmp_path: Path
) -> None:
    teacher = imported(file, normalization=OTHER)
    keep_imported(Digits(), teacher, tmp_path / "kept")
    found = find_imported(Digits(), DATA.checksum(), teacher.info.checksum, [tmp_path / "kept"])
    assert found.info == teacher.info
    assert checksum(found.build(Digits()).state_dict()) == teacher.info.checksum


@pytest.mark.parametrize("name", ["digits", "mnist", "svhn", "cifar10", "cifar10-lite", "scenes"])
def test_networks_behind_another_normalisation_answer_as_they_do(name: str) -> None:
    task = get_task(name)
    network: Any = task.make_teacher().eval()
    channels = task.image_shape[0]
    own = Normalization((0.5,) * channels, (0.25,) * channels)
    behind = Renormalized(network, task.normalization, own).eval()
    images = torch.randn(2, *task.image_shape, generator=torch.Generator().manual_seed(0))
    wanted = own.normalize(task.normalization.denormalize(images))
    with torch.no_grad():
        features = behind.forward_features(images)
        close = {"rtol": 1e-3, "atol": 1e-4}
        torch.testing.assert_close(behind(images), network(wanted), **close)
        torch.testing.assert_close(features, network.forward_features(wanted), **close)
        torch.testing.assert_close(behind.forward_head(features), behind(images), **close)
    assert behind.num_classes == task.num_classes
    if task.task_type == "classification":
        assert final_layer(behind, task.image_shape) is final_layer(network, task.image_shape)
    copied = copy.deepcopy(behind)
    assert checksum(copied.state_dict()) == checksum(behind.state_dict())
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = behind.nothing


# Kept under its own id


def test_an_imported_teacher_has_a_file_of_its_own(file: Path, tmp_path: Path) -> None:
    teacher = imported(file)
    path = keep_imported(Digits(), teacher, tmp_path)
    assert path.name == f"digits-imported-{teacher.info.checksum}.safetensors"
    found = find_imported(Digits(), DATA.checksum(), teacher.info.checksum[:4], [tmp_path])
    assert found.info == teacher.info


def unknown(identifier: str, *folders: Path, data: str = "") -> str:
    with pytest.raises(UserError) as caught:
        find_imported(Digits(), data or DATA.checksum(), identifier, folders)
    return one_line(str(caught.value))


def test_an_id_that_is_none_is_answered_with_those_that_are(file: Path, tmp_path: Path) -> None:
    message = unknown("abc", tmp_path)
    assert "'abc' is no imported teacher of task 'digits'; here is none" in message
    assert "dfkd import-teacher --task digits --weights FILE" in message
    teachers = [imported(file), imported(file, normalization=OTHER)]
    for teacher in teachers:
        keep_imported(Digits(), teacher, tmp_path)
    message = unknown("xyz", tmp_path)
    assert all(f"{t.info.checksum} (digits_cnn.pth)" in message for t in teachers)
    assert "scored on other data" in unknown(teachers[0].info.checksum, tmp_path, data="other")


def test_a_file_that_is_not_what_its_name_says_is_ignored_with_a_sentence(
    file: Path, tmp_path: Path, digits_teacher: TrainedTeacher
) -> None:
    folder, teacher, task = tmp_path / "kept", imported(file), Digits()
    folder.mkdir()
    faults = {
        "damaged": imported_file(task, "0" * 16),
        "the name of another teacher": imported_file(task, "1" * 16),
        "does not say what it was imported from": imported_file(task, teacher.info.checksum),
    }
    plain, other, own = (folder / name for name in faults.values())
    save_file(teacher.weights, plain)
    keep_teacher(teacher, other)
    keep_teacher(digits_teacher, own)
    said: list[str] = []
    assert imported_teachers(task, [folder], said.append) == {}
    assert len(said) == 3
    for fault, name in faults.items():
        (text,) = (line for line in said if name in line)
        assert fault in one_line(text)
