from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from methods.base.method import Method
from methods.base.samples import Batch, ImageBank, OnlineSource
from methods.base.student import StudentTraining
from methods.base.teacher import Teacher
from methods.dafl import DAFL
from methods.own_teacher.interface import with_timm_interface
from methods.settings.params import ParameterError
from methods.synthesis.generator import build_generator, draw_latents, generate
from methods.synthesis.persistent import HeldBatch
from tests.helpers import NUM_CLASSES, tiny_run

SMALL = {"latent_dim": 5, "generator_width": 4}
WEIGHTS = {"one_hot": 1.0, "entropy": 5.0, "activation": 0.1}


def dafl(**params: Any) -> Method:
    return DAFL(DAFL.build_params({**SMALL, **params}))


def fitted(method: Method, seed: int = 0, **options: Any) -> Any:
    problem, run = tiny_run(seed, **options)
    run.student = method.fit(problem, run)  # type: ignore[attr-defined]
    return run


def curve(run: Any, name: str) -> list[float]:
    return run.curves[name]["value"]


@pytest.mark.parametrize(
    "weights",
    [
        {},
        {"one_hot": 0.0},
        {"entropy": 0.0},
        {"activation": 0.0},
        {"one_hot": 0.3, "entropy": 2.0, "activation": 0.7},
    ],
    ids=["paper", "no-one-hot", "no-entropy", "no-activation", "others"],
)
@pytest.mark.parametrize("schedule", ["two-phase", "joint"])
def test_generator_loss_is_the_weighted_sum_of_its_terms(schedule: str, weights: Any) -> None:
    run = fitted(dafl(schedule=schedule, **weights))
    used = {**WEIGHTS, **weights}
    for step, total in enumerate(curve(run, "synthesis/loss")):
        terms = {name: curve(run, f"synthesis/{name}")[step] for name in used}
        assert total == pytest.approx(sum(used[n] * terms[n] for n in used), rel=1e-4, abs=1e-6)


def test_switching_a_loss_off_changes_what_is_learnt() -> None:
    default = curve(fitted(dafl()), "synthesis/one_hot")
    for name in WEIGHTS:
        assert curve(fitted(dafl(**{name: 0.0})), "synthesis/one_hot")[-1] != default[-1]
    assert curve(fitted(dafl()), "synthesis/one_hot") == default


def test_a_teacher_without_features_will_do_for_dafl_without_activation_loss() -> None:
    problem, run = tiny_run()
    network = nn.Sequential(nn.Conv2d(1, NUM_CLASSES, 8), nn.Flatten()).eval()
    cut = with_timm_interface(network, torch.zeros(2, 1, 8, 8))
    problem.teacher = Teacher(cut, run.ledger)
    assert "activation=0" in (dafl().supports(problem) or "")
    method = dafl(activation=0.0)
    assert method.supports(problem) is None
    method.fit(problem, run)
    assert all(math.isfinite(value) for value in curve(run, "synthesis/loss"))


def test_log_base_and_reduction_scale_their_terms() -> None:
    default = fitted(dafl())
    decimal = fitted(dafl(log_base="10"))
    summed = fitted(dafl(activation_reduction="sum"))
    assert curve(decimal, "synthesis/entropy")[0] == pytest.approx(
        curve(default, "synthesis/entropy")[0] / math.log(10), rel=1e-5
    )
    features = 6  # of the tiny teacher
    assert curve(summed, "synthesis/activation")[0] == pytest.approx(
        features * curve(default, "synthesis/activation")[0], rel=1e-5
    )


def test_two_phases_cost_what_the_budget_says() -> None:
    run = fitted(dafl())  # 4 steps of 8, a bank of 24 + 6, 6 student steps
    assert run.ledger.teacher_forward == 4 * 8 + 24
    assert run.ledger.teacher_backward == 4 * 8
    assert run.ledger.synthetic_images == 4 * 8 + 24 + 6
    assert run.ledger.student_steps == 6
    assert set(run.ledger.seconds) == {"synthesis", "distillation"}


@pytest.mark.parametrize("student_steps", [4, 10])
def test_joint_training_asks_the_teacher_once_for_both(student_steps: int) -> None:
    run = fitted(dafl(schedule="joint"), student_steps=student_steps)
    assert run.ledger.teacher_forward == run.ledger.teacher_backward == 4 * 8
    assert run.ledger.synthetic_images == 4 * 8
    assert run.ledger.student_steps == student_steps
    assert len(curve(run, "distillation/loss")) == student_steps
    assert set(run.ledger.seconds) == {"synthesis", "distillation"}


