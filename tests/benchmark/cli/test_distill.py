from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from benchmark.cli import export
from benchmark.cli.program import app
from benchmark.tasks.data.base import DataError
from benchmark.tasks.data.labelled import labelled_images
from tests.helpers import FAULTY_METHODS, IMAGE_SHAPE, one_line, tiny_network

HELPERS = "tests.helpers:TinyNetwork"
Distill = Callable[..., Any]


@pytest.fixture
def distill(tmp_path: Path) -> Distill:
    """Calls the command on a tiny teacher in a file; options replace the usual ones by name."""
    save_file(tiny_network(seed=7).state_dict(), tmp_path / "teacher.safetensors")

    def call(*more: Any, **options: Any) -> Any:
        usual = {
            "teacher": HELPERS,
            "weights": tmp_path / "teacher.safetensors",
            "student": HELPERS,
            "image_shape": "1,8,8",
            "mean": "0.5",
            "std": "0.25",
            "out": tmp_path / "out" / "student.safetensors",
            "budget": "smoke",
            "device": "cpu",
        }
        given = {name: value for name, value in {**usual, **options}.items() if value is not None}
        arguments = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
        return CliRunner().invoke(app, ["distill", *arguments, *map(str, more)])

    return call


def out(tmp_path: Path) -> Path:
    return tmp_path / "out" / "student.safetensors"


def test_the_student_is_written_with_what_one_must_know_to_use_it(
    tmp_path: Path, distill: Distill
) -> None:
    done = distill("--set", "temperature=4", "--student-steps=3", method="noise", seed=2)
    assert done.exit_code == 0, done.output
    assert "distillation: 3 steps" in done.output
    assert "agrees with its teacher on" in done.output
    tiny_network().load_state_dict(load_file(out(tmp_path)))
    with safe_open(out(tmp_path), framework="pt") as file:
        about = json.loads(file.metadata()["dfkd"])
    assert about["settings"] == {"temperature": 4}
    assert about["image_shape"] == list(IMAGE_SHAPE)
    assert (about["method"], about["seed"], about["mean"]) == ("noise", 2, [0.5])
    assert str(tmp_path) not in json.dumps(about)
    assert [path.name for path in out(tmp_path).parent.iterdir()] == ["student.safetensors"]


def test_equal_commands_give_equal_files(tmp_path: Path, distill: Distill) -> None:
    first, again, other = (tmp_path / f"{name}.safetensors" for name in "abc")
    for path, seed in ((first, 1), (again, 1), (other, 2)):
        assert distill(method="noise", out=path, seed=seed).exit_code == 0
    assert first.read_bytes() == again.read_bytes()
    assert not torch.equal(load_file(first)["conv.weight"], load_file(other)["conv.weight"])


def test_steps_and_images_mean_the_same_to_a_method_that_optimises_pixels(
    distill: Distill,
) -> None:
    done = distill("--synthesis-steps=3", "--images=20", method="zskd")
    assert done.exit_code == 0, done.output
    assert "synthesis: 3 steps" in done.output


def test_methods_of_ones_own_may_be_used_and_may_fail(tmp_path: Path, distill: Distill) -> None:
    done = distill(methods_dir=FAULTY_METHODS, method="diverges")
    assert done.exit_code == 1
    assert "diverges failed:" in one_line(done.output)
    assert "nothing was written" in done.output
    assert distill(methods_dir=FAULTY_METHODS, method="raises").exit_code == 1
    assert not out(tmp_path).exists()


def test_an_interruption_leaves_nothing(
    tmp_path: Path, distill: Distill, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("methods.base.method.train_student", interrupt)
    done = distill()
    assert done.exit_code == 130
    assert "nothing was written" in done.output
    assert not out(tmp_path).exists()


def test_weights_that_cannot_be_trusted_are_refused(tmp_path: Path, distill: Distill) -> None:
    torch.save(tiny_network(), tmp_path / "whole.pt")
    done = distill(weights=tmp_path / "whole.pt")
    assert done.exit_code == 2
    assert "could execute anything" in one_line(done.output)


# Bad input


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"teacher": "no_such_module:net"}, "there is no module 'no_such_module'"),
        ({"teacher": "tests.helpers:TinyNetwok"}, "did you mean 'TinyNetwork'?"),
        ({"teacher": "timm/resnet19"}, "resnet18"),
        ({"teacher": "timm/resnet18", "weights": None}, "is untrained; give --weights"),
        ({"student": "timm/mobilenet_v3_small"}, "mobilenetv3_small"),
        ({"student": "torch.nn:Flatten"}, "the student has 64 classes and the teacher 3"),
        ({"weights": "absent.safetensors"}, "there is no file of weights"),
        ({"image_shape": "3,32,32"}, "the teacher does not take images of 3×32×32"),
        ({"image_shape": "32x32"}, "write channels,height,width"),
        ({"mean": None}, "--mean is missing"),
        ({"mean": "half"}, "--mean is 'half'"),
        ({"std": "1,1,1"}, "std has 3 values and an image 1 channels"),
        ({"num_classes": 3}, "--num-classes is for timm's models"),
        ({"weights": "pretrained"}, "--weights pretrained is for timm's models"),
        ({"method": "kd-real"}, "sees train images"),
        ({"method": "rdksd"}, "did you mean 'rdskd'?"),
        ({"method": "alternative-data"}, "give a folder with --proxy-dir"),
        ({"proxy_dir": "."}, "--proxy-dir has no effect"),
        ({"set": "temperatur=3"}, "did you mean 'temperature'?"),
        ({"budget": "cqu"}, "did you mean 'cpu'?"),
        ({"student_steps": 0}, "student_steps is 0"),
        ({"images": 10**12}, "give fewer with --images"),
        ({"out": "student.pt"}, "give a file that ends in .safetensors"),
        ({"device": "gpu"}, "choose auto, cpu, cuda or cuda:N"),
        ({"export": "onx"}, "did you mean 'onnx'?"),
        ({"eval_dir": "absent"}, "(--eval-dir) does not exist"),
    ],
)
def test_bad_input_is_answered_in_one_line(
    tmp_path: Path, distill: Distill, options: dict[str, Any], said: str
) -> None:
    done = distill(**options)
    assert done.exit_code == 2
    assert said in one_line(done.output)
    assert not out(tmp_path).exists()


