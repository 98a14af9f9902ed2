from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from torch import Tensor, nn

from methods.base.samples import Batch
from methods.networks.encoders import VariationalEncoder
from methods.networks.generators import UpsamplingGenerator
from methods.pre_dfkd import PREDFKD, PREDFKDGame
from tests.formulas import random
from tests.games import same_after_stops
from tests.helpers import IMAGE_SHAPE, one_line, tiny_run

SMALL = {"latent_dim": 5, "width": 4}


def pre_dfkd(**params: Any) -> PREDFKD:
    return PREDFKD(PREDFKD.build_params({**SMALL, **params}))


def game_of(**params: Any) -> tuple[PREDFKDGame, nn.Module]:
    """A game at its beginning, and a student."""
    problem, run = tiny_run()
    return PREDFKDGame(pre_dfkd(**params).params, problem, run), problem.make_student().eval()


def numbers(x: Tensor) -> np.ndarray:
    return x.detach().double().numpy()


# The losses


def divergence(p: np.ndarray, q: np.ndarray, form: str) -> float:
    """A Jensen-Shannon divergence, as a mean over samples and classes."""
    middle = (p + q) / 2
    if form == "exact":
        entries = p * np.log(p / middle) + q * np.log(q / middle)
    else:
        p, q, middle = (x.clip(0.01, 0.99) for x in (p, q, middle))
        entries = middle * np.log(middle / p) + middle * np.log(middle / q)
    return float(entries.mean() / 2)


@pytest.mark.parametrize("form", ["exact", "released"])
@pytest.mark.parametrize("base", ["e", "10"])
def test_the_generator_minimises_the_weighted_sum_of_its_four_terms(form: str, base: str) -> None:
    weights = {"one_hot": 0.7, "entropy": 3.0, "activation": 0.2, "novelty": 2.0}
    game, student = game_of(**weights, divergence=form, log_base=base, temperature=2.0)
    images = random(8, *IMAGE_SHAPE, seed=3).float()
    terms = {n: float(t.detach()) for n, t in game.terms(images, student, 0.0).items()}
    network = game.problem.teacher.network
    maps = network.forward_features(images)  # type: ignore[operator]
    features = numbers(network.forward_head(maps, pre_logits=True))  # type: ignore[operator]
    logits, answers = numbers(network(images)), numbers(student(images))
    mean = softmax(logits, axis=1).mean(axis=0)
    chances = [softmax(x / 2.0, axis=1) for x in (logits, answers)]
    expected = {
        "one_hot": -log_softmax(logits, axis=1).max(axis=1).mean(),
        "entropy": (mean * np.log(mean)).sum() / (math.log(10) if base == "10" else 1),
        "activation": -np.abs(features).mean(),
        "novelty": 1 - divergence(*chances, form),
    }
    loss = terms.pop("loss")
    assert terms == pytest.approx(expected, rel=1e-4)
    assert loss == pytest.approx(sum(weights[n] * expected[n] for n in weights), rel=1e-4)


def test_the_student_minimises_the_distance_of_logits() -> None:
    problem, _ = tiny_run()
    objective = pre_dfkd().objective(problem)
    student, teacher = random(5, 3, seed=1), random(5, 3, seed=2)
    loss = objective.of_logits(student, Batch(student, teacher_logits=teacher))  # type: ignore[attr-defined]
    assert float(loss) == pytest.approx(np.abs(numbers(student) - numbers(teacher)).mean())


def test_novelty_moves_images_where_the_student_differs_not_where_the_teacher_is() -> None:
    game, student = game_of(one_hot=0.0, entropy=0.0, activation=0.0)
    images = random(8, *IMAGE_SHAPE, seed=3).float().requires_grad_()
    logits = game.problem.teacher.network(images).detach()
    (found,) = torch.autograd.grad(game.terms(images, student, 0.0)["loss"], images)
    p, q = (x.div(3.0).softmax(dim=1) for x in (logits, student(images)))
    middle = (p + q) / 2
    entries = p * (p / middle).log() + q * (q / middle).log()
    (expected,) = torch.autograd.grad(1 - entries.mean() / 2, images)
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-8)
    assert bool(found.any())


def test_terms_of_no_weight_are_left_out() -> None:
    game, student = game_of(activation=0.0, novelty=0.0)
    terms = game.terms(random(8, *IMAGE_SHAPE).float(), student, 0.0)
    assert set(terms) == {"loss", "one_hot", "entropy"}


# The networks


