from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from methods.base.run import Run
from methods.networks.calls import untold
from methods.networks.generators import UpsamplingGenerator
from methods.synthesis.persistent import (
    HeldBatch,
    PersistentGenerator,
    Schedule,
    rate_factor,
)
from tests.helpers import IMAGE_SHAPE, tiny_run


class Bright(PersistentGenerator):
    """A game whose images are to be bright."""

    def terms(self, images: Tensor, student: nn.Module, stage: float) -> dict[str, Tensor]:
        return {"loss": -self.ask(student, images).sum() - images.sum()}


def bright(**options: Any) -> tuple[Bright, nn.Module, Run]:
    problem, run = tiny_run()
    with run.seeded("generator"):
        generator = UpsamplingGenerator(5, IMAGE_SHAPE, 4, head="normalized")
    options = {"rate": 0.1, **options}
    return Bright(generator, problem, run, **options), problem.make_student(), run


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        ("constant", [1, 1, 1, 1, 1]),
        ("cosine", [1, 0.853553, 0.5, 0.146447, 0.006156]),
        ("thirds", [1, 1, 0.1, 0.01, 0.01]),
        ("fifths", [1, 0.1, 0.01, 0.01, 0.01]),
    ],
)
def test_rates_fall_as_their_schedule_says(schedule: Schedule, factors: list[float]) -> None:
    found = [rate_factor(schedule, stage) for stage in (0, 0.25, 0.5, 0.75, 0.95)]
    assert found == pytest.approx(factors, rel=1e-4)


def test_a_step_of_adam_has_the_rate_of_its_stage() -> None:
    for stage, factor in ((0.0, 1.0), (0.5, 0.5)):
        game, student, _ = bright(schedule="cosine")
        before = [p.detach().clone() for p in game.generator.parameters()]
        game.make(student, stage)
        moves = [
            (p.detach() - q).abs().max()
            for p, q in zip(game.generator.parameters(), before, strict=True)
        ]
        assert float(max(moves)) == pytest.approx(0.1 * factor, rel=1e-3)


def test_a_turn_leaves_the_student_s_weights_and_gradients_alone() -> None:
    game, student, _ = bright()
    before = [p.detach().clone() for p in student.parameters()]
    game.make(student, 0.0)
    assert all(torch.equal(p, q) for p, q in zip(student.parameters(), before, strict=True))
    assert all(p.grad is None for p in student.parameters())


def test_gradients_are_cut_to_their_norm() -> None:
    def norm(**options: Any) -> float:
        game, student, _ = bright(**options)
        game.make(student, 0.0)
        gradients = [p.grad for p in game.generator.parameters() if p.grad is not None]
        return float(torch.cat([g.flatten() for g in gradients]).norm())

    assert norm() > 1.0
    assert norm(max_norm=0.5) == pytest.approx(0.5, rel=1e-4)


def test_the_student_sees_the_present_generator() -> None:
    game, student, _ = bright()
    batches = game.samples.batches(8, torch.Generator().manual_seed(0))
    before = next(batches).images  # type: ignore[call-overload]
    game.make(student, 0.0)
    again = game.samples.batches(8, torch.Generator().manual_seed(0))
    after = next(again).images  # type: ignore[call-overload]
    assert before.shape == after.shape == (8, *IMAGE_SHAPE)
    assert not torch.equal(before, after)


def held(run: Run) -> HeldBatch:
    def draw(count: int, stream: torch.Generator) -> Tensor:
        return torch.randn(count, *IMAGE_SHAPE, generator=stream)

    return HeldBatch(draw)


def test_a_held_batch_stays_until_another_is_shown() -> None:
    source = held(tiny_run()[1])
    batches = source.batches(8, torch.Generator())
    with pytest.raises(ValueError, match="no images for the student yet"):
        next(batches)
    first, second = torch.randn(2, 8, *IMAGE_SHAPE)
    source.show(first)
    assert next(batches).images is next(batches).images is first
    source.show(second)
    assert next(batches).images is second


def test_the_teacher_is_asked_once_about_a_held_batch() -> None:
    problem, run = tiny_run()
    source = held(run)
    images = torch.randn(8, *IMAGE_SHAPE)
    source.show(images)
    batches = source.batches(8, torch.Generator())
    assert next(batches).teacher_logits is None
    assert source.label(problem.teacher) is source
    logits = [next(batches).teacher_logits for _ in range(3)]
    assert run.ledger.teacher_forward == 8
    with untold():
        expected = problem.teacher.network(images)
    for found in logits:
        assert found is not None
        torch.testing.assert_close(found, expected)
    source.show(images)
    next(batches)
    assert run.ledger.teacher_forward == 16
