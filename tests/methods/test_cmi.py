from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from torch import Tensor, nn

import methods.cmi
from benchmark.tasks.models.resnet import resnet18
from benchmark.tasks.models.wide_resnet import wide_resnet
from methods.base.method import Method
from methods.base.problem import Problem
from methods.base.teacher import Teacher
from methods.cmi import CMI, CMIGame
from methods.losses.contrastive import instance_contrast_loss
from methods.networks.batch_norm import watch_instance_means
from methods.synthesis.contrast import Contrast, FeatureBank, contrasted_layers
from tests.helpers import one_line, tiny_problem, tiny_run
from tests.rounds import in_one_piece, in_pieces
from tests.segmentation import posed

B, ROUNDS, STEPS = 8, 2, 3
NUMBERS = {"synthesis_batch": B, "synthesis_steps": ROUNDS * STEPS}


def cmi(**params: Any) -> Method:
    small = {"inner_steps": STEPS, "latent_dim": 6, "width": 4, "augmentation": "none"}
    return CMI(CMI.build_params({**small, **params}))


def game_of(**params: Any) -> tuple[CMIGame, Problem]:
    problem, run = tiny_run(**NUMBERS)
    game = cmi(**params).game(problem, run)
    assert isinstance(game, CMIGame)
    return game, problem


def contrast_of(**numbers: Any) -> Contrast:
    problem, run = tiny_run()
    settings = {
        "temperature": 0.1,
        "head_dim": 5,
        "head_lr": 1e-3,
        "capacity": 100,
        "negatives": 7,
    }
    return Contrast(problem, run, **{**settings, **numbers})


