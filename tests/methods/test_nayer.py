from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from methods.base.method import Method
from methods.base.problem import Access, Problem
from methods.base.teacher import Teacher
from methods.nayer import NAYER, NAYERGame, NAYERText
from methods.networks.class_codes import NoisyLayers
from methods.synthesis.inversion import target_labels
from tests.helpers import NUM_CLASSES, one_line, tiny_problem, tiny_run
from tests.rounds import in_one_piece, in_pieces
from tests.segmentation import posed

B, STEPS = 8, 3
SMALL = {
    "code_dim": 7,
    "latent_dim": 6,
    "width": 4,
    "inner_steps": STEPS,
    "augmentation": "none",
}


def nayer(**params: Any) -> Method:
    small = {name: v for name, v in SMALL.items() if name != "code_dim" or "codes" not in params}
    return NAYER(NAYER.build_params({**small, **params}))


def numbers(rounds: int) -> dict[str, int]:
    return {"synthesis_batch": B, "synthesis_steps": rounds * STEPS}


def game_of(**params: Any) -> tuple[NAYERGame, Problem]:
    problem, run = tiny_run(**numbers(4))
    game = nayer(**params).game(problem, run)
    assert isinstance(game, NAYERGame)
    return game, problem


def noisy_layers(batch: int, seed: int = 0) -> NoisyLayers:
    layers = NoisyLayers(5, 4, classes=3, batch=batch)
    layers.draw(torch.Generator().manual_seed(seed))
    return layers


# Codes and noisy layers


