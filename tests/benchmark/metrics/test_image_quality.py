from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import linalg
from torch import Tensor

from benchmark.errors import UserError
from benchmark.machine.cache import cache_dir
from benchmark.metrics import image_quality
from benchmark.metrics.classification import sample_statistics
from benchmark.metrics.extractors import Extractor, task_extractor
from benchmark.metrics.image_quality import (
    frechet_distance,
    inception_score,
    judge,
    kernel_distance,
    measure,
    obtain_reference,
)
from benchmark.metrics.images import (
    LabelledImages,
    Unmeasurable,
    class_of_images,
    draw_images,
    gathered,
    part_size,
    to_pixels,
)
from benchmark.metrics.perceptual import draw_pairs
from benchmark.records.record import TeacherInfo
from benchmark.tasks.registry import all_tasks, get_task
from benchmark.tasks.tiny import Tiny
from benchmark.teachers.critic import critic_task
from benchmark.teachers.teacher import TrainedTeacher
from benchmark.teachers.training import train_teacher
from methods.base.problem import Normalization
from methods.base.samples import ImageBank, OnlineSource
from methods.losses.predictions import IGNORE_INDEX
from tests.helpers import tiny_network


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def critic() -> TrainedTeacher:
    task = critic_task(Tiny())
    task.teacher_recipe = task.teacher_recipe.model_copy(update={"epochs": 2})
    return train_teacher(task, Tiny().load(None), lambda *event: None)


@pytest.fixture
def extractor(critic: TrainedTeacher) -> Extractor:
    return task_extractor(Tiny(), critic.build(critic_task(Tiny())), critic.info)


def tiny_images(count: int = 60, seed: int = 0) -> LabelledImages:
    pixels = torch.randint(0, 256, (count, 1, 8, 8), generator=stream(seed), dtype=torch.uint8)
    return LabelledImages(pixels.expand(-1, 3, -1, -1), torch.arange(count) % 4)


# The formulas, against closed forms


def test_fid_of_a_set_with_itself_is_zero() -> None:
    features = torch.randn(300, 12, generator=stream())
    assert abs(frechet_distance(features, features)) < 1e-3
    few = torch.randn(5, 12, generator=stream())
    assert abs(frechet_distance(few, few)) < 1e-3


