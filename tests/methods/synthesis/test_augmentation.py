from __future__ import annotations

from itertools import islice
from typing import Any

import pytest
import torch
from torch import Tensor

from methods.base.method import Method
from methods.base.problem import Access, Normalization, Problem
from methods.base.run import Run
from methods.base.samples import ImageBank, OnlineSource
from methods.base.teacher import Teacher
from methods.baselines import KDReal, StudentSupervised
from methods.losses.predictions import IGNORE_INDEX
from methods.synthesis import augmentation
from methods.synthesis.augmentation import (
    Augmented,
    crop_flip,
    random_views,
    resized_crop,
    scale_crop_flip,
    with_views,
)
from tests.helpers import one_line, tiny_network, tiny_problem, tiny_run
from tests.segmentation import posed


@pytest.fixture
def still(monkeypatch: Any) -> Any:
    for name in ("SCALE", "DEGREES", "SHIFT", "NOISE"):
        monkeypatch.setattr(augmentation, name, 0.0)
    return monkeypatch


def views_of(images: Tensor) -> Tensor:
    return random_views(images, torch.Generator().manual_seed(0))


def blobs(count: int, size: int = 33) -> Tensor:
    """One bright line from the centre to the right, per image."""
    images = torch.zeros(count, 1, size, size)
    images[:, :, size // 2 - 1 : size // 2 + 2, size // 2 : size // 2 + 10] = 1.0
    return images


def centre(images: Tensor) -> Tensor:
    """Centre of mass of every image, B×2 (x, y), in image sizes from the middle."""
    size = images.shape[-1]
    axis = (torch.arange(size) + 0.5) / size - 0.5
    mass = images.sum(dim=(1, 2, 3))
    x = (images.sum(dim=(1, 2)) * axis).sum(1) / mass
    y = (images.sum(dim=(1, 3)) * axis).sum(1) / mass
    return torch.stack([x, y], dim=1)


def test_without_any_change_a_view_is_the_image(still: Any) -> None:
    images = torch.randn(4, 3, 8, 6)
    torch.testing.assert_close(views_of(images), images, rtol=1e-4, atol=1e-5)


def test_a_view_is_moved_within_its_reach(still: Any) -> None:
    still.setattr(augmentation, "SHIFT", 0.15)
    moved = centre(views_of(blobs(200))) - centre(blobs(200))
    assert moved.abs().max() <= 0.151
    assert (moved.amax(0) > 0.13).all()
    assert (moved.amin(0) < -0.13).all()


def test_a_view_is_rotated_within_its_reach(still: Any) -> None:
    still.setattr(augmentation, "DEGREES", 15.0)
    x, y = centre(views_of(blobs(200))).unbind(1)
    degrees = torch.rad2deg(torch.atan2(y, x))
    assert 13 < degrees.max() < 16
    assert -16 < degrees.min() < -13


def test_a_view_is_scaled_within_its_reach(still: Any) -> None:
    still.setattr(augmentation, "SCALE", 0.2)
    length = centre(views_of(blobs(200)))[:, 0] / centre(blobs(1))[0, 0]
    assert 1.15 < length.max() < 1.25
    assert 0.75 < length.min() < 0.85


def test_half_of_the_views_are_mirrored_where_that_is_asked_for(still: Any) -> None:
    images = torch.randn(200, 1, 5, 8, generator=torch.Generator().manual_seed(1))
    views = random_views(images, torch.Generator().manual_seed(0), flip=True)
    same = ((views - images).abs().amax(dim=(1, 2, 3)) < 1e-4).float()
    mirrored = ((views - images.flip(3)).abs().amax(dim=(1, 2, 3)) < 1e-4).float()
    assert torch.equal(same + mirrored, torch.ones(200))
    assert 70 < mirrored.sum() < 130
    torch.testing.assert_close(views_of(images), images, rtol=1e-4, atol=1e-5)


def test_noise_has_its_standard_deviation(still: Any) -> None:
    still.setattr(augmentation, "NOISE", 0.1)
    assert views_of(torch.zeros(50, 1, 16, 16)).std().item() == pytest.approx(0.1, rel=0.05)


def test_views_join_the_training_images_and_leave_validation_alone() -> None:
    _, run = tiny_run()
    bank = ImageBank(torch.rand(10, 1, 8, 8).half(), 3)
    more = with_views(bank, 2, run)
    assert (len(more), more.held_out) == (21, 3)
    assert torch.equal(more.images[:7], bank.images[:7])
    assert torch.equal(more.images[-3:], bank.images[-3:])
    assert not torch.equal(more.images[7:14], more.images[14:21])
    assert run.ledger.synthetic_images == 14
    assert with_views(bank, 0, run) is bank


# Batches that are changed as they come

NORMALIZATION = Normalization((0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
BLACK = NORMALIZATION.normalize(torch.zeros(1, 3, 1, 1))


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def stored(count: int = 20) -> tuple[Tensor, Tensor]:
    """Random bytes with a number, or a map, each."""
    images = torch.randint(0, 256, (count, 3, 12, 10), generator=stream(1), dtype=torch.uint8)
    maps = torch.randint(0, 5, (count, 12, 10), generator=stream(2))
    maps[torch.rand(maps.shape, generator=stream(3)) < 0.1] = IGNORE_INDEX
    return images, maps


def changed(name: Any, images: Tensor, labels: Tensor | None = None) -> Augmented:
    bank = ImageBank(NORMALIZATION.normalize(images / 255), 4, labels)
    return Augmented(bank, name, NORMALIZATION, lambda: stream(7))


def test_cropped_images_are_those_of_the_stored_ones_normalised() -> None:
    images, _ = stored()
    source = changed("crop-flip", images, torch.arange(20))
    batch = next(source.batches(16, stream()))
    assert batch.labels is not None
    expected = crop_flip(images[batch.labels], stream(7))
    torch.testing.assert_close(
        batch.images, NORMALIZATION.normalize(expected / 255), rtol=1e-5, atol=1e-5
    )


def test_scaled_images_and_maps_are_those_of_the_stored_ones() -> None:
    images, maps = stored()
    source = changed("scale-crop-flip", images, maps)
    batch = next(source.batches(16, stream()))
    order = torch.randperm(16, generator=stream())
    seen, labels = scale_crop_flip(images[order], maps[order], stream(7))
    assert torch.equal(batch.labels, labels)
    pixels = 255 * NORMALIZATION.denormalize(batch.images)
    assert (pixels - seen).abs().max() < 0.51  # stored ones are whole numbers
    assert (labels == IGNORE_INDEX).sum() > 1.5 * (maps[order] == IGNORE_INDEX).sum()
    without = next(changed("scale-crop-flip", images).batches(16, stream()))
    assert without.labels is None
    assert torch.equal(without.images, batch.images)


@pytest.mark.parametrize("name", ["crop-flip", "scale-crop-flip"])
def test_beyond_a_normalised_image_is_black(name: str) -> None:
    white = torch.full((40, 3, 12, 10), 255, dtype=torch.uint8)
    batch = next(changed(name, white, torch.zeros(40, 12, 10).long()).batches(36, stream()))
    black = (batch.images - BLACK).abs().amax(dim=1) < 1e-5
    assert 0.02 < black.float().mean() < 0.6
    bright = NORMALIZATION.normalize(torch.ones(1, 3, 1, 1))
    assert ((batch.images - bright).abs().amax(dim=1) < 1e-5).float().mean() > 0.3
    if name == "scale-crop-flip":
        assert (batch.labels == IGNORE_INDEX)[black].float().mean() > 0.9


def test_images_come_in_the_order_that_they_have_without_augmentation() -> None:
    images, _ = stored()
    source = changed("crop-flip", images, torch.arange(20))
    pairs = zip(source.batches(5, stream()), source.source.batches(5, stream()), strict=False)
    for mine, theirs in islice(pairs, 9):
        assert torch.equal(mine.labels, theirs.labels)
        assert not torch.equal(mine.images, theirs.images)
    first, second = islice(source.batches(16, stream()), 2)
    order, other = first.labels.argsort(), second.labels.argsort()
    assert not torch.equal(first.images[order], second.images[other])


def test_images_to_validate_on_stay_as_they_are() -> None:
    source = changed("crop-flip", stored()[0])
    assert torch.equal(source.validation(9, stream()), source.source.validation(9, stream()))


def test_logits_of_images_as_they_were_are_not_given_out() -> None:
    network = tiny_network()
    bank = ImageBank(torch.rand(12, 1, 8, 8), 2).label(Teacher(network))
    source = Augmented(bank, "crop-flip", Normalization((0.5,), (0.25,)), stream)
    assert source.label(Teacher(network)) is source
    assert next(source.batches(4, stream())).teacher_logits is None


@pytest.mark.parametrize("name", ["crop-flip", "scale-crop-flip"])
def test_changed_batches_go_on_from_where_they_were(name: str) -> None:
    images, maps = stored()

    def fresh() -> ImageBank | OnlineSource:
        if name == "crop-flip":
            return OnlineSource(lambda count, s: torch.rand(count, 3, 12, 10, generator=s))
        return ImageBank(NORMALIZATION.normalize(images / 255), 4, maps)

    source = Augmented(fresh(), name, NORMALIZATION, lambda: stream(7))  # type: ignore[arg-type]
    batches = source.batches(6, stream())
    list(islice(batches, 3))
    state = batches.state_dict()
    expected = list(islice(batches, 4))
    again = source.batches(6, stream())
    again.load_state_dict(state)
    for mine, theirs in zip(islice(again, 4), expected, strict=True):
        assert torch.equal(mine.images, theirs.images)
        assert (mine.labels is None) == (name == "crop-flip")
        assert mine.labels is None or torch.equal(mine.labels, theirs.labels)


# Methods that see real images

REAL = pytest.mark.parametrize("method", [KDReal, StudentSupervised], ids=lambda cls: cls.name)


@REAL
def test_a_student_of_changed_images_is_another_one_and_repeats(method: type[Method]) -> None:
    def weights(name: str, seed: int = 0) -> Tensor:
        problem, run = posed(method.access, seed=seed)
        chosen = method(method.build_params({"augmentation": name}, "camvid"))
        assert chosen.supports(problem) is None
        return chosen.fit(problem, run).state_dict()["classifier.weight"]

    changed = weights("scale-crop-flip")
    assert torch.equal(changed, weights("scale-crop-flip"))
    assert not torch.equal(changed, weights("none"))
    assert not torch.equal(changed, weights("scale-crop-flip", seed=1))


def test_the_teacher_is_asked_of_the_changed_images_at_every_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem, run = posed(KDReal.access)
    asked: list[Tensor] = []
    forward = problem.teacher.network.forward
    monkeypatch.setattr(
        problem.teacher.network, "forward", lambda x: (asked.append(x), forward(x))[1]
    )
    KDReal(KDReal.build_params({"augmentation": "scale-crop-flip"}, "camvid")).fit(problem, run)
    assert [len(images) for images in asked] == [8] * 6
    assert run.ledger.teacher_forward == 48
    black = problem.normalization.normalize(torch.zeros(1, 1, 1, 1))
    assert (torch.cat(asked) == black).float().mean() > 0.02


@REAL
def test_an_augmentation_for_other_tasks_is_refused_in_one_line(method: type[Method]) -> None:
    maps, whole = posed(method.access)[0], tiny_problem(method.access)
    for problem, wrong, right in (
        (maps, "crop-flip", "scale-crop-flip"),
        (whole, "scale-crop-flip", "crop-flip"),
    ):
        reason = method(method.build_params({"augmentation": wrong})).supports(problem)
        assert f"set {right} or none" in one_line(reason or "")
        assert method(method.build_params({"augmentation": right})).supports(problem) is None
        assert method(method.build_params({})).supports(problem) is None


def test_runs_without_augmentation_are_identified_as_they_were() -> None:
    assert StudentSupervised.build_params({}).recorded() == {}
    assert KDReal.build_params({}).recorded() == {"temperature": 4.0}
    assert KDReal.build_params({}, "camvid").recorded() == {"temperature": 1.0}
    balanced = StudentSupervised.build_params({"class_balanced": True})
    assert balanced.recorded() == {"class_balanced": True}


# Rare classes


def with_a_rare_class(**budget: Any) -> tuple[Problem, Run]:
    """One pixel in ten is left of the middle band; the others belong to the upper one."""
    problem, run = posed(StudentSupervised.access, **budget)
    labels = problem.train_labels
    kept = torch.rand(labels.shape, generator=stream()) < 0.1
    labels[(labels == 1) & ~kept] = 0
    return problem, run


def test_a_class_balanced_student_minimises_the_weighted_loss() -> None:
    problem, run = with_a_rare_class()
    method = StudentSupervised(StudentSupervised.build_params({"class_balanced": True}))
    assert method.supports(problem) is None
    labels = problem.train_labels
    shares = torch.stack([(labels == k).sum(dim=(1, 2)) for k in range(3)]).double()
    seen = (labels != IGNORE_INDEX).sum(dim=(1, 2)).double()
    frequency = shares.sum(1) / ((shares > 0) * seen).sum(1)
    weights = (frequency.median() / frequency).tolist()
    batch = next(method.synthesize(problem, run).batches(8, stream()))
    student = problem.make_student()
    logs = student(batch.images).detach().log_softmax(dim=1)
    total = weight = 0.0
    for k, own in enumerate(weights):
        here = batch.labels == k
        total -= own * float(logs[:, k][here].sum())
        weight += own * int(here.sum())
    objective = method.student_objective(problem)
    assert objective(student, batch).item() == pytest.approx(total / weight, rel=1e-4)
    assert weights[1] > 3


def test_classes_of_whole_images_are_not_balanced() -> None:
    problem = tiny_problem(Access.TRAIN_IMAGES | Access.TRAIN_LABELS)
    method = StudentSupervised(StudentSupervised.build_params({"class_balanced": True}))
    assert "class_balanced" in one_line(method.supports(problem) or "")


def test_rare_classes_gain_recall_by_balance() -> None:
    def recall(balanced: bool) -> float:
        problem, run = with_a_rare_class(student_steps=60, student_lr=1e-2)
        params = StudentSupervised.build_params({"class_balanced": balanced})
        student = StudentSupervised(params).fit(problem, run).eval()
        rare = problem.train_labels == 1
        found = student(problem.train_images).argmax(dim=1)[rare] == 1
        return float(found.float().mean())

    assert recall(True) > recall(False) + 0.3


# Resized crops


def corners(count: int, flip: bool = True, side: int = 64) -> Tensor:
    """Left, right, top and bottom end of every crop, in shares of the image, count×4.

    The image's two channels are its own coordinates.
    """
    axis = (torch.arange(side) + 0.5) / side
    image = torch.stack([axis.expand(side, side), axis[:, None].expand(side, side)])
    stream = torch.Generator().manual_seed(0)
    x, y = resized_crop(image.expand(count, -1, -1, -1), stream, flip).unbind(1)
    middle = side // 2
    x, y = x[:, middle, 2:-2], y[:, 2:-2, middle]  # the border repeats the outermost pixels
    per_pixel = torch.stack([(line[:, -1] - line[:, 0]) / (side - 5) for line in (x, y)], dim=1)
    first, last = torch.stack([x[:, 0], y[:, 0]], 1), torch.stack([x[:, -1], y[:, -1]], 1)
    start, end = first - 2.5 * per_pixel, last + 2.5 * per_pixel
    return torch.cat([start, end], dim=1)[:, [0, 2, 1, 3]]


def test_a_resized_crop_has_the_published_areas_and_aspects_and_lies_in_the_image() -> None:
    ends = corners(400)
    wide, tall = (ends[:, 1] - ends[:, 0]).abs(), ends[:, 3] - ends[:, 2]
    area, aspect = wide * tall, wide / tall
    assert ends.min() > -1e-3
    assert ends.max() < 1 + 1e-3
    assert 0.24 < area.min() < 0.27
    assert 0.9 < area.max() < 1.001
    assert 0.745 < aspect.min() < 0.77
    assert 1.3 < aspect.max() < 1.34
    assert area.mean().item() == pytest.approx(0.62, abs=0.03)


def test_half_of_the_resized_crops_are_mirrored_where_asked() -> None:
    def mirrored(ends: Tensor) -> float:
        return (ends[:, 1] < ends[:, 0]).float().mean().item()

    assert mirrored(corners(400)) == pytest.approx(0.5, abs=0.1)
    assert mirrored(corners(400, flip=False)) == 0


def test_gradients_reach_the_image_through_a_resized_crop() -> None:
    images = torch.rand(3, 1, 8, 8, requires_grad=True)
    resized_crop(images, torch.Generator().manual_seed(0)).sum().backward()
    assert images.grad is not None
    assert images.grad.flatten(1).any(dim=1).all()