@pytest.mark.parametrize("batch", [9, 8, 2])
def test_every_set_of_classes_has_a_layer_of_its_own(batch: int) -> None:
    layers = noisy_layers(batch)
    codes = torch.randn(batch, 5)
    x = codes.double().numpy()
    x = (x - x.mean(0)) / np.sqrt(x.var(0) + layers.norm.eps)
    weight = layers.weight.detach().double().numpy()
    expected = np.stack([row @ weight[i // 3] for i, row in enumerate(x)])
    np.testing.assert_allclose(layers(codes).detach().numpy(), expected, rtol=1e-4, atol=1e-4)
    assert len(weight) == -(-batch // 3)


def test_the_same_class_has_another_latent_in_every_set() -> None:
    layers = noisy_layers(6)
    latents = layers(torch.randn(3, 5).repeat(2, 1))
    assert ((latents[:3] - latents[3:]).norm(dim=1) > 0.1).all()


def test_noise_is_standard_normal_and_new_at_every_draw() -> None:
    layers = NoisyLayers(40, 50, classes=2, batch=8)
    stream = torch.Generator().manual_seed(0)
    drawn = []
    for _ in range(2):
        layers.draw(stream)
        drawn.append(layers.weight.detach().clone())
        assert not layers.bias.any()
    assert not torch.equal(*drawn)
    for weight in drawn:
        assert weight.mean().item() == pytest.approx(0, abs=0.05)
        assert weight.std().item() == pytest.approx(1, abs=0.05)


def test_a_set_of_labels_has_no_class_twice() -> None:
    labels = target_labels("balanced", 11, 4, torch.Generator().manual_seed(0))
    for first in range(0, 11, 4):
        part = labels[first : first + 4].tolist()
        assert len(set(part)) == len(part)


def codes_of(seed: int = 0, **params: Any) -> Tensor:
    method = nayer(**params)
    assert isinstance(method, NAYER)
    return method.class_codes(*tiny_run(seed))


def test_codes_are_the_same_in_all_rounds_and_others_for_another_seed() -> None:
    assert codes_of().shape == (NUM_CLASSES, SMALL["code_dim"])
    assert torch.equal(codes_of(), codes_of())
    assert not torch.equal(codes_of(), codes_of(1))
    assert torch.equal(codes_of(codes="onehot"), torch.eye(NUM_CLASSES))


def test_codes_of_text_are_the_embeddings_that_the_task_grants() -> None:
    method, text = NAYERText(), torch.randn(NUM_CLASSES, 5)
    with_text = tiny_problem(Access.CLASS_TEXT, {Access.CLASS_TEXT: text})
    assert method.supports(with_text) is None
    assert torch.equal(method.class_codes(with_text, tiny_run()[1]), text)


def test_without_embeddings_of_the_class_names_text_is_refused_in_one_line() -> None:
    answer = NAYERText().supports(tiny_problem(Access.CLASS_TEXT))
    assert answer is not None
    assert "names" in one_line(answer)
    assert nayer().supports(tiny_problem()) is None


def test_only_text_is_not_data_free() -> None:
    assert NAYER.access.describe() == "data-free"
    assert NAYERText.access.describe() == "class text"


# Turns


def test_noise_is_trained_within_a_turn_and_drawn_again_at_the_next() -> None:
    game, problem = game_of()
    noisy, student = game.generator.noisy, problem.make_student().eval()
    drawn: list[Tensor] = []
    draw = noisy.draw

    def watched(stream: torch.Generator) -> None:
        draw(stream)
        drawn.append(noisy.weight.detach().clone())

    noisy.draw = watched  # type: ignore[method-assign]
    trained = []
    for turn in range(2):
        game.make(student, turn / 4)
        trained.append(noisy.weight.detach().clone())
    for before, after in zip(drawn, trained, strict=True):
        assert 0 < (after - before).abs().max() < 2 * STEPS * 4e-3
    assert (drawn[1] - trained[0]).abs().max() > 0.5


def test_the_generator_goes_on_until_its_life_is_over() -> None:
    game, problem = game_of(life=2, warm_up=0.4)
    student = problem.make_student().eval()
    begun: list[Tensor] = []
    ages = []
    for stage in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6):
        begun.append(game.generator.images.conv1.weight.detach().clone())
        game.make(student, stage)
        ages.append(game.age.rounds)
    # Ten rounds in the warm-up, two after it: when it ends, the generator has outlived its life.
    assert ages == [1, 2, 3, 4, 1, 2, 1]
    steps = [(new - old).abs().max() for old, new in pairwise(begun)]
    assert max(steps[:4] + steps[5:]) < 2 * STEPS * 4e-3 < steps[4]


def test_student_and_adversarial_term_wait_for_the_end_of_the_warm_up() -> None:
    game, problem = game_of(warm_up=0.5)
    student = problem.make_student().eval()
    assert "adversarial" not in game.make(student, 0.49)
    assert "adversarial" in game.make(student, 0.5)
    _, run = in_one_piece(nayer(warm_up=0.5), **numbers(4), student_steps=6)
    assert run.curves["synthesis/loss"]["step"] == [0, 1, 2, 3]
    assert run.ledger.student_steps == 6


def test_the_loss_of_a_turn_is_the_weighted_sum_of_its_terms() -> None:
    weights = {"bn_weight": 0.7, "one_hot": 1.3, "adversarial": 0.4}
    game, problem = game_of(**weights)
    terms = {k: v.item() for k, v in game.make(problem.make_student().eval(), 0.9).items()}
    names = {"bn_weight": "statistics"}
    total = sum(weight * terms[names.get(name, name)] for name, weight in weights.items())
    assert next(iter(terms)) == "loss"
    assert terms["loss"] == pytest.approx(total, rel=1e-5)


def test_statistics_move_once_in_a_turn() -> None:
    game, problem = game_of()
    moved = []
    update = game.inversion.statistics.update
    game.inversion.statistics.update = lambda seen: moved.append(update(seen))  # type: ignore[method-assign, func-returns-value]
    game.make(problem.make_student().eval(), 0.0)
    assert len(moved) == 1


@pytest.mark.parametrize("codes", ["gauss", "onehot"])
def test_a_run_counts_one_look_of_the_teacher_for_every_image_and_step(codes: str) -> None:
    _, run = in_one_piece(nayer(codes=codes), **numbers(2), student_steps=6, student_batch=8)
    made = 2 * STEPS * B
    assert run.ledger.teacher_backward == made
    assert run.ledger.teacher_forward == made + 6 * 8
    assert run.ledger.synthetic_images == 2 * B


def test_a_run_that_is_stopped_after_every_round_gives_the_same_bits() -> None:
    method = nayer(life=2, warm_up=0.0)  # some rounds go on with the generator, some begin anew
    whole, run = in_one_piece(method, **numbers(5))
    resumed, again, stops = in_pieces(method, **numbers(5))
    assert stops == 5
    assert run.curves == again.curves
    for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)


# Where it cannot run


def test_a_teacher_without_batch_norm_is_refused_in_one_line() -> None:
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, NUM_CLASSES))
    plain.num_classes = NUM_CLASSES  # type: ignore[assignment]
    problem = tiny_problem()
    problem.teacher = Teacher(plain)
    answer = nayer().supports(problem)
    assert answer is not None
    assert "BatchNorm" in one_line(answer)
    assert nayer(bn_weight=0.0).supports(problem) is None


def test_segmentation_is_refused_in_one_line() -> None:
    answer = nayer().supports(posed()[0])
    assert answer is not None
    assert "class" in one_line(answer)


def test_the_settings_are_the_papers() -> None:
    params = NAYER.build_params({}, "cifar10")
    assert (params.inner_steps, params.life, params.generator_lr) == (30, 20, 4e-3)
    assert NAYER.build_params({}, "cifar100").inner_steps == 40