def unit_rows(count: int, dim: int = 5, seed: int = 0) -> Tensor:
    rows = torch.randn(
        count, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    return rows / rows.norm(dim=1, keepdim=True)


# The loss


@pytest.mark.parametrize(("rows", "present"), [(9, 4), (6, 6)])
def test_the_contrastive_loss_is_that_of_the_formula(rows: int, present: int) -> None:
    u, v = unit_rows(rows, seed=1), unit_rows(rows, seed=2)
    losses = -np.diag(log_softmax(u.numpy() @ v.numpy().T / 0.2, axis=1))
    expected = losses[:present].mean() + (losses[present:].mean() if rows > present else 0)
    assert instance_contrast_loss(u, v, 0.2, present).item() == pytest.approx(expected, rel=1e-12)


def test_two_views_that_agree_and_differ_from_all_others_cost_nothing() -> None:
    assert instance_contrast_loss(torch.eye(4), torch.eye(4), 0.01, 2).item() < 1e-6


def test_gradients_reach_the_local_views_and_the_head_alone() -> None:
    contrast = contrast_of()
    local, whole = (torch.randn(4, 6).requires_grad_() for _ in range(2))
    contrast.remember(torch.randn(9, 12))
    contrast.loss(local, whole).backward()
    assert whole.grad is None or not whole.grad.any()
    assert local.grad is not None
    assert local.grad.any(dim=1).all()
    assert all(p.grad is not None and p.grad.any() for p in contrast.head.parameters())


@pytest.mark.parametrize("remembered", [0, 5])
def test_the_term_is_that_of_head_and_bank(remembered: int) -> None:
    contrast = contrast_of(negatives=99)
    local, whole, bank = torch.randn(4, 6), torch.randn(4, 6), torch.randn(5, 12)
    if remembered:
        contrast.remember(bank)
    first, _, second = contrast.head
    assert isinstance(first, nn.Linear)
    assert isinstance(second, nn.Linear)

    def projected(rows: Tensor) -> np.ndarray:
        x = rows.double().numpy()
        for layer, last in ((first, False), (second, True)):
            weight, bias = (t.detach().double().numpy() for t in (layer.weight, layer.bias))
            x = x @ weight.T + bias
            x = x if last else np.maximum(x, 0)
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    rows = bank[:remembered]
    u = projected(torch.cat([local, rows[:, :6]]))
    v = projected(torch.cat([whole, rows[:, 6:]]))
    losses = -np.diag(log_softmax(u @ v.T / 0.1, axis=1))
    expected = losses[:4].mean() + (losses[4:].mean() if remembered else 0)
    assert contrast.loss(local, whole).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("column", [0, 11], ids=["local", "whole"])
def test_a_remembered_image_changes_the_loss(column: int) -> None:
    contrast = contrast_of(negatives=99)
    local, whole, bank = torch.randn(4, 6), torch.randn(4, 6), torch.randn(5, 12)
    contrast.remember(bank)
    before = contrast.loss(local, whole)
    bank[3, column] += 5
    contrast.bank.rows = bank
    assert contrast.loss(local, whole) != before


# Features


@pytest.mark.parametrize(
    ("depth", "width", "features"), [(40, 2, 2704), (16, 2, 912), (40, 1, 1360), (16, 1, 464)]
)
def test_an_image_has_as_many_features_as_batch_norms_have_inputs(
    depth: int, width: int, features: int
) -> None:
    network = wide_resnet(depth, width).eval()
    with torch.no_grad(), watch_instance_means(contrasted_layers(network)) as means:
        network(torch.randn(2, 3, 8, 8))
    assert torch.cat(means, dim=1).shape == (2, features)


def test_a_resnet_is_watched_at_its_stages() -> None:
    network = resnet18()
    assert contrasted_layers(network) == [getattr(network, f"layer{i}") for i in range(1, 5)]


def test_features_are_means_over_positions_of_layer_inputs() -> None:
    game, problem = game_of()
    images = torch.randn(5, 1, 8, 8)
    with game.contrast.turn():
        problem.teacher(images)
        found = game.contrast.features()
        problem.teacher(images)  # the list begins anew
        assert torch.equal(game.contrast.features(), found)
    expected = problem.teacher.network.conv(images).double().mean(dim=(2, 3))  # type: ignore[operator]
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


# The bank


def test_the_bank_keeps_the_newest_rows() -> None:
    bank = FeatureBank(5, torch.Generator())
    assert bank.draw(3) is None
    rows = torch.arange(8.0).view(8, 1)
    bank.add(rows[:4])
    bank.add(rows[4:])
    assert bank.rows is not None
    assert bank.rows.flatten().tolist() == [3, 4, 5, 6, 7]


def test_the_bank_draws_different_rows() -> None:
    bank = FeatureBank(50, torch.Generator().manual_seed(0))
    bank.add(torch.arange(20.0).view(20, 1))
    first, second = bank.draw(10), bank.draw(10)
    assert first is not None
    assert second is not None
    assert len(set(first.flatten().tolist())) == 10
    assert not torch.equal(first, second)
    drawn = bank.draw(30)
    assert drawn is not None
    assert sorted(drawn.flatten().tolist()) == list(range(20))


# Turns


def test_every_turn_has_a_new_generator_and_the_head_stays(monkeypatch: Any) -> None:
    made: list[nn.Module] = []
    make = methods.cmi.another_pixel_generator
    monkeypatch.setattr(
        methods.cmi, "another_pixel_generator", lambda *a: made.append(make(*a)) or made[-1]
    )
    begun: list[Tensor] = []
    initialize = methods.cmi.dcgan_initialize

    def watched(layer: nn.Module) -> None:
        initialize(layer)
        if isinstance(layer, nn.Linear):
            begun.append(layer.weight.detach().clone())

    monkeypatch.setattr(methods.cmi, "dcgan_initialize", watched)
    game, problem = game_of(width=32)
    student = problem.make_student().eval()
    heads = [torch.cat([p.detach().flatten() for p in game.contrast.head.parameters()])]
    for turn in range(2):
        game.make(student, turn / 2)
        heads.append(torch.cat([p.detach().flatten() for p in game.contrast.head.parameters()]))
        assert game.contrast.bank.rows is not None
        assert game.contrast.bank.rows.shape == ((turn + 1) * B, 2 * 6)
    assert len(made) == 2
    assert not torch.equal(*begun)
    for weight in begun:
        assert weight.std().item() == pytest.approx(0.02, rel=0.1)
    moved = [(new - old).abs().max().item() for old, new in pairwise(heads)]
    assert all(0 < distance < 2 * STEPS * 1e-3 for distance in moved)  # Adam at 1e-3, no restart


def test_the_loss_of_a_turn_is_the_weighted_sum_of_its_terms() -> None:
    weights = {"bn_weight": 0.7, "one_hot": 1.3, "adversarial": 0.4, "contrast": 0.9}
    game, problem = game_of(**weights)
    terms = {k: v.item() for k, v in game.make(problem.make_student().eval(), 0.0).items()}
    names = {"bn_weight": "statistics"}
    total = sum(weight * terms[names.get(name, name)] for name, weight in weights.items())
    assert next(iter(terms)) == "loss"
    assert terms["loss"] == pytest.approx(total, rel=1e-5)


def test_a_run_counts_two_looks_of_the_teacher_for_every_image_and_step() -> None:
    _, run = in_one_piece(cmi(), **NUMBERS, student_steps=6, student_batch=8)
    made = ROUNDS * STEPS * B
    assert run.ledger.teacher_backward == 2 * made
    assert run.ledger.teacher_forward == 2 * made + 6 * 8 + 2  # two images show the features
    assert run.ledger.synthetic_images == ROUNDS * B
    assert run.ledger.student_steps == 6
    for name, limit in run.budget.limits().items():
        assert getattr(run.ledger, name) <= limit


def test_a_run_that_is_stopped_after_every_round_gives_the_same_bits() -> None:
    numbers = {**NUMBERS, "synthesis_steps": 4 * STEPS}
    params = {"bank": 20, "negatives": 11, "adversarial": 1.0}
    whole, run = in_one_piece(cmi(**params), **numbers)
    resumed, again, stops = in_pieces(cmi(**params), **numbers)
    assert stops == 4
    assert run.curves == again.curves
    for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)


# Where it cannot run


def test_a_teacher_without_batch_norm_is_refused_in_one_line() -> None:
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    plain.num_classes = 3  # type: ignore[assignment]
    problem = tiny_problem()
    problem.teacher = Teacher(plain)
    for weight in (1.0, 0.0):
        answer = cmi(bn_weight=weight).supports(problem)
        assert answer is not None
        assert "BatchNorm" in one_line(answer)


def test_segmentation_is_refused_in_one_line() -> None:
    answer = cmi().supports(posed()[0])
    assert answer is not None
    assert "classification" in one_line(answer)


def test_the_settings_are_those_of_the_released_script() -> None:
    params = CMI.build_params({}, "cifar10")
    weights = ("bn_weight", "one_hot", "adversarial", "contrast")
    assert [getattr(params, name) for name in weights] == [1.0, 1.0, 0.5, 0.8]
    assert (params.inner_steps, params.bank, params.negatives) == (200, 40960, 4096)