def test_the_teachers_weights_are_not_overwritten(tmp_path: Path, distill: Distill) -> None:
    done = distill(out=tmp_path / "out" / ".." / "teacher.safetensors")
    assert done.exit_code == 2
    assert "holds the teacher's weights" in done.output


def test_a_missing_exporter_is_said_before_the_training(
    tmp_path: Path, distill: Distill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    done = distill(export="onnx")
    assert done.exit_code == 2
    assert "pip install onnx onnxscript" in one_line(done.output)
    assert not out(tmp_path).exists()


# Labelled images, proxy images, exports


def draw(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8), value, np.uint8)).save(path)


def test_labelled_images_report_the_accuracy_of_both(tmp_path: Path, distill: Distill) -> None:
    values = list(range(0, 250, 25))
    pixels = torch.tensor(values, dtype=torch.float64).view(-1, 1, 1, 1).expand(-1, *IMAGE_SHAPE)
    teacher = tiny_network(seed=7).eval().double()
    with torch.no_grad():
        expected = teacher((pixels / 255 - 0.5) / 0.25).argmax(dim=1).tolist()
    for i, (value, label) in enumerate(zip(values, expected, strict=True)):
        # One in five is filed under a wrong class.
        draw(tmp_path / "eval" / str((label + (i % 5 == 0)) % 3) / f"{i}.png", value)
    done = distill(method="noise", eval_dir=tmp_path / "eval")
    assert done.exit_code == 0, done.output
    assert "teacher: accuracy 0.8000 on 10 images" in done.output
    assert "student: accuracy" in done.output


def test_class_folders_are_numbers_or_in_alphabetical_order(tmp_path: Path) -> None:
    for name in ("2", "10"):
        draw(tmp_path / "numbers" / name / "x.png", 1)
    assert labelled_images(tmp_path / "numbers", 11, 1).labels.tolist() == [10, 2]
    for name in ("dog", "cat"):
        draw(tmp_path / "names" / name / "deep" / "x.png", 1)
    assert labelled_images(tmp_path / "names", 2, 1).labels.tolist() == [0, 1]
    for folder, classes, said in [
        ("numbers", 10, "has a class 10; the teacher's are 0 to 9"),
        ("names", 3, "has 2 class folders and the teacher 3 classes"),
        ("names/cat/deep", 3, "has no class folders"),
    ]:
        with pytest.raises(DataError) as caught:
            labelled_images(tmp_path / folder, classes, 1)
        assert said in one_line(str(caught.value))


def test_a_damaged_labelled_image_is_named(tmp_path: Path, distill: Distill) -> None:
    bad = tmp_path / "eval" / "0" / "bad.png"
    bad.parent.mkdir(parents=True)
    bad.write_bytes(b"no image")
    done = distill(method="noise", eval_dir=tmp_path / "eval")
    assert done.exit_code == 2
    assert f"a labelled image is damaged: '{bad}'" in done.output


def test_proxy_images_come_from_a_folder(tmp_path: Path, distill: Distill) -> None:
    for i in range(12):
        draw(tmp_path / "proxy" / f"{i}.png", 20 * i)
    done = distill(method="alternative-data", proxy_dir=tmp_path / "proxy")
    assert done.exit_code == 0, done.output


def test_the_exported_program_answers_as_the_student_does(tmp_path: Path, distill: Distill) -> None:
    done = distill(method="noise", export="torch")
    assert done.exit_code == 0, done.output
    student = tiny_network().eval()
    student.load_state_dict(load_file(out(tmp_path)))
    program = torch.export.load(out(tmp_path).with_suffix(".pt2")).module()
    images = torch.randn(5, *IMAGE_SHAPE, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(program(images), student(images))


@pytest.mark.skipif(
    not all(map(find_spec, export.ONNX_PACKAGES)), reason="needs onnx and onnxscript"
)
def test_the_onnx_program_takes_batches_of_any_size(tmp_path: Path) -> None:
    import onnx
    from onnx.reference import ReferenceEvaluator

    network = tiny_network()
    path = export.export(network, IMAGE_SHAPE, tmp_path / "s.safetensors", "onnx")
    model = onnx.load(path)
    onnx.checker.check_model(model)
    (images,) = model.graph.input
    batch, *shape = images.type.tensor_type.shape.dim
    assert batch.dim_param
    assert [size.dim_value for size in shape] == list(IMAGE_SHAPE)
    for count in (1, 3):
        given = torch.rand(count, *IMAGE_SHAPE, generator=torch.Generator().manual_seed(count))
        (logits,) = ReferenceEvaluator(model).run(None, {images.name: given.numpy()})
        with torch.no_grad():
            wanted = network.eval()(given)
        torch.testing.assert_close(torch.from_numpy(logits), wanted, rtol=1e-4, atol=1e-5)
