from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import trapezoid
from scipy.special import softmax
from torch import Tensor, nn

from methods.base.teacher import Teacher
from methods.dfq import DFQ, DFQGame
from methods.losses.images import LayerStatistics, gaussian_statistics_loss
from methods.losses.predictions import entropy_loss, information_entropy_loss, kd_loss
from methods.own_teacher.interface import with_timm_interface
from tests.formulas import random
from tests.games import same_after_stops
from tests.helpers import NUM_CLASSES, one_line, tiny_run
from tests.segmentation import posed as posed_segmentation

SMALL = {"latent_dim": 5, "width": 4}
EPSILON = 1e-5


def dfq(**params: Any) -> DFQ:
    return DFQ(DFQ.build_params({**SMALL, **params}))


def layers(*widths: int) -> list[LayerStatistics]:
    return [
        LayerStatistics(
            random(width, seed=4 * i),
            random(width, seed=4 * i + 1).square(),
            random(width, seed=4 * i + 2),
            random(width, seed=4 * i + 3).square() + 0.1,
        )
        for i, width in enumerate(widths)
    ]


def divergence(mean: float, variance: float, stored_mean: float, stored: float) -> float:
    """KL of two normal distributions, by numerical integration."""
    width = 40 * max(math.sqrt(variance), math.sqrt(stored))
    x = np.linspace(mean - width, mean + width, 400_001)

    def log_density(centre: float, spread: float) -> np.ndarray:
        return -((x - centre) ** 2) / (2 * spread) - 0.5 * math.log(2 * math.pi * spread)

    p, q = log_density(mean, variance), log_density(stored_mean, stored)
    return float(trapezoid(np.exp(p) * (p - q), x))


def test_the_statistics_differ_by_the_divergence_of_normal_distributions_summed() -> None:
    found = layers(2, 3)
    expected = 0.0
    for layer in found:
        for mean, variance, stored_mean, stored in zip(*(x.tolist() for x in layer), strict=True):
            expected += divergence(mean, variance + EPSILON, stored_mean, stored + EPSILON)
    assert float(gaussian_statistics_loss(found)) == pytest.approx(expected, rel=1e-6)


def test_equal_statistics_cost_nothing_and_every_layer_counts_in_full() -> None:
    one = layers(3)[0]
    equal = one._replace(mean=one.stored_mean, variance=one.stored_variance)
    assert float(gaussian_statistics_loss([equal])) == pytest.approx(0, abs=1e-12)
    single = float(gaussian_statistics_loss([one]))
    assert float(gaussian_statistics_loss([one, one, equal])) == pytest.approx(2 * single)


@pytest.mark.parametrize("which", ["variance", "stored_variance"])
def test_a_channel_that_never_varies_stays_finite(which: str) -> None:
    layer = layers(3)[0]
    mean = layer.mean.clone().requires_grad_()
    variance = layer.variance.clone().requires_grad_()
    still = layer._replace(mean=mean, variance=variance)
    if which == "variance":
        still = still._replace(variance=variance * 0)
    else:
        still = still._replace(stored_variance=torch.zeros(3, dtype=torch.float64))
    loss = gaussian_statistics_loss([still])
    loss.backward()
    assert loss.isfinite()
    assert mean.grad is not None
    assert mean.grad.isfinite().all()
    assert variance.grad is not None
    assert variance.grad.isfinite().all()


def test_a_softmax_of_exact_zeros_stays_finite() -> None:
    logits = torch.tensor([[1e4, 0.0, -1e4], [1e4, 0.0, -1e4]], requires_grad=True)
    answers = torch.tensor([[-1e4, 1e4, 0.0], [0.0, 0.0, 0.0]])
    loss = entropy_loss(logits) + information_entropy_loss(logits) - kd_loss(answers, logits)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def own_terms(teacher: nn.Module, student: nn.Module, images: Tensor, temperature: float) -> Any:
    """The terms of a batch, in float64 and with loops."""
    statistics, double = 0.0, images.double()
    with torch.no_grad():
        teacher, student = teacher.double().eval(), student.double().eval()
        maps = teacher.conv(double)  # type: ignore[operator]
        logits, answers = teacher(double).numpy(), student(double).numpy()
    norm = teacher.norm
    for channel in range(maps.shape[1]):
        values = maps[:, channel].numpy().ravel()
        statistics += divergence(
            values.mean(),
            values.var() + EPSILON,
            float(norm.running_mean[channel]),  # type: ignore[index, union-attr]
            float(norm.running_var[channel]) + EPSILON,  # type: ignore[index, union-attr]
        )
    p = softmax(logits, axis=1)
    mean = p.mean(axis=0)
    soft, hard = (softmax(x / temperature, axis=1) for x in (logits, answers))
    return {
        "statistics": statistics,
        "instance_entropy": float(np.mean([-sum(q * math.log(q) for q in row) for row in p])),
        "batch_entropy": float(sum(q * math.log(q) for q in mean)),
        "adversarial": -(temperature**2) * float((soft * np.log(soft / hard)).sum(axis=1).mean()),
    }


