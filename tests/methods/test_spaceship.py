"""SpaceshipNet: exchanged features, activation regions, what a run counts, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from torch import Tensor, nn

from benchmark.tasks.models.lenet import lenet5, lenet5_half
from methods.base.objective import LogitObjective
from methods.base.problem import Normalization, Problem
from methods.base.run import Run
from methods.base.samples import Batch
from methods.base.teacher import Teacher
from methods.networks.batch_norm import batch_norm_layers
from methods.objectives.activation_regions import ActivationRegions
from methods.objectives.hinton import Hinton
from methods.spaceship import SpaceshipGame, SpaceshipNet
from tests.games import same_after_stops
from tests.helpers import IMAGE_SHAPE, TinyNetwork, one_line, tiny_run
from tests.segmentation import posed as posed_segmentation

B, STEPS = 10, 2
NUMBERS = {"synthesis_batch": B, "synthesis_steps": 3 * STEPS}


def spaceship(**params: Any) -> SpaceshipNet:
    small = {"inner_steps": STEPS, "latent_dim": 5, "width": 4, "augmentation": "none"}
    return SpaceshipNet(SpaceshipNet.build_params({**small, **params}))


def game_of(**params: Any) -> tuple[SpaceshipGame, Problem]:
    problem, run = tiny_run(**NUMBERS)
    game = spaceship(**params).game(problem, run)
    assert isinstance(game, SpaceshipGame)
    return game, problem


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# What the student minimises


def of_network(
    network: TinyNetwork, images: Tensor, classes: Tensor | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits, class maps and the Grad-CAM at the only stage, which is before the ReLU."""
    before = network.norm(network.conv(images)).detach().double().numpy()
    features = np.maximum(before, 0)
    weight, bias = (p.detach().double().numpy() for p in network.classifier.parameters())
    class_maps = np.einsum("kd,bdhw->bkhw", weight, features)
    logits = class_maps.mean(axis=(2, 3)) + bias
    chosen = logits.argmax(axis=1) if classes is None else classes.numpy()
    # The logit of class y is the mean of W_y·ReLU(z): its slope in z is W_y/(h·w) where z > 0.
    slopes = weight[chosen][:, :, None, None] * (before > 0) / before[0, 0].size
    weights = slopes.mean(axis=(2, 3), keepdims=True)
    return logits, class_maps, (weights * before).sum(axis=1)


@pytest.mark.parametrize("cam", [0.0, 0.7])
@pytest.mark.parametrize("grad_cam", [0.0, 300.0])
def test_the_student_minimises_divergence_and_distances_of_regions(
    cam: float, grad_cam: float
) -> None:
    problem, run = tiny_run()
    objective = spaceship(cam=cam, grad_cam=grad_cam, temperature=3.0).objective(problem)
    student = problem.make_student().eval()
    objective.attach(student, problem, run)
    images = random(5, *IMAGE_SHAPE)
    teacher = problem.teacher.network
    assert isinstance(teacher, TinyNetwork)
    assert isinstance(student, TinyNetwork)
    t, their_maps, their_cam = of_network(teacher, images, None)
    best = torch.from_numpy(t.argmax(axis=1))
    s, my_maps, my_cam = of_network(student, images, best)
    p, q = (log_softmax(x / 3, axis=1) for x in (t, s))
    expected = 9 * (np.exp(p) * (p - q)).mean()  # over samples and classes
    expected += cam * ((my_maps - their_maps) ** 2).mean()
    expected += grad_cam * ((my_cam - their_cam) ** 2).mean()
    loss = objective(student, Batch(images, teacher_logits=torch.from_numpy(t).float()))
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-4)
    assert isinstance(objective, ActivationRegions if cam or grad_cam else LogitObjective)


def test_only_the_maps_have_gradients_and_not_their_weights() -> None:
    problem, run = tiny_run()
    student = problem.make_student().eval()
    assert isinstance(student, TinyNetwork)
    gradients = []
    for weights in ({"cam": 0.0}, {"grad_cam": 0.0}, {"cam": 0.0, "grad_cam": 0.0}):
        objective = spaceship(**weights).objective(problem)
        objective.attach(student, problem, run)
        images = random(5, *IMAGE_SHAPE)
        logits = problem.teacher(images).detach()
        student.zero_grad()
        objective(student, Batch(images, teacher_logits=logits)).backward()
        layers = student.conv, student.classifier
        gradients.append([layer.weight.grad.clone() for layer in layers])  # type: ignore[union-attr]
        assert all(p.grad is None for p in problem.teacher.network.parameters())
        assert not any(m._forward_hooks for m in (*student.modules(), *problem.teacher.modules()))
    *with_regions, plain = gradients
    for convolution, classifier in with_regions:
        assert not torch.allclose(convolution, plain[0], rtol=1e-3)
        torch.testing.assert_close(classifier, plain[1])


# Turns


def test_the_pool_keeps_the_features_of_the_best_images_of_a_turn() -> None:
    game, problem = game_of(exchange=0.0)
    student = problem.make_student()
    seen: list[tuple[float, Tensor]] = []
    terms, with_maps = game.inversion.terms, game.generator.with_maps

    def watched(images: Tensor, *args: Any) -> dict[str, Tensor]:
        found = terms(images, *args)
        seen.append((found["loss"].item(), images.detach().clone()))
        return found

    latents: list[Tensor] = []
    game.inversion.terms = watched  # type: ignore[method-assign]
    game.generator.with_maps = lambda z: latents.append(z.clone()) or with_maps(z)  # type: ignore[method-assign, func-returns-value]
    game.make(student, 0.0)
    assert len(seen) == STEPS
    assert all(torch.equal(z, latents[0]) for z in latents)
    best = min(seen, key=lambda pair: pair[0])[1]
    held_out = game.samples.validation(9, torch.Generator())
    assert all((image == best).flatten(1).all(dim=1).any() for image in held_out)
    assert len(game.samples) + len(held_out) == B