def test_the_size_of_the_published_memory_is_the_one_that_is_stated() -> None:
    with torch.device("meta"):
        networks = (
            VariationalEncoder(1000, (3, 32, 32), 128),
            UpsamplingGenerator(1000, (3, 32, 32), 128),
        )
    weights = sum(p.numel() for network in networks for p in network.parameters())
    assert round(weights / 1e6) == 13
    assert round(3 * 4 * weights / 1e6) == 153
    assert round(3 * 4 * weights / (3 * 32 * 32) / 1e3) == 50
    linear = sum(
        p.numel()
        for network in networks
        for layer in network.modules()
        if isinstance(layer, nn.Linear)
        for p in layer.parameters()
    )
    assert linear > 0.9 * weights


def test_convolutions_of_the_generator_have_spectral_norms_and_those_of_the_memory_none() -> None:
    game, student = game_of()
    game.make(student, 0.0)
    assert any(name.endswith(".u") for name, _ in game.generator.named_buffers())
    assert game.memory is not None
    for network in (game.memory.encoder, game.memory.decoder):
        assert not any(name.endswith(".u") for name, _ in network.named_buffers())


# The game


@pytest.mark.parametrize(("share", "recalled"), [(0.25, 2), (0.5, 4), (1 / 9, 1)])
def test_a_batch_has_its_share_of_recalled_images(share: float, recalled: int) -> None:
    game, student = game_of(memory_share=share)
    game.make(student, 0.0)
    assert game.memory is not None
    own = game.memory.take(torch.arange(len(game.memory)))
    images = next(game.samples.batches(8, torch.Generator().manual_seed(0))).images
    assert sum(any(torch.equal(one, other) for other in own) for one in images) == recalled


def test_everything_it_asks_and_makes_is_counted() -> None:
    problem, run = tiny_run(synthesis_steps=6, student_steps=12)
    pre_dfkd(memory_share=0.25, memory_steps=2).fit(problem, run)
    # Two rounds of one step of the generator on 8 images, two of the memory and a recall of 8. A
    # memory's step is on 4 fresh images, and but for the first on 2 recalled ones too.
    first, later = 4, 4 + 2
    assert run.ledger.counts() == {
        "teacher_forward": 2 * 8 + 2 * first + 3 * (2 + 2 * later) + 2 * 8 + 12 * 8,
        "teacher_backward": 2 * 8 + first + 3 * (2 + later) + 2 * 8,
        "synthetic_images": 2 * 8 + 2 * first + 3 * (4 + 4 + later) + 2 * 16 + 12 * 6,
        "student_steps": 12,
        "student_images": 2 * 8 + 12 * 8,
    }


def test_without_memory_every_synthesis_step_is_the_generator_s() -> None:
    problem, run = tiny_run(synthesis_steps=3, student_steps=12)
    pre_dfkd(memory_share=0.0).fit(problem, run)
    assert run.curves["synthesis/loss"]["step"] == [0, 1, 2]
    assert "synthesis/memory" not in run.curves
    assert run.ledger.counts() == {
        "teacher_forward": 3 * 8 + 12 * 8,
        "teacher_backward": 3 * 8,
        "synthetic_images": 3 * 8 + 12 * 8,
        "student_steps": 12,
        "student_images": 3 * 8 + 12 * 8,
    }


@pytest.mark.parametrize("settings", [{"memory_steps": 1}, {"memory_share": 0.0}])
def test_stops_at_every_round_change_nothing(settings: dict[str, Any]) -> None:
    posed = lambda: tiny_run(synthesis_steps=6)  # noqa: E731
    assert same_after_stops(pre_dfkd(**settings), posed) == (3 if "memory_steps" in settings else 6)


def test_the_memory_s_steps_are_part_of_the_paper_s_schedule() -> None:
    schedules = [
        PREDFKD.schedule_of(pre_dfkd(memory_share=share).params, "cifar10") for share in (0.1, 0)
    ]
    numbers = [schedule.numbers for schedule in schedules if schedule is not None]
    assert [n["synthesis_steps"] for n in numbers] == [5 * 400 * 36, 400 * 36]
    assert [n["student_steps"] for n in numbers] == [10 * 400 * 36] * 2
    assert PREDFKD.schedule_of(pre_dfkd().params, "svhn") is None


def test_a_teacher_that_shows_no_features_needs_the_activation_loss_off() -> None:
    problem, _ = tiny_run()
    problem.teacher.network.num_features = 0  # type: ignore[assignment]
    assert "activation=0" in one_line(pre_dfkd().supports(problem) or "")
    assert pre_dfkd(activation=0.0).supports(problem) is None