def test_fid_of_two_gaussians_is_the_closed_form() -> None:
    a = torch.randn(400, 6, generator=stream(1)) @ torch.randn(6, 6, generator=stream(2)) + 1
    b = torch.randn(500, 6, generator=stream(3)) * 2
    x, y = a.double().numpy(), b.double().numpy()
    cov_x = (x - x.mean(0)).T @ (x - x.mean(0)) / (len(x) - 1)
    cov_y = (y - y.mean(0)).T @ (y - y.mean(0)) / (len(y) - 1)
    root = linalg.sqrtm(cov_x @ cov_y).real
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(cov_x + cov_y - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


def test_kid_is_the_unbiased_mmd_of_the_cubic_kernel() -> None:
    a = torch.randn(30, 5, generator=stream(4))
    b = torch.randn(40, 5, generator=stream(5)) + 0.5
    # As many as the smaller set has: of it, every subset is the whole.
    c = b[:30]

    def kernel(u: Tensor, v: Tensor) -> float:
        return float((u.double() @ v.double() / 5 + 1) ** 3)

    n = len(a)
    within = sum(
        (kernel(x[i], x[j])) for x in (a, c) for i, j in itertools.permutations(range(n), 2)
    )
    across = sum(kernel(u, v) for u in a for v in c)
    expected = within / (n * (n - 1)) - 2 * across / n**2
    assert kernel_distance(a, c) == pytest.approx(expected, rel=1e-4)


def test_inception_score_is_1_without_and_k_with_perfect_classes() -> None:
    assert inception_score(torch.zeros(50, 7)) == pytest.approx(1)
    certain = 200.0 * torch.eye(7).repeat(9, 1)
    assert inception_score(certain) == pytest.approx(7)
    assert inception_score(certain[:, :1].repeat(1, 7)) == pytest.approx(1)


def test_inception_score_of_predictions_that_leave_nothing_to_other_classes() -> None:
    assert inception_score(torch.tensor([[800.0, 0, 0]] * 20)) == pytest.approx(1)
    assert inception_score(4000 * torch.eye(7).repeat(9, 1)) == pytest.approx(7)
    usual = 5 * torch.randn(40, 7, generator=stream())
    shares = usual.double().softmax(dim=1)
    expected = (shares * (shares / shares.mean(dim=0)).log()).sum(dim=1).mean().exp()
    assert inception_score(usual) == pytest.approx(float(expected), rel=1e-12)


def test_class_balance_and_confidence_of_known_predictions() -> None:
    class Fixed(torch.nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1)

    def of(probs: list[list[float]]) -> dict[str, float]:
        logits = torch.tensor(probs).log()
        return sample_statistics(Fixed(), logits[:, :, None, None])

    half = of([[0.9, 0.1], [0.1, 0.9]])
    assert half == pytest.approx({"class_balance": 1.0, "confidence": 0.9})
    skewed = of([[0.75, 0.25], [0.75, 0.25]])
    entropy = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    assert skewed == pytest.approx({"class_balance": entropy, "confidence": 0.75})
    assert of([[1.0, 0.0], [1.0, 0.0]])["class_balance"] == 0


def test_an_image_of_maps_is_of_the_class_of_most_pixels() -> None:
    maps = torch.tensor([[[0, 2, 2]], [[1, IGNORE_INDEX, IGNORE_INDEX]], [[IGNORE_INDEX] * 3]])
    assert class_of_images(maps).tolist() == [2, 1, IGNORE_INDEX]
    assert class_of_images(torch.tensor([3, 1])).tolist() == [3, 1]


def test_of_segmentation_logits_every_pixel_is_a_prediction() -> None:
    class Fixed(torch.nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images

    logits = torch.full((1, 2, 1, 2), -100.0)
    logits[0, 0, 0, 0] = logits[0, 1, 0, 1] = 100.0
    assert sample_statistics(Fixed(), logits) == pytest.approx(
        {"class_balance": 1.0, "confidence": 1.0}
    )


# Images as they are judged


def test_grey_images_get_three_equal_channels_and_are_clipped_not_stretched() -> None:
    normalization = Normalization((0.5,), (0.25,))
    grey = torch.tensor([-4.0, -2.0, 0.0, 1.0, 2.0, 9.0]).view(1, 1, 2, 3)
    pixels = to_pixels(grey, normalization)
    assert pixels.dtype == torch.uint8
    assert pixels.shape == (1, 3, 2, 3)
    assert pixels[0, 0].flatten().tolist() == [0, 0, 128, 191, 255, 255]
    assert (pixels == pixels[:, :1]).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_images_that_are_not_finite_have_a_reason_not_a_number(value: float) -> None:
    images = torch.zeros(2, 1, 8, 8)
    images[1, 0, 3, 3] = value
    with pytest.raises(Unmeasurable, match="NaN or infinite"):
        to_pixels(images, Normalization((0.5,), (0.25,)))


def test_too_few_images_have_a_reason_not_a_number(extractor: Extractor) -> None:
    with pytest.raises(Unmeasurable, match="3 images are too few"):
        measure(tiny_images(3), torch.randn(40, 256), extractor)
    normalization = Normalization((0.5,), (0.25,))
    source = OnlineSource(lambda count, s: torch.randn(count, 1, 8, 8, generator=s))
    with pytest.raises(Unmeasurable, match="no images"):
        draw_images(source, 0, 4, tiny_network(), normalization, stream())


def test_no_image_of_a_bank_is_drawn_twice_and_none_held_out_is() -> None:
    images = (torch.arange(20.0) / 20).view(20, 1, 1, 1).expand(-1, 1, 8, 8)
    bank = ImageBank(images, held_out=4)
    normalization = Normalization((0.0,), (1.0,))
    drawn = draw_images(bank, 500, 6, tiny_network(), normalization, stream())
    shades = drawn.pixels[:, 0, 0, 0].tolist()
    assert sorted(shades) == sorted((images[:16, 0, 0, 0] * 255).round().int().tolist())
    some = draw_images(bank, 7, 6, tiny_network(), normalization, stream())
    assert len(some.pixels) == len(set(some.pixels[:, 0, 0, 0].tolist())) == 7


def test_an_online_source_is_asked_in_the_student_s_batches() -> None:
    asked: list[int] = []

    def draw(count: int, source_stream: torch.Generator) -> Tensor:
        asked.append(count)
        return torch.rand(count, 1, 8, 8, generator=source_stream)

    drawn = draw_images(
        OnlineSource(draw), 10, 4, tiny_network(), Normalization((0.0,), (1.0,)), stream()
    )
    assert asked == [4, 4, 4]
    assert len(drawn.pixels) == len(drawn.labels) == 10


def test_images_are_drawn_part_by_part_and_are_those_drawn_at_once(
    extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_quality, "PAIRS", 20)
    bank = ImageBank(torch.randn(90, 1, 8, 8, generator=stream(5)), held_out=20)
    normalization = Normalization((0.5,), (0.25,))
    real = extractor.extract(tiny_images(80, 3).pixels).features
    asked: list[int] = []
    take = bank.take
    monkeypatch.setattr(bank, "take", lambda chosen: asked.append(len(chosen)) or take(chosen))

    def of(chunk: int) -> tuple[LabelledImages, dict[str, float]]:
        monkeypatch.setattr("methods.networks.predictions.CHUNK", chunk)
        drawn = draw_images(bank, 65, 6, tiny_network(), normalization, stream())
        return drawn, measure(drawn, real, extractor).metrics

    (at_once, numbers), (in_parts, same) = of(250), of(1)
    assert asked == [65, 16, 16, 16, 16, 1]
    assert torch.equal(at_once.pixels, in_parts.pixels)
    assert torch.equal(at_once.labels, in_parts.labels)
    assert numbers == same
    (batch,) = itertools.islice(bank.batches(65, stream()), 1)
    assert torch.equal(at_once.pixels, to_pixels(batch.images, normalization))


def test_noise_in_parts_is_the_noise_drawn_at_once() -> None:
    for shape in ((1, 28, 28), (3, 45, 61), (3, 7, 5)):
        size = part_size(shape)
        whole = torch.randn(size + 7, *shape, generator=stream(3))
        parted = stream(3)
        parts = [torch.randn(n, *shape, generator=parted) for n in (size, 7)]
        assert torch.equal(whole, torch.cat(parts))


def test_a_full_disk_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **options: object) -> object:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(UserError, match="No space left on device; set TMPDIR"):
        gathered([tiny_images()])


# Pairs


def test_pairs_are_of_one_class_or_of_two_and_never_of_one_image() -> None:
    labels = torch.tensor([0] * 90 + [1] * 5 + [2])
    same = draw_pairs(labels, 400, True, stream())
    assert same.shape == (400, 2)
    assert (labels[same[:, 0]] == labels[same[:, 1]]).all()
    assert (same[:, 0] != same[:, 1]).all()
    # Class 1 is rare, but as likely as class 0; class 2 has no second image.
    assert 120 < int((labels[same[:, 0]] == 1).sum()) < 280
    across = draw_pairs(labels, 50, False, stream())
    assert (labels[across[:, 0]] != labels[across[:, 1]]).all()


def test_one_class_alone_has_no_pairs_across() -> None:
    assert len(draw_pairs(torch.zeros(9), 5, False, stream())) == 0
    assert len(draw_pairs(torch.arange(9), 5, True, stream())) == 0


def test_the_critic_s_distance_is_lpips_s_formula(critic: TrainedTeacher) -> None:
    a, b = tiny_images(3, 1).pixels, tiny_images(3, 2).pixels
    network: Any = critic.build(critic_task(Tiny()))
    extractor = task_extractor(Tiny(), network, critic.info)
    network.double()

    def stages(pixels: Tensor) -> list[Any]:
        mean, std = Tiny.normalization.mean[0], Tiny.normalization.std[0]
        with torch.no_grad():
            return [m.numpy() for m in network.stages((pixels[:, :1].double() / 255 - mean) / std)]

    expected = np.zeros(3)
    for one, other in zip(stages(a), stages(b), strict=True):
        for n, i, j in itertools.product(range(3), range(one.shape[2]), range(one.shape[3])):
            u, v = one[n, :, i, j], other[n, :, i, j]
            u, v = u / (np.linalg.norm(u) + 1e-10), v / (np.linalg.norm(v) + 1e-10)
            expected[n] += ((u - v) ** 2).sum() / (one.shape[2] * one.shape[3])
    network.float()
    with torch.no_grad():
        found = extractor.distance(a, b)
        assert extractor.distance(a, a).abs().max() < 1e-6
    np.testing.assert_allclose(found, expected, rtol=1e-4)


# Extractor and reference


def test_the_critic_is_neither_the_teacher_nor_of_its_seed() -> None:
    for name in all_tasks():
        task = get_task(name)
        critic = critic_task(task)
        assert type(critic.make_teacher()) is not type(task.make_teacher())
        assert all(recipe.seed != task.critic_recipe.seed for recipe in task.recipes())
        assert critic.recipe("cpu") == task.critic_recipe


def test_numbers_do_not_depend_on_the_batch_size(
    extractor: Extractor, critic: TrainedTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_quality, "PAIRS", 30)
    real = extractor.extract(tiny_images(80, 3).pixels).features
    object.__setattr__(extractor, "batch", 7)
    by_seven = measure(tiny_images(), real, extractor).metrics
    another = task_extractor(Tiny(), critic.build(critic_task(Tiny())), critic.info)
    whole = measure(tiny_images(), real, another).metrics
    assert by_seven == pytest.approx(whole, rel=1e-4, abs=1e-5)
    assert set(whole) == {
        "inception_score",
        "fid",
        "kid",
        "precision",
        "recall",
        "lpips",
        "lpips_across",
    }


def test_without_two_classes_the_distance_across_is_left_out(
    extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_quality, "PAIRS", 10)
    alike = LabelledImages(tiny_images().pixels, torch.zeros(60))
    found = measure(alike, extractor.extract(alike.pixels).features, extractor).metrics
    assert "lpips" in found
    assert "lpips_across" not in found


def test_a_reference_is_made_once_by_content_and_again_when_damaged(
    extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_quality, "PAIRS", 20)
    task, made = Tiny(), []
    data, teacher = task.load(None), task.make_teacher().eval()
    info = TeacherInfo(checksum="t" * 16, accuracy=0.9, chance=0.25, recipe={})

    def obtain(count: int = 40, info: TeacherInfo = info) -> Any:
        return obtain_reference(
            task, data, teacher, info, extractor, count, cache_dir(), lambda *e: made.append(e)
        )

    first = obtain()
    assert made
    assert first.real_test.images == first.noise.images == 40
    assert first.real_test.metrics["fid"] < first.noise.metrics["fid"]
    made.clear()
    again = obtain()
    assert made == []
    assert torch.equal(again.features, first.features)
    assert (again.real_test, again.noise) == (first.real_test, first.noise)
    other = info.model_copy(update={"checksum": "u" * 16})
    obtain(count=30)
    obtain(info=other)
    assert len(list((cache_dir() / "references").iterdir())) == 3
    made.clear()
    for path in (cache_dir() / "references").iterdir():
        path.write_bytes(path.read_bytes()[:-8])
    assert obtain().noise == first.noise
    assert made
    found = judge(tiny_images(40), first, extractor)
    assert (found.samples.images, found.reference, found.pairs) == (40, 256, 20)
    assert found.checksum == extractor.checksum
