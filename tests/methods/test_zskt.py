from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from methods.base.objective import LogitObjective
from methods.base.problem import Problem
from methods.base.run import Run
from methods.base.samples import Batch
from methods.losses.adversarial import disagreement_loss
from methods.objectives.hinton import Hinton
from methods.objectives.stage_attention import StageAttention
from methods.zskt import ZSKT, ZSKTGame
from tests.formulas import divergences, random
from tests.games import same_after_stops
from tests.helpers import IMAGE_SHAPE, TinyNetwork, one_line, tiny_run

SMALL = {"latent_dim": 5, "width": 4}


def zskt(**params: Any) -> ZSKT:
    return ZSKT(ZSKT.build_params({**SMALL, **params}))


def attention_distance(student: Tensor, teacher: Tensor) -> float:
    """Mean over images and positions of the squared difference of unit attention maps."""
    squares = []
    for mine, theirs in zip(student.double().numpy(), teacher.double().numpy(), strict=True):
        maps = [(x**2).mean(axis=0).ravel() for x in (mine, theirs)]
        one, other = (m / np.sqrt((m**2).sum()) for m in maps)
        squares += list((one - other) ** 2)
    return float(np.mean(squares))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_released_divergence_is_a_mean_over_samples_and_classes(temperature: float) -> None:
    student, teacher = random(6, 4, seed=1), 3 * random(6, 4, seed=2)
    loss = disagreement_loss(student, teacher, temperature, "element")
    assert float(loss) == pytest.approx(-divergences(student, teacher, temperature).mean() / 4)


@pytest.mark.parametrize("beta", [0.0, 250.0])
def test_the_student_minimises_divergence_and_attention(beta: float) -> None:
    problem, run = tiny_run()
    method = zskt(attention=beta)
    objective = method.objective(problem)
    student = problem.make_student().eval()
    objective.attach(student, problem, run)
    images = random(5, *IMAGE_SHAPE).float()
    logits = problem.teacher.network(images)
    loss = objective(student, Batch(images, teacher_logits=logits))
    maps = [
        network.norm(network.conv(images)).detach()
        for network in (student, problem.teacher.network)
    ]  # type: ignore[operator, union-attr]
    expected = divergences(student(images), logits).mean() / 3 + beta * attention_distance(*maps)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-4)
    assert isinstance(objective, StageAttention if beta else LogitObjective)


def test_attention_reaches_the_student_and_not_the_teacher() -> None:
    problem, run = tiny_run()
    objective = zskt().objective(problem)
    student = problem.make_student()
    objective.attach(student, problem, run)
    objective(student, Batch(random(5, *IMAGE_SHAPE).float())).backward()
    assert student.conv.weight.grad is not None
    assert all(p.grad is None for p in problem.teacher.network.parameters())
    assert not any(m._forward_hooks for m in (*student.modules(), *problem.teacher.modules()))


class Watching:
    """What every student step saw."""

    def __init__(self, problem: Problem) -> None:
        self.images: list[Tensor] = []
        make = problem.make_student

        def watched() -> nn.Module:
            student = make()
            student.register_forward_pre_hook(self._see)
            return student

        problem.make_student = watched  # type: ignore[method-assign]

    def _see(self, student: nn.Module, inputs: tuple[Any, ...]) -> None:
        if torch.is_grad_enabled() and not inputs[0].requires_grad:
            self.images.append(inputs[0].clone())


@pytest.mark.parametrize("attention", [0.0, 250.0])
def test_all_steps_of_a_round_see_the_same_images_and_the_teacher_is_asked_twice(
    attention: float,
) -> None:
    problem, run = tiny_run(synthesis_steps=3, student_steps=12)
    watching = Watching(problem)
    zskt(attention=attention).fit(problem, run)
    assert len(watching.images) == 12
    rounds = [watching.images[i : i + 4] for i in (0, 4, 8)]
    for images in rounds:
        assert all(torch.equal(other, images[0]) for other in images)
    assert not torch.equal(rounds[0][0], rounds[1][0])
    assert run.ledger.counts() == {
        "teacher_forward": 3 * 2 * 8,
        "teacher_backward": 3 * 8,
        "synthetic_images": 3 * 2 * 8,
        "student_steps": 12,
        "student_images": 3 * 8 + 12 * 8,
    }


def test_the_student_s_images_are_those_of_the_round_s_latents_made_anew() -> None:
    problem, run = tiny_run()
    game = ZSKTGame(zskt().params, problem, run)
    game.make(problem.make_student(), 0.0)
    latents = torch.randn(8, 5, generator=run.stream("generator-latents"))
    with torch.no_grad():
        expected = game.generator.train()(latents)
    assert torch.equal(game.samples.take().images, expected)


@pytest.mark.parametrize("student_batch", [4, 8, 12])
def test_a_student_s_batch_has_the_budget_s_size(student_batch: int) -> None:
    problem, run = tiny_run(student_batch=student_batch)
    watching = Watching(problem)
    zskt().fit(problem, run)
    assert {len(images) for images in watching.images} == {student_batch}
    assert run.ledger.synthetic_images == 4 * (8 + student_batch)


def test_in_the_generator_s_turn_the_student_is_in_train_mode() -> None:
    modes: list[bool] = []
    problem, run = tiny_run()
    make = problem.make_student

    def watched() -> nn.Module:
        student = make()
        student.register_forward_pre_hook(
            lambda module, inputs: (
                modes.append(module.training) if inputs[0].requires_grad else None
            )
        )
        return student

    problem.make_student = watched  # type: ignore[method-assign]
    zskt(attention=0.0).fit(problem, run)
    assert modes == [True] * 4


@pytest.mark.parametrize("attention", [0.0, 250.0])
def test_stops_at_every_round_change_nothing(attention: float) -> None:
    assert same_after_stops(zskt(attention=attention), tiny_run) == 4


def unlike() -> tuple[Problem, Run]:
    """A student whose maps are half as large as its teacher's."""

    class Halved(TinyNetwork):
        def forward_features(self, images: Tensor) -> Tensor:
            return super().forward_features(images[:, :, ::2, ::2])

    problem, run = tiny_run()
    problem._make_student = lambda: Halved()
    return problem, run


def test_unlike_stages_are_refused_in_one_line_unless_attention_is_off() -> None:
    problem, run = unlike()
    answer = one_line(zskt().supports(problem) or "")
    assert "8×8" in answer
    assert "4×4" in answer
    assert "attention=0" in answer
    method = zskt(attention=0.0)
    assert method.supports(problem) is None
    method.fit(problem, run)


def test_another_objective_needs_attention_off() -> None:
    problem, _ = tiny_run()
    method = zskt()
    method.transfer = Hinton()
    assert "attention=0" in one_line(method.supports(problem) or "")