def test_the_generator_goes_on_and_has_no_opponent() -> None:
    game, problem = game_of()
    student = problem.make_student()
    forward = student.register_forward_hook(lambda *_: pytest.fail("the student was asked"))
    before = game.generator.conv1.weight.detach().clone()
    first = game.make(student, 0.0)
    after = game.generator.conv1.weight.detach().clone()
    game.make(student, 0.5)
    assert 0 < (after - before).abs().max() <= STEPS * 1.1e-3
    assert 0 < (game.generator.conv1.weight - after).abs().max() <= STEPS * 1.1e-3
    assert list(first) == ["loss", "one_hot", "statistics"]
    forward.remove()


@pytest.mark.parametrize(("cam", "grad_cam"), [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)])
def test_a_run_counts_its_looks_and_its_images(cam: float, grad_cam: float) -> None:
    problem, run = tiny_run(**NUMBERS, student_steps=6)
    spaceship(cam=cam, grad_cam=grad_cam).fit(problem, run)
    made = 3 * STEPS * B
    assert run.ledger.counts() == {
        "teacher_forward": made + 6 * 8,
        "teacher_backward": made,
        "synthetic_images": 3 * B + 6 * 8,
        "student_steps": 6,
        "student_images": 6 * 8,
    }


def test_grad_cams_cost_work() -> None:
    spent = []
    for weight in (0.0, 1.0):
        problem, run = tiny_run(**NUMBERS)
        spaceship(grad_cam=weight).fit(problem, run)
        spent.append(run.ledger.work["distillation"])
    assert spent[1] > spent[0]


@pytest.mark.parametrize("augmentation", ["none", "crop-flip"])
def test_stops_at_every_round_change_nothing(augmentation: str) -> None:
    def posed() -> tuple[Problem, Run]:
        return tiny_run(**NUMBERS)

    assert same_after_stops(spaceship(augmentation=augmentation), posed) == 3


def test_regions_are_compared_in_single_precision_whatever_the_layers_compute_in() -> None:
    losses = []
    for precision in ("fp32", "bf16"):
        problem, run = tiny_run(**NUMBERS, precision=precision)
        spaceship(grad_cam=10.0).fit(problem, run)
        losses.append(run.curves["distillation/loss"]["value"])
    assert losses[0] != losses[1]
    assert losses[0][0] == pytest.approx(losses[1][0], rel=0.1)


# Where it cannot run


def without_batch_norm() -> tuple[Problem, Run]:
    _, run = tiny_run(synthesis_steps=2, student_steps=2)
    problem = Problem(
        teacher=Teacher(lenet5(), run.ledger),
        make_student=lenet5_half,
        image_shape=(1, 32, 32),
        num_classes=10,
        normalization=Normalization((0.5,), (0.25,)),
    )
    return problem, run


def test_a_hidden_layer_before_the_logits_needs_class_maps_off() -> None:
    problem, run = without_batch_norm()
    answer = one_line(spaceship(bn_weight=0.0).supports(problem) or "")
    assert "the teacher's are not; cam=0 does without" in answer
    method = spaceship(bn_weight=0.0, cam=0.0)
    assert method.supports(problem) is None
    assert isinstance(method.fit(problem, run), nn.Module)
    assert run.ledger.student_steps == 2


def test_a_teacher_without_batch_norm_is_refused_in_one_line() -> None:
    problem, _ = tiny_run()
    for layer in batch_norm_layers(problem.teacher.network):
        layer.running_mean = layer.running_var = None
    assert "BatchNorm" in one_line(spaceship().supports(problem) or "")
    assert spaceship(bn_weight=0.0).supports(problem) is None


def test_maps_of_unequal_size_are_refused_in_one_line_unless_they_are_left_out() -> None:
    class Halved(TinyNetwork):
        def forward_features(self, images: Tensor) -> Tensor:
            return super().forward_features(images[:, :, ::2, ::2])

    problem, run = tiny_run(**NUMBERS)
    problem._make_student = lambda: Halved()
    assert "cam=0" in one_line(spaceship().supports(problem) or "")
    answer = one_line(spaceship(cam=0.0).supports(problem) or "")
    assert "8×8, the student's 4×4; grad_cam=0" in answer
    method = spaceship(cam=0.0, grad_cam=0.0)
    assert method.supports(problem) is None
    method.fit(problem, run)


def test_another_objective_needs_regions_off() -> None:
    problem, _ = tiny_run()
    method = spaceship()
    method.transfer = Hinton()
    assert "cam=0 and grad_cam=0" in one_line(method.supports(problem) or "")
    method = spaceship(cam=0.0, grad_cam=0.0)
    method.transfer = Hinton()
    assert method.supports(problem) is None


def test_label_maps_and_odd_sizes_are_refused() -> None:
    assert "classification" in one_line(spaceship().supports(posed_segmentation()[0]) or "")
    problem, _ = tiny_run()
    problem.image_shape = (1, 10, 8)
    assert "divisible by 4, not 10×8" in one_line(spaceship().supports(problem) or "")


def test_the_settings_and_the_schedule_are_the_released_ones() -> None:
    params = SpaceshipNet.build_params({}, "cifar100")
    schedule = SpaceshipNet.schedule_of(params, "cifar100")
    assert schedule is not None
    assert schedule.numbers["synthesis_steps"] == 40_000
    assert schedule.numbers["student_steps"] == 400_000
    assert SpaceshipNet.schedule_of(params, "svhn") is None
