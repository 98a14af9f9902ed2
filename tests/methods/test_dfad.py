from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from methods.base.problem import Normalization
from methods.base.samples import Batch
from methods.dfad import DFAD, DFADGame
from methods.losses.adversarial import logit_distance_loss
from methods.networks.generators import TransposedGenerator, UpsamplingGenerator
from tests.formulas import random
from tests.games import same_after_stops
from tests.helpers import one_line, tiny_run
from tests.segmentation import posed as posed_segmentation

SMALL = {"latent_dim": 5, "width": 4}
SHAPES = pytest.mark.parametrize("shape", [(5, 4), (3, 4, 2, 5)], ids=["BxK", "BxKxHxW"])


def dfad(family: str = "", **params: Any) -> DFAD:
    return DFAD(DFAD.build_params({**SMALL, **params}, family))


@SHAPES
def test_the_distance_is_a_mean_over_samples_and_classes(shape: tuple[int, ...]) -> None:
    student, teacher = random(*shape, seed=1), random(*shape, seed=2)
    pairs = zip(student.flatten().tolist(), teacher.flatten().tolist(), strict=True)
    distance = sum(abs(s - t) for s, t in pairs) / math.prod(shape)
    assert float(logit_distance_loss(student, teacher)) == pytest.approx(-distance)
    log = logit_distance_loss(student, teacher, "log")
    assert float(log) == pytest.approx(-math.log(distance + 1))
    problem, _ = tiny_run()
    objective = dfad().objective(problem)
    loss = objective.of_logits(student, Batch(student, teacher_logits=teacher))  # type: ignore[attr-defined]
    assert float(loss) == pytest.approx(distance)


@pytest.mark.parametrize("form", ["negative", "log"])
def test_a_turn_minimises_the_form_that_is_asked_for(form: str) -> None:
    problem, run = tiny_run()
    game = DFADGame(dfad(generator_loss=form).params, problem, run)
    student = problem.make_student().eval()
    latents = torch.randn(8, 5, generator=run.stream("generator-latents"))
    with torch.no_grad():
        images = game.generator.train()(latents)
        distance = float((student(images) - problem.teacher.network(images)).abs().mean())
    loss = float(game.make(student, 0.0)["loss"])
    assert loss == pytest.approx(
        -distance if form == "negative" else -math.log1p(distance), rel=1e-4
    )


def test_a_generator_alone_drives_student_and_teacher_apart() -> None:
    problem, run = tiny_run()
    game = DFADGame(dfad(generator_lr=1e-2).params, problem, run)
    student = problem.make_student().eval()
    losses = [float(game.make(student, 0.0)["loss"]) for _ in range(60)]
    assert sum(losses[-5:]) < 1.2 * sum(losses[:5])


def test_it_spends_fresh_images_in_every_step() -> None:
    problem, run = tiny_run(synthesis_steps=3, student_steps=12)
    seen: list[Tensor] = []
    make = problem.make_student

    def watched() -> nn.Module:
        student = make()
        student.register_forward_pre_hook(
            lambda module, inputs: None if inputs[0].requires_grad else seen.append(inputs[0])
        )
        return student

    problem.make_student = watched  # type: ignore[method-assign]
    dfad().fit(problem, run)
    assert len(seen) == 12
    assert not any(torch.equal(one, other) for i, one in enumerate(seen) for other in seen[:i])
    assert run.ledger.counts() == {
        "teacher_forward": 3 * 8 + 12 * 8,
        "teacher_backward": 3 * 8,
        "synthetic_images": 3 * 8 + 12 * 8,
        "student_steps": 12,
        "student_images": 3 * 8 + 12 * 8,
    }


def test_looking_at_the_student_changes_nothing() -> None:
    def fitted(**options: Any) -> Any:
        problem, run = tiny_run(**options)
        return dfad().fit(problem, run), run

    blind, run = fitted(evaluations=1)
    watched, seen = fitted(
        evaluations=3,
        on_checkpoint=lambda student, step, samples: samples.validation(5, torch.Generator()),
    )
    assert seen.curves == run.curves
    assert seen.ledger.counts() == run.ledger.counts()
    pairs = zip(blind.state_dict().values(), watched.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_stops_at_every_round_change_nothing() -> None:
    assert same_after_stops(dfad(), tiny_run) == 4
    assert same_after_stops(dfad("camvid", width=16), posed_segmentation) == 4


def test_the_generator_is_the_paper_s_for_its_kind_of_task() -> None:
    problem, run = tiny_run()
    images = DFADGame(dfad().params, problem, run).generator
    assert isinstance(images, UpsamplingGenerator)
    assert images.head == "tanh-normalized"
    problem, run = posed_segmentation()
    maps = DFADGame(dfad("camvid", width=16).params, problem, run).generator
    assert isinstance(maps, TransposedGenerator)


def test_the_transposed_generator_has_the_channels_of_the_paper_and_pixels_in_range() -> None:
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    generator = TransposedGenerator(256, (3, 64, 32), normalization=(mean, std))
    convolutions = [m for m in generator.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert [(m.in_channels, m.out_channels) for m in convolutions] == [
        (512, 256),
        (256, 128),
        (128, 64),
        (64, 64),
    ]
    images = generator(10 * torch.randn(4, 256)).detach()
    assert images.shape == (4, 3, 64, 32)
    pixels = Normalization(mean, std).denormalize(images)
    assert 0 <= float(pixels.min()) < float(pixels.max()) <= 1
    weights = torch.cat([m.weight.detach().flatten() for m in (generator.project, *convolutions)])
    assert float(weights.std()) == pytest.approx(0.02, rel=0.02)


@pytest.mark.parametrize(
    ("family", "form", "schedule"),
    [("", "negative", "fifths"), ("mnist", "negative", "constant"), ("camvid", "log", "thirds")],
)
def test_settings_follow_the_paper_s_tables(family: str, form: str, schedule: str) -> None:
    params = dfad(family).params
    assert (params.generator_loss, params.generator_schedule) == (form, schedule)


def test_sizes_that_its_generators_cannot_draw_are_refused() -> None:
    problem, _ = tiny_run()
    problem.image_shape = (1, 10, 8)
    assert "divisible by 4, not 10×8" in one_line(dfad().supports(problem) or "")
    problem, _ = posed_segmentation()
    assert dfad("camvid").supports(problem) is None
    problem.image_shape = (1, 24, 16)
    assert "divisible by 16, not 24×16" in one_line(dfad("camvid").supports(problem) or "")
