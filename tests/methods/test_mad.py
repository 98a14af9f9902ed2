from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from torch import nn

from methods.base.samples import Batch
from methods.losses.adversarial import bounded_disagreement_loss
from methods.mad import MAD, MADGame
from methods.networks.summed_codes import SummedCodeGenerator
from tests.formulas import divergences, random
from tests.games import same_after_stops
from tests.helpers import IMAGE_SHAPE, NUM_CLASSES, tiny_run

SMALL = {"latent_dim": 5, "width": 4}
SUM = {"conditioning": "sum"}


def mad(**params: Any) -> MAD:
    return MAD(MAD.build_params({**SMALL, **params}))


def game_of(**params: Any) -> tuple[MADGame, nn.Module]:
    """A game at its beginning, and a student."""
    problem, run = tiny_run()
    return MADGame(mad(**params).params, problem, run), problem.make_student().eval()


# The losses


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("bound", [0.2, 1.0, 100.0])
def test_the_divergence_of_every_image_is_bounded(temperature: float, bound: float) -> None:
    student, teacher = 3 * random(9, 4, seed=1), 3 * random(9, 4, seed=2)
    loss = bounded_disagreement_loss(student, teacher, temperature, bound)
    each = [min(d, bound * math.log(4)) for d in divergences(student, teacher, temperature)]
    assert float(loss) == pytest.approx(-sum(each) / 9)


def test_nothing_is_gained_by_an_image_beyond_the_bound() -> None:
    student, teacher = 3 * random(9, 4, seed=1), 3 * random(9, 4, seed=2)
    beyond = torch.from_numpy(divergences(student, teacher) > math.log(4))
    assert beyond.any()
    assert not beyond.all()
    student.requires_grad_()
    bounded_disagreement_loss(student, teacher).backward()
    assert student.grad is not None
    assert torch.equal(student.grad.abs().sum(dim=1) == 0, beyond)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_student_minimises_the_divergence_without_a_bound(temperature: float) -> None:
    problem, _ = tiny_run()
    objective = mad(temperature=temperature).objective(problem)
    student, teacher = 9 * random(5, 3, seed=1), 9 * random(5, 3, seed=2)
    loss = objective.of_logits(student, Batch(torch.empty(0), teacher_logits=teacher))  # type: ignore[attr-defined]
    expected = divergences(student, teacher, temperature).mean()
    assert expected > math.log(3) / 2
    assert float(loss) == pytest.approx(expected)


@pytest.mark.parametrize("warm", [True, False])
def test_the_generator_of_wanted_classes_minimises_the_weighted_sum_of_its_terms(
    warm: bool,
) -> None:
    weights = {"target": 0.7, "code_norm": 0.3}
    game, student = game_of(**SUM, **weights, bound=0.05, temperature=2.0, warm_up=0.5)
    generator = game.generator
    assert isinstance(generator, SummedCodeGenerator)
    images = random(8, *IMAGE_SHAPE, seed=3).float()
    game.latents = random(8, generator.latent_dim, seed=4).float()
    terms = game.terms(images, student, 0.25 if warm else 0.5)
    found = {name: float(term.detach()) for name, term in terms.items()}
    loss = found.pop("loss")
    logits, answers = game.problem.teacher.network(images), student(images)
    wanted = np.argmax(game.latents.numpy()[:, 5:], axis=1)
    chances = log_softmax(logits.detach().double().numpy(), axis=1)
    norms = np.sqrt((generator.codes.weight.detach().double().numpy() ** 2).sum(axis=1))
    expected = {
        "target": -float(np.mean([row[y] for row, y in zip(chances, wanted, strict=True)])),
        "codes": float(np.maximum(norms - 1, 0).mean()),
    }
    if not warm:
        each = np.minimum(divergences(answers, logits, 2.0), 0.05 * math.log(NUM_CLASSES))
        expected["adversarial"] = -float(each.mean())
    assert found == pytest.approx(expected, rel=1e-4)
    total = 0.7 * expected["target"] + 0.3 * expected["codes"] + expected.get("adversarial", 0.0)
    assert loss == pytest.approx(total, rel=1e-4)


