"""Every loss against an independent float64 computation written with loops."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import Tensor, nn

from methods.losses.features import activation_loss
from methods.losses.images import (
    LayerStatistics,
    batch_norm_statistics_loss,
    diversity_seeking_loss,
    mode_seeking_loss,
    total_variation,
)
from methods.losses.predictions import (
    IGNORE_INDEX,
    class_similarity,
    competition_loss,
    dirichlet_concentration,
    entropy_loss,
    increment_penalty,
    information_entropy_loss,
    kd_loss,
    label_loss,
    one_hot_loss,
    pixelwise_loss,
    weighted_diversity_loss,
)
from methods.networks.batch_norm import watch_batch_norms

CLASSIFICATION = (5, 4)
SEGMENTATION = (3, 4, 2, 5)
SHAPES = pytest.mark.parametrize("shape", [CLASSIFICATION, SEGMENTATION], ids=["BxK", "BxKxHxW"])


def random(*shape: int, seed: int = 0, scale: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)


def samples(logits: Tensor) -> list[np.ndarray]:
    """The class vector of every image, or of every pixel."""
    array = logits.detach().numpy()
    if array.ndim == 2:
        return list(array)
    return [
        array[b, :, y, x]
        for b in range(array.shape[0])
        for y in range(array.shape[2])
        for x in range(array.shape[3])
    ]


def frobenius(a: Tensor, b: Tensor) -> float:
    return math.sqrt(sum(v * v for v in (b - a).detach().numpy().ravel()))


def twice(tensor: Tensor) -> Tensor:
    return torch.cat([tensor, tensor])


# Knowledge distillation


@SHAPES
@pytest.mark.parametrize("temperature", [0.5, 1.0, 10.0])
def test_kd_loss_is_tau_squared_times_the_mean_divergence(
    shape: tuple[int, ...], temperature: float
) -> None:
    student, teacher = random(*shape, seed=1), random(*shape, seed=2)
    total = 0.0
    pairs = list(zip(samples(student), samples(teacher), strict=True))
    for s, t in pairs:
        q, p = softmax(s / temperature), softmax(t / temperature)
        total += sum(pk * math.log(pk / qk) for pk, qk in zip(p, q, strict=True))
    expected = temperature**2 * total / len(pairs)
    assert kd_loss(student, teacher, temperature).item() == pytest.approx(expected, rel=1e-10)


@SHAPES
def test_kd_loss_is_zero_for_equal_logits_and_positive_otherwise(shape: tuple[int, ...]) -> None:
    logits = random(*shape)
    assert kd_loss(logits, logits, 4.0).item() == pytest.approx(0.0, abs=1e-12)
    assert kd_loss(logits, random(*shape, seed=9), 4.0).item() > 0


def test_kd_loss_ignores_a_constant_added_to_every_logit() -> None:
    student, teacher = random(*CLASSIFICATION, seed=1), random(*CLASSIFICATION, seed=2)
    shifted = kd_loss(student + 50, teacher - 30, 4.0)
    torch.testing.assert_close(shifted, kd_loss(student, teacher, 4.0))


def test_kd_gradient_size_does_not_depend_on_a_large_temperature() -> None:
    teacher = random(*CLASSIFICATION, seed=2)
    gradients = []
    for temperature in (100.0, 400.0):
        student = random(*CLASSIFICATION, seed=1).requires_grad_()
        kd_loss(student, teacher, temperature).backward()
        gradients.append(student.grad)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0.05, atol=1e-3)
    # In the limit the gradient is that of half the squared distance of the centred logits, / K.
    student = random(*CLASSIFICATION, seed=1)
    count, classes = CLASSIFICATION
    limit = student - student.mean(1, keepdim=True) - teacher + teacher.mean(1, keepdim=True)
    torch.testing.assert_close(gradients[1], limit / (classes * count), rtol=0.05, atol=1e-3)


# One-hot loss


@SHAPES
def test_one_hot_loss_is_the_negative_log_of_the_largest_probability(
    shape: tuple[int, ...],
) -> None:
    logits = random(*shape)
    expected = [-math.log(max(softmax(row))) for row in samples(logits)]
    assert one_hot_loss(logits).item() == pytest.approx(sum(expected) / len(expected), rel=1e-10)


def test_one_hot_loss_treats_its_label_as_a_constant() -> None:
    logits = random(*CLASSIFICATION).requires_grad_()
    one_hot_loss(logits).backward()
    expected = np.array([softmax(row) for row in samples(logits)])
    for row, logit in zip(expected, samples(logits), strict=True):
        row[np.argmax(logit)] -= 1
    np.testing.assert_allclose(logits.grad, expected / len(expected), rtol=1e-10)


def test_kd_loss_refuses_logits_that_would_broadcast() -> None:
    with pytest.raises(ValueError, match=r"\(4, 1\).*\(4, 5\)"):
        kd_loss(torch.zeros(4, 1), torch.zeros(4, 5))


@pytest.mark.parametrize("classes", [2, 7, 100])
def test_one_hot_loss_lies_between_zero_and_log_k(classes: int) -> None:
    assert one_hot_loss(torch.zeros(4, classes)).item() == pytest.approx(math.log(classes))
    assert one_hot_loss(1e4 * torch.eye(classes)).item() == 0.0
    assert 0 <= one_hot_loss(random(16, classes)).item() <= math.log(classes)


# Information entropy loss


@SHAPES
@pytest.mark.parametrize("base", [math.e, 10.0])
def test_information_entropy_loss_is_that_of_the_mean_prediction(
    shape: tuple[int, ...], base: float
) -> None:
    logits = random(*shape)
    mean = np.mean([softmax(row) for row in samples(logits)], axis=0)
    expected = sum(p * math.log(p, base) for p in mean)
    assert information_entropy_loss(logits, base).item() == pytest.approx(expected, rel=1e-10)


def test_information_entropy_loss_defaults_to_the_natural_logarithm() -> None:
    logits = random(*CLASSIFICATION)
    natural, decimal = information_entropy_loss(logits), information_entropy_loss(logits, 10.0)
    assert natural.item() == pytest.approx(decimal.item() * math.log(10), rel=1e-10)


@pytest.mark.parametrize("classes", [2, 7, 100])
def test_information_entropy_loss_lies_between_minus_log_k_and_zero(classes: int) -> None:
    balanced = information_entropy_loss(1e3 * torch.eye(classes, dtype=torch.float64))
    assert balanced.item() == pytest.approx(-math.log(classes))
    collapsed = 1e3 * torch.eye(classes, dtype=torch.float64)[[0] * 4]
    assert information_entropy_loss(collapsed).item() == pytest.approx(0.0, abs=1e-12)
    assert -math.log(classes) <= information_entropy_loss(random(16, classes)).item() <= 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_information_entropy_loss_survives_a_class_that_underflows(dtype: torch.dtype) -> None:
    logits = torch.tensor([[0.0, 1.0, -1e5], [1.0, 0.0, -1e5]], dtype=dtype, requires_grad=True)
    loss = information_entropy_loss(logits)
    loss.backward()
    assert math.isfinite(loss.item())
    assert loss.item() == pytest.approx(-math.log(2), rel=1e-5)
    assert torch.isfinite(logits.grad).all()


# Activation loss


def test_activation_loss_is_minus_the_mean_l1_norm() -> None:
    features = random(5, 7)
    norms = [sum(abs(v) for v in row) for row in features.numpy()]
    assert activation_loss(features).item() == pytest.approx(-sum(norms) / 5, rel=1e-12)
    assert activation_loss(features, "mean").item() == pytest.approx(-sum(norms) / 35, rel=1e-12)
    assert activation_loss(features).item() < 0
    assert activation_loss(torch.zeros(5, 7)).item() == 0


# Diversity


def test_diversity_seeking_loss_divides_whole_batch_norms() -> None:
    images_a, images_b = random(4, 1, 3, 3, seed=1), random(4, 1, 3, 3, seed=2)
    probs_a, probs_b = random(4, 5, seed=3).softmax(1), random(4, 5, seed=4).softmax(1)
    expected = frobenius(probs_a, probs_b) / frobenius(images_a, images_b)
    loss = diversity_seeking_loss(images_a, images_b, probs_a, probs_b)
    assert loss.item() == pytest.approx(expected, rel=1e-8)
    pairwise = np.mean(
        [frobenius(probs_a[i], probs_b[i]) / frobenius(images_a[i], images_b[i]) for i in range(4)]
    )
    assert loss.item() != pytest.approx(pairwise, rel=1e-3)


def test_diversity_seeking_loss_is_huge_but_finite_for_identical_images() -> None:
    images = random(4, 1, 3, 3).float()
    probs_a, probs_b = random(4, 5, seed=3).softmax(1), random(4, 5, seed=4).softmax(1)
    loss = diversity_seeking_loss(images, images, probs_a.float(), probs_b.float()).item()
    assert math.isfinite(loss)
    assert loss > 1e6


def test_diversity_seeking_loss_vanishes_when_the_teacher_sees_no_difference() -> None:
    images_a, images_b = random(4, 1, 3, 3, seed=1).float(), random(4, 1, 3, 3, seed=2).float()
    probs = random(4, 5).softmax(1).float()
    loss = diversity_seeking_loss(images_a, images_b, probs, probs).item()
    assert 0 <= loss < 1e-6


def test_mode_seeking_loss_takes_mean_absolute_differences_by_default() -> None:
    images_a, images_b = random(4, 1, 3, 3, seed=1), random(4, 1, 3, 3, seed=2)
    latents_a, latents_b = random(4, 6, seed=3), random(4, 6, seed=4)
    image_distance = np.mean([abs(v) for v in (images_b - images_a).numpy().ravel()])
    latent_distance = np.mean([abs(v) for v in (latents_b - latents_a).numpy().ravel()])
    expected = 1 / (image_distance / latent_distance + 1e-5)
    loss = mode_seeking_loss(images_a, images_b, latents_a, latents_b)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_mode_seeking_loss_offers_the_frobenius_norm() -> None:
    images_a, images_b = random(4, 1, 3, 3, seed=1), random(4, 1, 3, 3, seed=2)
    latents_a, latents_b = random(4, 6, seed=3), random(4, 6, seed=4)
    expected = frobenius(latents_a, latents_b) / frobenius(images_a, images_b)
    loss = mode_seeking_loss(images_a, images_b, latents_a, latents_b, norm="frobenius")
    assert loss.item() == pytest.approx(expected, rel=1e-8)


def test_mode_seeking_loss_is_at_most_1e5_for_identical_images() -> None:
    images = random(4, 1, 3, 3).requires_grad_()
    loss = mode_seeking_loss(images, images, random(4, 6, seed=3), random(4, 6, seed=4))
    loss.backward()
    assert loss.item() == pytest.approx(1e5)
    assert torch.isfinite(images.grad).all()


# Increment penalty


def test_increment_penalty_is_one_for_no_change_and_grows_exponentially() -> None:
    assert increment_penalty(torch.tensor(1.5), 1.5).item() == 1.0
    loss = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    penalty = increment_penalty(loss, 0.5)
    penalty.backward()
    assert penalty.item() == pytest.approx(math.exp(1.5))
    assert loss.grad.item() == pytest.approx(math.exp(1.5))
    assert increment_penalty(torch.tensor(-3.0), 0.0).item() > 0


# Scaling with the batch and with the number of classes

PER_SAMPLE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "kd": lambda a, b: kd_loss(a, b, 4.0),
    "one-hot": lambda a, b: one_hot_loss(a),
    "entropy": lambda a, b: information_entropy_loss(a),
    "activation": lambda a, b: activation_loss(a.flatten(1)),
    "weighted-diversity": lambda a, b: weighted_diversity_loss(a),
    "mean-entropy": lambda a, b: entropy_loss(a),
    "labels": lambda a, b: label_loss(a, b.argmax(1)),
    "pixelwise": lambda a, b: pixelwise_loss(a, b),
}


@SHAPES
@pytest.mark.parametrize("name", PER_SAMPLE)
def test_duplicating_the_batch_leaves_a_mean_loss_unchanged(
    name: str, shape: tuple[int, ...]
) -> None:
    a, b = random(*shape, seed=1), random(*shape, seed=2)
    torch.testing.assert_close(PER_SAMPLE[name](twice(a), twice(b)), PER_SAMPLE[name](a, b))


@pytest.mark.parametrize("share", [1e-2, 1e-6, 1e-9])
def test_a_rare_class_weighs_what_the_formula_says_in_loss_and_gradient(share: float) -> None:
    # All pixels predict the rare class with the same probability, in float32 as in a run.
    other = [0.5, 0.3, 0.2]
    p = np.array([share, *((1 - share) * x for x in other)])
    logits = torch.from_numpy(np.log(p)).float().expand(6, 4).clone().requires_grad_()
    loss = weighted_diversity_loss(logits)
    (gradient,) = torch.autograd.grad(loss, logits)
    w = softmax(logits.detach().double().numpy()[0])
    assert loss.item() == pytest.approx(np.mean((1 / 4 - w) ** 2 / w), rel=1e-2)
    # d/dw of (1/K)(1/K − w)²/w is (1/K)(1 − 1/(K²w²)); softmax' = diag(w) − w wᵀ; 6 samples.
    by_share = (1 - 1 / (16 * w**2)) / 4
    expected = w * (by_share - w @ by_share) / 6
    np.testing.assert_allclose(gradient.numpy()[0], expected, rtol=2e-2)


def test_void_pixels_do_not_change_what_duplicating_the_batch_does() -> None:
    logits, labels = random(*SEGMENTATION), random(*SEGMENTATION, seed=1).argmax(1)
    labels[0, 0] = IGNORE_INDEX
    torch.testing.assert_close(label_loss(twice(logits), twice(labels)), label_loss(logits, labels))


def test_pixelwise_as_released_doubles_with_the_batch() -> None:
    a, b = random(*SEGMENTATION, seed=1), random(*SEGMENTATION, seed=2)
    doubled = pixelwise_loss(twice(a), twice(b), batch="sum")
    torch.testing.assert_close(doubled, 2 * pixelwise_loss(a, b, batch="sum"))


def test_duplicating_the_batch_leaves_the_batch_norm_loss_unchanged() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.BatchNorm2d(3)).eval()
    images = random(4, 3, 2, 2).float()

    def loss(batch: Tensor) -> Tensor:
        with watch_batch_norms(network) as statistics:
            network(batch)
        assert len(statistics) == 2
        return batch_norm_statistics_loss(statistics)

    torch.testing.assert_close(loss(twice(images)), loss(images))


REPEATED = {
    "kd": (1.0, 0.0),
    "pixelwise": (1.0, 0.0),
    "one-hot": (1.0, 1.0),
    "labels": (1.0, 1.0),
    "entropy": (1.0, -1.0),
    "mean-entropy": (1.0, 1.0),
    "weighted-diversity": (0.5, 0.0),
}
"""Factor on a loss, and how many times log 2 is added, when every class becomes two equal ones."""


@SHAPES
@pytest.mark.parametrize("name", REPEATED)
def test_twice_as_many_classes_change_a_loss_as_its_formula_says(
    name: str, shape: tuple[int, ...]
) -> None:
    losses = PER_SAMPLE | {
        "weighted-diversity": lambda a, b: weighted_diversity_loss(a, epsilon=0.0)
    }
    a, b = random(*shape, seed=1), random(*shape, seed=2)
    factor, logs = REPEATED[name]
    split = losses[name](torch.cat([a, a], dim=1), torch.cat([b, b], dim=1))
    torch.testing.assert_close(split, factor * losses[name](a, b) + logs * math.log(2))


@pytest.mark.parametrize("size", [1, 8])
@pytest.mark.parametrize("classes", [2, 10, 100])
def test_pairs_of_distributions_are_compared_as_their_formulas_say_whatever_the_size(
    size: int, classes: int
) -> None:
    teacher, student = random(size, classes, seed=1), random(size, classes, seed=2)
    p, q = (softmax(logits.numpy() / 3, axis=1) for logits in (teacher, student))
    # JS = H((P+Q)/2) − (H(P) + H(Q))/2, one image after the other.
    entropy = [[-sum(v * math.log(v) for v in row) for row in x] for x in ((p + q) / 2, p, q)]
    divergence = [m - (a + b) / 2 for m, a, b in zip(*entropy, strict=True)]
    expected = 1 - sum(divergence) / size
    assert competition_loss(teacher, student).item() == pytest.approx(expected, rel=1e-9)
    images = random(size, 1, 3, 3, seed=3), random(size, 1, 3, 3, seed=4)
    probs = torch.from_numpy(p), torch.from_numpy(q)
    expected = frobenius(*probs) / frobenius(*images)
    assert diversity_seeking_loss(*images, *probs).item() == pytest.approx(expected, rel=1e-7)


def test_twice_as_many_classes_leave_competition_and_divide_diversity_by_the_root_of_two() -> None:
    a, b = random(4, 5, seed=1), random(4, 5, seed=2)
    split = [torch.cat([logits, logits], dim=1) for logits in (a, b)]
    torch.testing.assert_close(competition_loss(*split), competition_loss(a, b))
    images = random(4, 1, 3, 3, seed=3), random(4, 1, 3, 3, seed=4)
    # Each class of probability p becomes two of p/2: √(2·(1/2)²) of the distance.
    whole = diversity_seeking_loss(*images, a.softmax(1), b.softmax(1))
    halves = diversity_seeking_loss(*images, *(logits.softmax(1) for logits in split))
    torch.testing.assert_close(halves, whole / math.sqrt(2))


@pytest.mark.parametrize(("reduction", "factor"), [("sum", 2.0), ("mean", 1.0)])
def test_activation_is_a_mean_over_samples_and_a_sum_or_mean_over_features(
    reduction: Any, factor: float
) -> None:
    for shape in [(1, 3), (6, 7), (3, 8, 2, 5)]:
        features = random(*shape)
        entries = [[abs(v) for v in row] for row in samples(features)]
        size = 1 if reduction == "sum" else shape[1]
        expected = -sum(sum(row) / size for row in entries) / len(entries)
        loss = activation_loss(features, reduction)
        assert loss.item() == pytest.approx(expected, rel=1e-12)
        torch.testing.assert_close(activation_loss(twice(features), reduction), loss)
        wide = activation_loss(torch.cat([features, features], dim=1), reduction)
        torch.testing.assert_close(wide, factor * loss)


def test_duplicating_the_batch_leaves_the_diversity_ratios_unchanged() -> None:
    images = random(4, 1, 3, 3, seed=1), random(4, 1, 3, 3, seed=2)
    codes = random(4, 6, seed=3).softmax(1), random(4, 6, seed=4).softmax(1)
    for loss in (
        diversity_seeking_loss,
        mode_seeking_loss,
        lambda *args: mode_seeking_loss(*args, norm="frobenius"),
    ):
        doubled = loss(*map(twice, images), *map(twice, codes))
        torch.testing.assert_close(doubled, loss(*images, *codes))


@pytest.mark.parametrize("loss", ["one-hot", "entropy"])
def test_losses_of_a_uniform_teacher_have_the_size_log_k(loss: str) -> None:
    for classes in (2, 10, 1000):
        value = PER_SAMPLE[loss](torch.zeros(3, classes), torch.zeros(0))
        assert abs(value.item()) == pytest.approx(math.log(classes), rel=1e-5)


@pytest.mark.parametrize("name", ["kd", "one-hot", "entropy"])
def test_segmentation_treats_every_pixel_as_a_sample(name: str) -> None:
    a, b = random(*SEGMENTATION, seed=1), random(*SEGMENTATION, seed=2)
    flat_a, flat_b = (torch.tensor(np.array(samples(t))) for t in (a, b))
    torch.testing.assert_close(PER_SAMPLE[name](a, b), PER_SAMPLE[name](flat_a, flat_b))


# Gradients


def test_gradients_agree_with_finite_differences() -> None:
    logits, other = random(3, 4, seed=1).requires_grad_(), random(3, 4, seed=2).requires_grad_()
    maps = random(2, 3, 2, 2, seed=3).requires_grad_()
    images = [random(2, 1, 2, 2, seed=s).requires_grad_() for s in (4, 5)]
    codes = [random(2, 3, seed=s).requires_grad_() for s in (6, 7)]
    check = torch.autograd.gradcheck
    assert check(lambda a, b: kd_loss(a, b, 3.0), (logits, other))
    constant = random(2, 3, 2, 2, seed=8)
    assert check(lambda a: kd_loss(a, constant, 3.0), (maps,))
    assert check(one_hot_loss, (logits,))
    assert check(one_hot_loss, (maps,))
    assert check(information_entropy_loss, (logits,))
    assert check(information_entropy_loss, (maps,))
    assert check(activation_loss, (logits,))
    assert check(lambda a: activation_loss(a, "mean"), (logits,))
    assert check(
        lambda x, y, p, q: diversity_seeking_loss(x, y, p.softmax(1), q.softmax(1)),
        (*images, *codes),
    )
    assert check(mode_seeking_loss, (*images, *codes))
    assert check(lambda *args: mode_seeking_loss(*args, norm="frobenius"), (*images, *codes))
    assert check(lambda a: increment_penalty(a, 0.3), (random(1).requires_grad_(),))


@pytest.mark.parametrize("same", ["images", "predictions"])
def test_diversity_seeking_gradient_stays_finite_at_a_zero_distance(same: str) -> None:
    images_a = random(4, 1, 3, 3, seed=1).float().requires_grad_()
    images_b = images_a.detach().clone() if same == "images" else random(4, 1, 3, 3).float()
    # A collapsed generator and a confident teacher: every prediction is exactly one-hot.
    logits = torch.tensor([[200.0, 0.0, 0.0]] * 4, requires_grad=True)
    other = random(4, 3).float() if same == "images" else logits.detach() + 100
    loss = diversity_seeking_loss(images_a, images_b, logits.softmax(1), other.softmax(1))
    loss.backward()
    assert torch.isfinite(images_a.grad).all()
    assert torch.isfinite(logits.grad).all()


# DeepInversion


def layer(channels: int, seed: int) -> LayerStatistics:
    return LayerStatistics(*(random(channels, seed=4 * seed + i) for i in range(4)))


@pytest.mark.parametrize("first_weight", [1.0, 10.0])
def test_batch_norm_loss_sums_unsquared_distances_of_means_and_variances(
    first_weight: float,
) -> None:
    layers = [layer(3, 1), layer(5, 2), layer(2, 3)]
    distances = [
        frobenius(one.mean, one.stored_mean) + frobenius(one.variance, one.stored_variance)
        for one in layers
    ]
    expected = first_weight * distances[0] + distances[1] + distances[2]
    loss = batch_norm_statistics_loss(layers, first_weight)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_batch_norm_loss_is_zero_with_a_finite_gradient_at_the_stored_statistics() -> None:
    mean, variance = random(4).requires_grad_(), random(4, seed=1).requires_grad_()
    loss = batch_norm_statistics_loss(
        [LayerStatistics(mean, variance, mean.detach(), variance.detach())]
    )
    loss.backward()
    assert loss.item() == 0.0
    assert mean.grad is not None
    assert mean.grad.isfinite().all()


def neighbour_differences(images: Tensor) -> list[list[float]]:
    """Differences of horizontal, vertical, falling and rising neighbours, with loops."""
    array = images.detach().numpy()
    count, channels, height, width = array.shape
    found = []
    for dy, dx in [(0, 1), (1, 0), (1, 1), (1, -1)]:
        found.append(
            [
                array[b, c, y + dy, x + dx] - array[b, c, y, x]
                for b in range(count)
                for c in range(channels)
                for y in range(height)
                for x in range(width)
                if y + dy < height and 0 <= x + dx < width
            ]
        )
    return found


def test_total_variation_sums_four_norms_over_the_whole_batch() -> None:
    images = random(3, 2, 4, 5)
    kinds = neighbour_differences(images)
    l2 = sum(math.sqrt(sum(d * d for d in kind)) for kind in kinds)
    l1 = sum(sum(abs(d) for d in kind) / len(kind) for kind in kinds)
    assert total_variation(images).item() == pytest.approx(l2, rel=1e-12)
    assert total_variation(images, "l1").item() == pytest.approx(l1, rel=1e-12)


def test_total_variation_grows_with_the_root_of_the_batch_as_l2_and_not_at_all_as_l1() -> None:
    images = random(3, 1, 6, 6)
    double = twice(images)
    assert total_variation(double) / total_variation(images) == pytest.approx(math.sqrt(2))
    assert total_variation(double, "l1") / total_variation(images, "l1") == pytest.approx(1.0)


def test_total_variation_of_a_flat_image_is_zero_with_a_finite_gradient() -> None:
    images = torch.ones(2, 1, 4, 4, requires_grad=True)
    loss = total_variation(images)
    loss.backward()
    assert loss.item() == 0.0
    assert images.grad is not None
    assert images.grad.isfinite().all()


@SHAPES
def test_competition_is_one_minus_the_jensen_shannon_divergence(shape: tuple[int, ...]) -> None:
    teacher, student = random(*shape, seed=1), random(*shape, seed=2)
    exact, released = 0.0, 0.0
    pairs = list(zip(samples(teacher), samples(student), strict=True))
    for t, s in pairs:
        for pk, qk in zip(softmax(t / 3), softmax(s / 3), strict=True):
            mk = (pk + qk) / 2
            exact += (pk * math.log(pk / mk) + qk * math.log(qk / mk)) / 2
            pk, qk, mk = (min(max(v, 0.01), 0.99) for v in (pk, qk, mk))
            released += mk * (math.log(mk / pk) + math.log(mk / qk)) / 2
    assert competition_loss(teacher, student).item() == pytest.approx(1 - exact / len(pairs))
    assert competition_loss(teacher, student, form="released").item() == pytest.approx(
        1 - min(max(released / len(pairs), 0.0), 1.0)
    )


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_competition_lies_between_agreement_and_full_disagreement(classes: int) -> None:
    agreed = random(6, classes)
    assert competition_loss(agreed, agreed).item() == pytest.approx(1.0)
    one, other = torch.full((2, 6, classes), -500.0, dtype=torch.float64)
    one[:, 0], other[:, 1] = 500.0, 500.0
    one.requires_grad_()
    worst = competition_loss(one, other)
    assert worst.item() == pytest.approx(1 - math.log(2))
    assert 0 <= competition_loss(one, other, form="released").item() <= 1
    worst.backward()
    assert one.grad is not None
    assert one.grad.isfinite().all()


@pytest.mark.parametrize("form", ["exact", "released"])
def test_competition_is_symmetric_and_a_mean_over_the_batch(form: Any) -> None:
    teacher, student = random(5, 4, seed=1), random(5, 4, seed=2)
    loss = competition_loss(teacher, student, form=form)
    torch.testing.assert_close(competition_loss(student, teacher, form=form), loss)
    torch.testing.assert_close(competition_loss(twice(teacher), twice(student), form=form), loss)


# ZSKD


def test_class_similarity_is_the_cosine_of_weight_vectors() -> None:
    weight = random(4, 7)
    rows = weight.numpy()
    expected = [[sum(a * b) / math.sqrt(sum(a * a) * sum(b * b)) for b in rows] for a in rows]
    np.testing.assert_allclose(class_similarity(weight).numpy(), expected, rtol=1e-12)
    torch.testing.assert_close(class_similarity(3 * weight), class_similarity(weight))


@pytest.mark.parametrize("classes", [2, 10, 100])
@pytest.mark.parametrize("scale", [0.1, 1.0])
def test_concentrations_span_the_scale_in_every_row(classes: int, scale: float) -> None:
    similarity = class_similarity(random(classes, 7))
    expected = []
    for row in similarity.tolist():
        low, high = min(row), max(row)
        expected.append([scale * ((c - low) / (high - low) + 1e-4) for c in row])
    concentration = dirichlet_concentration(similarity, scale)
    np.testing.assert_allclose(concentration.numpy(), expected, rtol=1e-9)
    assert (concentration > 0).all()
    assert concentration.argmax(1).tolist() == list(range(classes))


# Segmentation


@SHAPES
def test_weighted_diversity_is_the_distance_from_equal_shares_over_the_share(
    shape: tuple[int, ...],
) -> None:
    logits = random(*shape)
    probabilities = [softmax(row) for row in samples(logits)]
    shares = [sum(p[c] for p in probabilities) / len(probabilities) for c in range(4)]
    expected = sum((1 / 4 - w) ** 2 / w for w in shares) / 4
    assert weighted_diversity_loss(logits).item() == pytest.approx(expected, rel=1e-9)


def test_weighted_diversity_has_the_gradient_of_finite_differences() -> None:
    """Through the denominator as well: a rare class is pulled up harder than a common one down."""
    logits = random(2, 4, 2, 3).requires_grad_()
    (gradient,) = torch.autograd.grad(weighted_diversity_loss(logits), logits)
    step = 1e-6
    for index in np.ndindex(*logits.shape):
        nudge = torch.zeros_like(logits)
        nudge[index] = step
        with torch.no_grad():
            above = weighted_diversity_loss(logits + nudge)
            below = weighted_diversity_loss(logits - nudge)
        slope = (above - below).item() / (2 * step)
        assert gradient[index].item() == pytest.approx(slope, rel=1e-5, abs=1e-9)


def test_weighted_diversity_of_a_class_that_never_occurs_is_finite() -> None:
    logits = torch.tensor([[0.0, 0.0, -500.0]], requires_grad=True)
    loss = weighted_diversity_loss(logits)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert weighted_diversity_loss(torch.zeros(3, 5)).item() == pytest.approx(0, abs=1e-12)


def test_pixelwise_loss_is_the_mean_divergence_of_a_pixel() -> None:
    student, teacher = random(*SEGMENTATION), random(*SEGMENTATION, seed=1)
    divergences = []
    for s, t in zip(samples(student), samples(teacher), strict=True):
        p, q = softmax(t), softmax(s)
        divergences.append(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))
    mean = sum(divergences) / len(divergences)
    assert pixelwise_loss(student, teacher).item() == pytest.approx(mean, rel=1e-10)
    assert pixelwise_loss(student, teacher, "sum").item() == pytest.approx(3 * mean, rel=1e-10)
    both = pixelwise_loss(twice(student), twice(teacher))
    assert both.item() == pytest.approx(mean, rel=1e-10)


def test_label_loss_leaves_void_pixels_out() -> None:
    logits = random(*SEGMENTATION).requires_grad_()
    labels = torch.arange(30).reshape(3, 2, 5) % 4
    labels[:, 0, 1:3] = IGNORE_INDEX
    rows, wanted = samples(logits), labels.flatten().tolist()
    losses = [
        -math.log(softmax(row)[label])
        for row, label in zip(rows, wanted, strict=True)
        if label != IGNORE_INDEX
    ]
    loss = label_loss(logits, labels)
    assert loss.item() == pytest.approx(sum(losses) / len(losses), rel=1e-10)
    loss.backward()
    assert logits.grad is not None
    assert not logits.grad[:, :, 0, 1:3].any()
    assert label_loss(logits, torch.full_like(labels, IGNORE_INDEX)).item() == 0


def test_label_loss_is_a_mean_in_which_pixels_weigh_as_their_classes() -> None:
    logits = random(*SEGMENTATION).requires_grad_()
    labels = torch.arange(30).reshape(3, 2, 5) % 4
    labels[:, 0, 1:3] = IGNORE_INDEX
    weights = torch.tensor([0.5, 3.0, 0.0, 1e-3], dtype=torch.float64)
    known = [
        (float(weights[label]), -math.log(softmax(row)[label]))
        for row, label in zip(samples(logits), labels.flatten().tolist(), strict=True)
        if label != IGNORE_INDEX
    ]
    expected = sum(w * own for w, own in known) / sum(w for w, _ in known)
    loss = label_loss(logits, labels, weights)
    assert loss.item() == pytest.approx(expected, rel=1e-10)
    loss.backward()
    assert logits.grad is not None
    assert not logits.grad[:, :, 0, 1:3].any()
    assert label_loss(logits, labels, torch.ones(4).double()).item() == pytest.approx(
        label_loss(logits, labels).item(), rel=1e-10
    )
    void = label_loss(logits, torch.full_like(labels, IGNORE_INDEX), weights)
    assert void.item() == 0
    logits.grad = None
    void.backward()
    assert not logits.grad.any()


def test_the_255th_class_of_whole_images_is_no_void() -> None:
    logits = torch.zeros(2, 300)
    labels = torch.tensor([IGNORE_INDEX, IGNORE_INDEX])
    assert label_loss(logits, labels).item() == pytest.approx(math.log(300))


def test_activation_of_a_map_is_that_of_its_positions() -> None:
    features = random(2, 3, 2, 2)
    alone = activation_loss(features.movedim(1, -1).reshape(-1, 3))
    torch.testing.assert_close(activation_loss(features), alone)
    mean = activation_loss(features, "mean")
    torch.testing.assert_close(mean, alone / 3)


def test_every_loss_is_importable_from_the_package() -> None:
    import inspect

    import methods.losses
    from methods.losses import adversarial, features, images, predictions

    public = {
        name
        for module in (adversarial, features, images, predictions)
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and name[0] != "_"
    }
    others = {"median_frequency_weights", "samples_by_class"}  # parts of losses, and no losses
    assert public - others <= vars(methods.losses).keys()