def test_joint_training_is_the_released_loop() -> None:
    """One step of the generator and one of the student on the same batch, in turn, by hand."""
    run = fitted(dafl(schedule="joint"), student_steps=4, student_batch=8)
    method, problem, again = dafl(schedule="joint"), *tiny_run(student_steps=4, student_batch=8)
    generator = build_generator(method.params, problem, again)
    adam = torch.optim.Adam(generator.parameters(), lr=method.params.generator_lr)
    latents = again.stream("generator-latents")
    student = StudentTraining(problem, method.objective(problem), again, 4)
    losses, nothing = [], OnlineSource(lambda count, stream: torch.empty(0))
    for _ in range(4):
        drawn = draw_latents(8, generator.latent_dim, latents, again)
        batch = generate(generator.train(), problem, drawn, again)
        seen = Batch(batch.images.detach(), teacher_logits=batch.logits.detach())
        student.step(seen, nothing)
        loss = method.generator_loss(batch)["loss"]
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert curve(run, "synthesis/loss") == pytest.approx(losses, rel=1e-5)
    # Weights before a BatchNorm have gradients of rounding errors, which Adam makes large.
    assert curve(run, "distillation/loss") == pytest.approx(
        curve(again, "distillation/loss"), rel=1e-5
    )


def test_the_budget_and_no_parameter_says_how_many_steps_the_student_takes() -> None:
    assert dafl(student_steps_per_batch=1).params == dafl().params, "records from before have it"
    with pytest.raises(ParameterError, match="dafl has no parameter 'student_steps_per_batch'"):
        dafl(schedule="joint", student_steps_per_batch=3)
    assert DAFL.version_of(dafl().params) == 1
    assert DAFL.version_of(dafl(schedule="joint").params) == 2


def test_joint_training_shows_the_student_up_to_its_last_step() -> None:
    shown: list[int] = []
    kinds: set[type] = set()

    def look(student: Any, step: int, samples: Any) -> None:
        shown.append(step)
        kinds.add(type(samples))

    fitted(dafl(schedule="joint"), student_steps=12, on_checkpoint=look)
    assert shown == [4, 8, 12]
    assert kinds == {HeldBatch}


def test_the_student_of_joint_training_does_not_steer_the_generator() -> None:
    """The generated batch reaches the student detached: the generator learns the same alone."""
    alone = fitted(dafl())
    together = fitted(dafl(schedule="joint"))
    hotter = fitted(dafl(schedule="joint", temperature=9.0))
    assert curve(together, "synthesis/loss") == curve(alone, "synthesis/loss")
    assert curve(hotter, "synthesis/loss") == curve(alone, "synthesis/loss")
    assert curve(hotter, "distillation/loss") != curve(together, "distillation/loss")


def test_looking_at_the_student_changes_nothing() -> None:
    def draw(student: Any, step: int, samples: Any) -> None:
        samples.validation(5, torch.Generator().manual_seed(step))

    blind = fitted(dafl(schedule="joint"), evaluations=1)
    watched = fitted(dafl(schedule="joint"), evaluations=4, on_checkpoint=draw)
    assert watched.curves == blind.curves
    assert watched.ledger.synthetic_images == blind.ledger.synthetic_images
    pairs = zip(
        watched.student.state_dict().values(), blind.student.state_dict().values(), strict=True
    )
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("schedule", ["two-phase", "joint"])
def test_same_seed_gives_the_same_student(schedule: str) -> None:
    def bits(seed: int) -> list[torch.Tensor]:
        return list(fitted(dafl(schedule=schedule), seed).student.state_dict().values())

    assert all(torch.equal(a, b) for a, b in zip(bits(5), bits(5), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(bits(5), bits(6), strict=True))


def test_mode_of_drawing_changes_the_images() -> None:
    def bank(mode: str) -> torch.Tensor:
        problem, run = tiny_run()
        samples = dafl(generator_mode=mode).synthesize(problem, run)
        assert isinstance(samples, ImageBank)
        return samples.images

    assert not torch.equal(bank("train"), bank("eval"))