def test_the_unconditional_generator_has_no_loss_but_the_divergence() -> None:
    game, student = game_of(bound=50.0)
    images = random(8, *IMAGE_SHAPE, seed=3).float()
    terms = game.terms(images, student, 0.0)
    logits = game.problem.teacher.network(images)
    expected = -divergences(student(images), logits).mean()
    assert {name: float(term.detach()) for name, term in terms.items()} == pytest.approx(
        {"loss": expected, "adversarial": expected}, rel=1e-4
    )


# The generators


@pytest.mark.parametrize("conditioning", ["none", "sum"])
def test_the_average_follows_the_generator_by_its_momentum(conditioning: str) -> None:
    game, student = game_of(momentum=0.75, conditioning=conditioning, generator_lr=0.1)
    expected = game.generator.conv1.weight.detach().double().clone()  # type: ignore[union-attr]
    for _ in range(3):
        game.make(student, 0.5)
        present = game.generator.conv1.weight.detach().double()  # type: ignore[union-attr]
        expected = 0.75 * expected + 0.25 * present
    average = game.average.network.conv1.weight  # type: ignore[union-attr]
    assert torch.allclose(average.double(), expected, atol=1e-6)
    assert not torch.allclose(average.double(), present, atol=1e-3)


def test_both_generators_read_the_same_codes_and_only_one_trains_them() -> None:
    game, student = game_of(**SUM, generator_lr=0.1)
    before = game.generator.codes.weight.detach().clone()  # type: ignore[union-attr]
    game.make(student, 0.5)
    assert game.average.network.codes is game.generator.codes  # type: ignore[union-attr]
    assert not torch.equal(game.generator.codes.weight, before)  # type: ignore[union-attr]


@pytest.mark.parametrize(("past", "drawn"), [(0.0, 0), (0.25, 2), (0.5, 4), (1.0, 8)])
def test_the_student_s_batch_is_of_both_generators(past: float, drawn: int) -> None:
    game, student = game_of(past=past, generator_lr=0.1)
    for _ in range(2):
        game.make(student, 0.5)
    batch = next(game.samples.batches(8, torch.Generator().manual_seed(3)))
    stream = torch.Generator().manual_seed(3)
    with torch.no_grad():
        parts = [
            network.train()(torch.randn(count, 5, generator=stream))
            for network, count in ((game.average.network, drawn), (game.generator, 8 - drawn))
            if count
        ]
    assert torch.equal(batch.images, torch.cat(parts))


def test_without_momentum_the_average_is_the_generator() -> None:
    game, student = game_of(momentum=0.0, generator_lr=0.1)
    for _ in range(2):
        game.make(student, 0.5)
    pairs = zip(game.average.network.parameters(), game.generator.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


# The game


def test_every_round_asks_the_teacher_about_fresh_images() -> None:
    problem, run = tiny_run(synthesis_steps=3, student_steps=12)
    mad().fit(problem, run)
    assert run.ledger.counts() == {
        "teacher_forward": 3 * 8 + 12 * 8,
        "teacher_backward": 3 * 8,
        "synthetic_images": 3 * 8 + 12 * 8,
        "student_steps": 12,
        "student_images": 3 * 8 + 12 * 8,
    }


def test_while_the_generator_warms_up_nobody_asks_the_student() -> None:
    problem, run = tiny_run(synthesis_steps=10, student_steps=16)
    mad(**SUM, warm_up=0.2).fit(problem, run)
    assert run.curves["synthesis/adversarial"]["step"] == list(range(2, 10))
    assert run.curves["synthesis/target"]["step"] == list(range(10))
    assert run.ledger.counts() == {
        "teacher_forward": 10 * 8 + 16 * 8,
        "teacher_backward": 10 * 8,
        "synthetic_images": 10 * 8 + 16 * 8,
        "student_steps": 16,
        "student_images": 8 * 8 + 16 * 8,
    }


@pytest.mark.parametrize("settings", [{}, {**SUM, "warm_up": 0.3}])
def test_stops_at_every_round_change_nothing(settings: dict[str, Any]) -> None:
    assert same_after_stops(mad(**settings), tiny_run) == 4
