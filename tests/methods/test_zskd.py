from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from torch import Tensor, nn
from torch.distributions import Dirichlet

import methods
from methods import zskd as zskd_module
from methods.base.method import Method
from methods.base.samples import ImageBank
from methods.base.states import Stopped
from methods.base.teacher import Teacher
from methods.losses.predictions import class_similarity, dirichlet_concentration
from methods.synthesis.pixels import PixelOptimization, first_turns, shuffled_bank
from methods.zskd import (
    ZSKD,
    ImpressionLoss,
    batches_of_rows,
    classifier_weight,
    soft_targets,
)
from tests.helpers import (
    IMAGE_SHAPE,
    NUM_CLASSES,
    TinyNetwork,
    one_line,
    tiny_budget,
    tiny_network,
    tiny_run,
)

INVERSION = {"inversion_images": 20, "inversion_steps": 5}


def zskd(**params: Any) -> Method:
    return ZSKD(ZSKD.build_params(params))


def images_of(method: Method, seed: int = 0, **numbers: Any) -> Tensor:
    problem, run = tiny_run(seed, **{**INVERSION, **numbers})
    bank = method.synthesize(problem, run)
    assert isinstance(bank, ImageBank)
    return bank.images


def concentrations(*scales: float, classes: int = 4) -> Tensor:
    weight = torch.randn(
        classes, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    similarity = class_similarity(weight)
    return torch.stack([dirichlet_concentration(similarity, scale) for scale in scales])


# Soft targets


@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_soft_targets_have_the_mean_and_variance_of_their_dirichlet(scale: float) -> None:
    alpha = concentrations(scale, scale)
    torch.manual_seed(0)
    samples = soft_targets(alpha, 40_000).numpy()
    for k in range(4):
        a = alpha[0, k].numpy()
        total = a.sum()
        mean, variance = a / total, a * (total - a) / (total**2 * (total + 1))
        drawn = samples[k::4]
        error = 5 * np.sqrt(variance / len(drawn)) + 1e-6
        assert (abs(drawn.mean(0) - mean) < error).all()
        np.testing.assert_allclose(drawn.var(0), variance, rtol=0.1, atol=1e-4)


def test_one_half_of_every_class_is_spread_and_the_other_peaked() -> None:
    torch.manual_seed(0)
    samples = soft_targets(concentrations(1.0, 0.1), 8_000)
    torch.testing.assert_close(samples.sum(1), torch.ones(8_000, dtype=torch.float64))
    half = torch.arange(8_000) // 4 % 2
    for k in range(4):
        mine = torch.arange(8_000) % 4 == k
        spread, peaked = (samples[mine & (half == h)].amax(1).mean() for h in (0, 1))
        assert len(samples[mine & (half == 0)]) == len(samples[mine & (half == 1)])
        assert spread < 0.85 < peaked


@pytest.mark.parametrize("batch", [4, 6])
def test_small_batches_together_have_both_halves(batch: int) -> None:
    torch.manual_seed(0)
    sizes = [batch] * 2_000
    together = torch.cat(
        [
            soft_targets(concentrations(1.0, 0.1), count, first)
            for count, first in zip(sizes, first_turns(sizes, 8), strict=True)
        ]
    )
    half = torch.arange(len(together)) // 4 % 2
    spread, peaked = (together[half == h].amax(1).mean() for h in (0, 1))
    assert spread < 0.85 < peaked


def test_legacy_takes_the_same_concentrations_for_both_halves() -> None:
    problem, _ = tiny_run()
    spread, peaked = zskd()._concentrations(problem)  # type: ignore[attr-defined]
    torch.testing.assert_close(peaked, 0.1 * spread)
    both = zskd(legacy=True)._concentrations(problem)  # type: ignore[attr-defined]
    torch.testing.assert_close(both, torch.stack([spread, spread]))


# Impressions


def test_the_loss_is_the_cross_entropy_at_the_temperature_averaged_over_the_batch() -> None:
    problem, run = tiny_run()
    pixels = torch.rand(6, 1, 8, 8)
    target = torch.softmax(torch.randn(6, NUM_CLASSES), 1)
    logits = problem.teacher((pixels - 0.5) / 0.25).detach().double().numpy()
    rows = zip(target.double().numpy(), log_softmax(logits / 20, axis=1), strict=True)
    expected = sum(-(y * p).sum() for y, p in rows) / 6
    loss = ImpressionLoss(problem, run, target, 20.0)(pixels)["loss"]
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_the_loss_is_a_mean_over_the_batch_that_does_not_grow_with_the_classes() -> None:
    class Repeating(nn.Module):
        """The images' first pixels as logits, ``copies`` times each."""

        def __init__(self, copies: int) -> None:
            super().__init__()
            self.num_classes = 4 * copies

        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1)[:, :4].repeat(1, self.num_classes // 4)

    def loss(copies: int, pixels: Tensor, target: Tensor) -> float:
        problem, run = tiny_run()
        problem.teacher = Teacher(Repeating(copies))
        spread = target.repeat(1, copies) / copies
        return ImpressionLoss(problem, run, spread, 2.0)(pixels)["loss"].item()

    pixels, target = torch.rand(6, 1, 8, 8), torch.softmax(torch.randn(6, 4), 1)
    logits = ((pixels.double().numpy().reshape(6, -1)[:, :4]) - 0.5) / 0.25
    rows = zip(target.double().numpy(), log_softmax(logits / 2, axis=1), strict=True)
    expected = sum(-(y * p).sum() for y, p in rows) / 6
    assert loss(1, pixels, target) == pytest.approx(expected, rel=1e-5)
    twice = loss(1, pixels.repeat(2, 1, 1, 1), target.repeat(2, 1))
    assert twice == pytest.approx(expected, rel=1e-5)
    # A class as two equal halves: each has half the probability, in target and answer.
    assert loss(2, pixels, target) == pytest.approx(expected + np.log(2), rel=1e-5)
    assert loss(25, pixels, target) == pytest.approx(expected + np.log(25), rel=1e-5)


def test_impressions_make_the_teacher_answer_with_the_targets() -> None:
    problem, run = tiny_run(inversion_images=20, inversion_steps=60)
    zskd(learning_rate=0.1, temperature=1.0).synthesize(problem, run)
    first, *_, last = run.curves["synthesis/loss"]["value"]
    assert last < 0.9 * first


def test_legacy_is_the_released_loop_in_float64() -> None:
    # Of one class and one β at a time, 20 batches in the released code and here 2: the first from
    # uniform noise, the second from where the first ended. One Adam from beginning to end. After
    # every step but the last of a batch, min-max scaling of the whole batch.
    images, steps, rate, tau = 8 * NUM_CLASSES, 5, 0.05, 20.0
    budget = {"inversion_images": images, "inversion_steps": steps}
    made = images_of(zskd(legacy=True, batch=2, learning_rate=rate), **budget)

    problem, run = tiny_run(**budget)
    network = copy.deepcopy(problem.teacher.network).double()
    weight = network.get_submodule("classifier").weight.detach()
    assert isinstance(weight, Tensor)
    unit = weight / weight.norm(dim=1, keepdim=True)
    cosine = (unit @ unit.T).numpy()
    low, high = cosine.min(1, keepdims=True), cosine.max(1, keepdims=True)
    alpha = (cosine - low) / (high - low) + 1e-4
    rows = np.concatenate([alpha, alpha])  # β = 0.1 is normalised away
    per_row = images // len(rows)
    assert per_row == 4
    with run.seeded("soft-targets"):
        targets = [
            [Dirichlet(torch.from_numpy(row)).sample(torch.Size([2])) for _ in range(2)]
            for row in rows
        ]
    noise = run.stream("impression-noise")
    first = second = torch.zeros(2, *IMAGE_SHAPE, dtype=torch.float64)
    taken, expected = 0, []
    for row in targets:
        x = torch.rand(2, *IMAGE_SHAPE, generator=noise).double()
        for target in row:
            for step in range(steps):
                x.requires_grad_()
                logits = network((x - 0.5) / 0.25) / tau
                loss = -(target * torch.log_softmax(logits, 1)).sum()
                (gradient,) = torch.autograd.grad(loss, x)
                taken += 1
                first = 0.9 * first + 0.1 * gradient
                second = 0.999 * second + 0.001 * gradient**2
                update = first / (1 - 0.9**taken) / ((second / (1 - 0.999**taken)).sqrt() + 1e-8)
                x = (x - rate * update).detach()
                if step < steps - 1:
                    x = (x - x.min()) / (x.max() - x.min())
            expected.append(x)
    together = torch.cat(expected)
    together = together[torch.randperm(images, generator=run.stream("bank-order"))]
    found = problem.normalization.denormalize(made.double())
    assert together.min() < 0  # the last iterate is not scaled
    torch.testing.assert_close(found, together, atol=5e-3, rtol=0)  # float16


def test_batches_of_rows_share_all_images() -> None:
    assert batches_of_rows(40_000, 20, 100) == [[100] * 20] * 20
    assert batches_of_rows(23, 4, 4) == [[3, 3], [3, 3], [3, 3], [3, 2]]
    assert batches_of_rows(3, 8, 2) == [[1], [1], [1]]
    for count in range(1, 60):
        rows = batches_of_rows(count, 8, 3)
        sizes = [size for row in rows for size in row]
        assert sum(sizes) == count
        assert max(sizes) == sizes[0] <= 3
        assert max(map(sum, rows)) - min(map(sum, rows)) <= 1


def test_an_interrupted_legacy_synthesis_goes_on_with_equal_images() -> None:
    settings: dict[str, Any] = {"legacy": True, "batch": 2, "learning_rate": 0.05}
    numbers = {"inversion_images": 24, "inversion_steps": 3}
    problem, run = tiny_run(**numbers)
    whole = zskd(**settings).synthesize(problem, run)
    kept: list[Any] = []

    class Keeper:
        def due(self) -> bool:
            return False

        def save(self, loop: str, step: int, state: dict[str, Any]) -> None:
            kept.append((step, copy.deepcopy(state)))

        def load(self, loop: str) -> Any:
            return kept[-1] if kept else None

    problem, run = tiny_run(**numbers)
    run.keeper = Keeper()  # type: ignore[assignment]
    seen: list[int] = []
    run._progress = lambda phase, step, total, loss: seen.append(step)
    run._stopping = lambda: "enough" if len(seen) >= 8 else ""
    with pytest.raises(Stopped):  # in the middle of the third batch
        zskd(**settings).synthesize(problem, run)
    problem, run = tiny_run(**numbers)
    run.keeper = Keeper()  # type: ignore[assignment]
    again = zskd(**settings).synthesize(problem, run)
    assert isinstance(whole, ImageBank)
    assert isinstance(again, ImageBank)
    assert torch.equal(again.images, whole.images)


def test_only_legacy_runs_have_another_version() -> None:
    assert ZSKD.version_of(ZSKD.build_params({})) == 1
    assert ZSKD.version_of(ZSKD.build_params({"legacy": True})) == 2


def test_the_size_of_a_batch_does_not_change_an_impression() -> None:
    problem, run = tiny_run(**INVERSION)
    target = torch.softmax(torch.randn(8, NUM_CLASSES), 1)
    start = torch.rand(8, 1, 8, 8)

    def optimized(chosen: slice) -> Tensor:
        loss = ImpressionLoss(problem, run, target[chosen], 20.0)
        return PixelOptimization(run, 8, 0.1).optimize(start[chosen], loss)

    torch.testing.assert_close(optimized(slice(8))[:2], optimized(slice(2)), rtol=1e-3, atol=1e-3)


def test_a_run_costs_what_the_budget_says() -> None:
    problem, run = tiny_run(**INVERSION)
    bank = zskd(batch=8).synthesize(problem, run)
    assert isinstance(bank, ImageBank)
    assert (len(bank), bank.held_out) == (18, 2)
    assert run.ledger.teacher_forward == run.ledger.teacher_backward == 20 * 5
    assert run.ledger.synthetic_images == 20
    assert run.curves["synthesis/loss"]["step"] == list(range(3 * 5))


def test_the_student_learns_from_views_that_the_teacher_labels_once() -> None:
    problem, run = tiny_run(**INVERSION)
    zskd(views=3).fit(problem, run)
    assert run.ledger.synthetic_images == 20 + 3 * 18
    assert run.ledger.teacher_forward == 20 * 5 + 4 * 18


def test_a_budget_without_inversion_is_answered_in_one_line() -> None:
    problem, run = tiny_run()
    with pytest.raises(ValueError, match="inversion_images") as error:
        zskd().synthesize(problem, run)
    assert "tiny" in one_line(str(error.value))


def test_same_seed_makes_the_same_images() -> None:
    torch.manual_seed(1)
    first = images_of(zskd(), 1)
    torch.manual_seed(2)
    assert torch.equal(images_of(zskd(), 1), first)
    assert not torch.equal(images_of(zskd(), 2), first)


def test_validation_images_are_of_every_class() -> None:
    _, run = tiny_run(validation_images=40)
    labels = torch.arange(400).view(-1, 1, 1, 1) // 100  # sorted by class
    bank = shuffled_bank(labels.float(), run)
    assert bank.held_out == 40
    assert bank.images[-40:].unique().tolist() == [0.0, 1.0, 2.0, 3.0]


# Where it runs


class _Convolutional(nn.Module):
    num_classes = NUM_CLASSES

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(1, NUM_CLASSES, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(images).mean((2, 3))


class _Timm(_Convolutional):
    def get_classifier(self) -> nn.Module:
        return self.head


class _TwoHeads(nn.Module):
    """Logits of ``head``; ``aux``, defined after it, is left over from the training.

    Args:
        order: of the definitions.
        calls_aux: whether the forward pass still computes what nobody asks for.
    """

    def __init__(self, order: Sequence[str], calls_aux: bool = False) -> None:
        super().__init__()
        sizes = {"body": (64, 20), "head": (20, NUM_CLASSES), "aux": (20, NUM_CLASSES)}
        for name in order:
            setattr(self, name, nn.Linear(*sizes[name], bias=False))
        self.calls_aux = calls_aux

    def forward(self, images: Tensor) -> Tensor:
        features = self.body(images.flatten(1)).relu()
        logits: Tensor = self.head(features)
        if self.calls_aux:
            self.aux(features)
        return logits


def weight_of(network: nn.Module) -> Tensor | None:
    problem, _ = tiny_run()
    problem.teacher = Teacher(network)
    return classifier_weight(problem)


def test_the_classifier_is_timms_or_the_linear_layer_that_gives_the_logits() -> None:
    network, convolutional = tiny_network(), _Timm()
    weight = weight_of(network)
    assert weight is not None
    assert torch.equal(weight, network.classifier.weight)
    weight = weight_of(convolutional)
    assert weight is not None
    assert torch.equal(weight, convolutional.head.weight.view(NUM_CLASSES, 1))
    assert weight_of(_Convolutional()) is None
    assert weight_of(TinyNetwork(num_classes=7)) is None


@pytest.mark.parametrize("calls_aux", [False, True])
@pytest.mark.parametrize("order", [("body", "head", "aux"), ("aux", "head", "body")])
def test_similarities_are_read_off_the_layer_in_use_wherever_it_is_defined(
    order: Sequence[str], calls_aux: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Tensor] = []

    def similarity(weight: Tensor) -> Tensor:
        read.append(weight)
        return class_similarity(weight)

    monkeypatch.setattr(zskd_module, "class_similarity", similarity)
    network = _TwoHeads(order, calls_aux)
    methods.distill(
        network,
        tiny_network(),
        method="zskd",
        image_shape=IMAGE_SHAPE,
        mean=(0.5,),
        std=(0.25,),
        budget=tiny_budget(inversion_images=12, inversion_steps=2),
    )
    assert torch.equal(read[0], network.head.weight.detach().double())


class _TwoHeadsAsTimm(_TwoHeads):
    """With timm's interface, but for ``get_classifier``."""

    num_classes = NUM_CLASSES

    def forward_features(self, images: Tensor) -> Tensor:
        features: Tensor = self.body(images.flatten(1)).relu()
        return features

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        logits: Tensor = features if pre_logits else self.head(features)
        return logits


def test_a_network_with_timms_interface_and_an_unused_head_is_read_right_too() -> None:
    network = _TwoHeadsAsTimm(("body", "head", "aux"))
    weight = weight_of(network)
    assert weight is not None
    assert torch.equal(weight, network.head.weight)
    assert not any(module._forward_pre_hooks for module in network.modules())


def test_a_teacher_without_linear_classifier_and_segmentation_are_declined() -> None:
    problem, _ = tiny_run()
    assert zskd().supports(problem) is None
    problem.teacher = Teacher(_Convolutional())
    assert "linear layer" in one_line(zskd().supports(problem) or "")
    problem.task_type = "segmentation"
    assert "pixel" in one_line(zskd().supports(problem) or "")
