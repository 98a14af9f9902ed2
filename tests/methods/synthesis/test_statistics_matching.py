"""BatchNorm statistics with momentum."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from methods.losses.images import LayerStatistics
from methods.synthesis.statistics_matching import StatisticsMatching, refuse_without_batch_norm


def layer(seed: int, requires_grad: bool = False) -> LayerStatistics:
    stream = torch.Generator().manual_seed(seed)
    mean, variance, stored_mean, stored_variance = torch.rand(
        4, 3, generator=stream, dtype=torch.float64
    )
    if requires_grad:
        mean.requires_grad_()
    return LayerStatistics(mean, variance, stored_mean, stored_variance)


def distance(layer: LayerStatistics) -> torch.Tensor:
    return (layer.mean - layer.stored_mean).square().sum().sqrt() + (
        layer.variance - layer.stored_variance
    ).square().sum().sqrt()


def test_the_first_turn_compares_the_present_batch_alone() -> None:
    layers = [layer(0), layer(1)]
    expected = sum(map(distance, layers))
    assert StatisticsMatching(0.9).loss(layers) == pytest.approx(float(expected))


def test_later_turns_compare_a_mean_with_those_before() -> None:
    matching, first, second, third = StatisticsMatching(0.9), layer(0), layer(1), layer(2)
    matching.loss([first])
    matching.update([first])
    matching.update([second])
    running = 0.9 * first.mean + 0.1 * second.mean
    variance = 0.9 * first.variance + 0.1 * second.variance
    smoothed = third._replace(
        mean=0.1 * third.mean + 0.9 * running,
        variance=0.1 * third.variance + 0.9 * variance,
    )
    assert matching.loss([third]) == pytest.approx(float(distance(smoothed)))


def test_gradients_reach_the_present_batch_with_the_factor_1_minus_m() -> None:
    plain, smoothed = layer(1, requires_grad=True), layer(1, requires_grad=True)
    # A batch before it that was equal: the loss is that of the first turn, its gradient is not.
    matching = StatisticsMatching(0.9)
    matching.update([plain])
    (of_first,) = torch.autograd.grad(StatisticsMatching(0.9).loss([plain]), plain.mean)
    (of_later,) = torch.autograd.grad(matching.loss([smoothed]), smoothed.mean)
    assert torch.allclose(of_later, 0.1 * of_first)


def test_its_state_goes_on() -> None:
    first, second = StatisticsMatching(0.9), StatisticsMatching(0.9)
    first.update([layer(0)])
    second.load_state_dict(first.state_dict())
    assert first.loss([layer(1)]) == second.loss([layer(1)])


def test_a_teacher_without_batch_norm_is_refused_unless_the_term_is_off() -> None:
    bare = nn.Sequential(nn.Conv2d(1, 2, 3))
    message = refuse_without_batch_norm(bare, 10.0, "bn_weight")
    assert message is not None
    assert "no BatchNorm layer" in message
    assert "bn_weight=0" in message
    assert refuse_without_batch_norm(bare, 0.0, "bn_weight") is None
    assert refuse_without_batch_norm(nn.Sequential(nn.BatchNorm2d(2)), 10.0, "bn_weight") is None