@pytest.mark.parametrize("warm", [True, False])
def test_the_generator_s_loss_is_the_weighted_sum_of_its_terms(warm: bool) -> None:
    weights = {"bn_weight": 0.7, "instance_entropy": 0.3, "batch_entropy": 2.0}
    problem, run = tiny_run()
    game = DFQGame(dfq(alpha=0.1, temperature=3.0, warm_up=0.5, **weights).params, problem, run)
    student = problem.make_student().eval()
    images = random(16, *problem.image_shape, seed=3).float()
    terms = game.terms(images, student, 0.25 if warm else 0.5)
    expected = own_terms(problem.teacher.network, student, images, 3.0)
    if warm:
        del expected["adversarial"]
    found = {name: float(term.detach()) for name, term in terms.items()}
    loss = found.pop("loss")
    assert found == pytest.approx(expected, rel=1e-4)
    names = {"bn_weight": "statistics"}
    near = sum(weight * expected[names.get(name, name)] for name, weight in weights.items())
    assert loss == pytest.approx(0.1 * near + expected.get("adversarial", 0.0), rel=1e-4)


def test_while_the_generator_warms_up_nobody_asks_the_student() -> None:
    problem, run = tiny_run(synthesis_steps=10, student_steps=16)
    dfq().fit(problem, run)
    assert run.curves["synthesis/adversarial"]["step"] == list(range(2, 10))
    assert run.curves["synthesis/loss"]["step"] == list(range(10))
    assert run.ledger.counts() == {
        "teacher_forward": 10 * 8 + 16 * 8,
        "teacher_backward": 10 * 8,
        "synthetic_images": 10 * 8 + 16 * 8,
        "student_steps": 16,
        "student_images": 8 * 8 + 16 * 8,
    }


def test_the_student_is_in_eval_mode_in_the_generator_s_turn_and_so_is_the_generator_in_its() -> (
    None
):
    problem, run = tiny_run()
    game = DFQGame(dfq().params, problem, run)
    assert game.student_mode == "eval"
    modes: list[bool] = []
    game.generator.register_forward_pre_hook(lambda module, inputs: modes.append(module.training))
    game.make(problem.make_student().eval(), 0.5)
    game.samples.validation(4, torch.Generator())
    assert modes == [True, False]


def test_stops_at_every_round_change_nothing() -> None:
    assert same_after_stops(dfq(warm_up=0.3), tiny_run) == 4
    assert same_after_stops(dfq(), posed_segmentation) == 4


def test_a_teacher_without_batch_norm_is_refused_unless_the_term_is_off() -> None:
    problem, run = tiny_run()
    network = nn.Sequential(nn.Conv2d(1, NUM_CLASSES, 8), nn.Flatten()).eval()
    problem.teacher = Teacher(with_timm_interface(network, torch.zeros(2, 1, 8, 8)), run.ledger)
    assert "bn_weight=0" in one_line(dfq().supports(problem) or "")
    method = dfq(bn_weight=0.0)
    assert method.supports(problem) is None
    method.fit(problem, run)
    assert "synthesis/statistics" not in run.curves


def test_label_maps_are_played_for_pixel_by_pixel() -> None:
    problem, run = posed_segmentation()
    game = DFQGame(dfq(warm_up=0.0).params, problem, run)
    student = problem.make_student().eval()
    images = torch.randn(6, *problem.image_shape, generator=torch.Generator().manual_seed(0))
    terms = game.terms(images, student, 0.0)
    with torch.no_grad():
        pixels = problem.teacher.network(images).permute(0, 2, 3, 1).reshape(-1, 3).double().numpy()
    p = softmax(pixels, axis=1)
    assert float(terms["instance_entropy"]) == pytest.approx(
        -(p * np.log(p)).sum(axis=1).mean(), rel=1e-4
    )
    mean = p.mean(axis=0)
    assert float(terms["batch_entropy"]) == pytest.approx((mean * np.log(mean)).sum(), rel=1e-4)


def test_sizes_that_its_generator_cannot_draw_are_refused() -> None:
    problem, _ = tiny_run()
    problem.image_shape = (1, 8, 10)
    assert "divisible by 4, not 8×10" in one_line(dfq().supports(problem) or "")
