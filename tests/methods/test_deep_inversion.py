from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.base.method import Method
from methods.base.run import Run
from methods.base.samples import ImageBank
from methods.base.states import Stopped
from methods.base.teacher import Teacher
from methods.deep_inversion import DeepInversion, Inversion, warm_cosine
from methods.losses.images import batch_norm_statistics_loss, total_variation
from methods.losses.predictions import competition_loss
from methods.networks.batch_norm import watch_batch_norms
from methods.synthesis.growing_bank import GrowingBank
from methods.synthesis.pixels import PixelOptimization, balanced_labels, first_turns, jitter
from tests.helpers import NUM_CLASSES, TinyNetwork, one_line, tiny_network, tiny_run

INVERSION = {"inversion_images": 20, "inversion_steps": 5}
STILL = {"jitter": 0}


def inversion(**params: Any) -> Method:
    return DeepInversion(DeepInversion.build_params(params))


def curves_of(method: Method, seed: int = 0, **numbers: Any) -> dict[str, list[float]]:
    problem, run = tiny_run(seed, **{**INVERSION, **numbers})
    method.fit(problem, run)
    return {name: curve["value"] for name, curve in run.curves.items()}


class KeptRound:
    """Keeps the last state of a loop, in memory."""

    step = 0

    def due(self) -> bool:
        return False

    def save(self, loop: str, step: int, state: dict[str, Any]) -> None:
        self.loop, self.step, self.state = loop, step, copy.deepcopy(state)

    def load(self, loop: str) -> tuple[int, dict[str, Any]] | None:
        return (self.step, copy.deepcopy(self.state)) if self.step and loop == self.loop else None


def countdown(times: int) -> Callable[[], str]:
    """Asks to stop when it is asked for the so-manieth time."""
    asked = 0

    def stopping() -> str:
        nonlocal asked
        asked += 1
        return "now" if asked == times else ""

    return stopping


def hooks_on(network: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules())


class WithoutBatchNorm(TinyNetwork):
    """The tiny network without its BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.Identity()


# BatchNorm statistics


def test_watching_sees_the_biased_statistics_of_what_enters_a_layer() -> None:
    network = tiny_network().eval()
    images = torch.randn(6, 1, 8, 8)
    with watch_batch_norms(network) as seen:
        network(images)
    (layer,) = seen
    entering = network.conv(images).detach().double().numpy().transpose(1, 0, 2, 3).reshape(4, -1)
    torch.testing.assert_close(layer.mean.double(), torch.tensor(entering.mean(1)))
    torch.testing.assert_close(layer.variance.double(), torch.tensor(entering.var(1)))
    assert torch.equal(layer.stored_mean, network.norm.running_mean)
    assert torch.equal(layer.stored_variance, network.norm.running_var)


def test_the_loss_is_zero_for_a_batch_with_exactly_the_stored_statistics() -> None:
    network = tiny_network().eval()
    images = torch.randn(6, 1, 8, 8)
    with torch.no_grad(), watch_batch_norms(network) as seen:
        network(images)
        network.norm.running_mean.copy_(seen[0].mean)
        network.norm.running_var.copy_(seen[0].variance)
        seen.clear()
        network(images)
        assert batch_norm_statistics_loss(seen).item() == 0.0
        seen.clear()
        network(images + 1)
        assert batch_norm_statistics_loss(seen).item() > 0.01


def test_hooks_are_removed_also_after_an_exception() -> None:
    network = tiny_network()
    with watch_batch_norms(network):
        assert hooks_on(network) == 1
    assert hooks_on(network) == 0
    with pytest.raises(RuntimeError, match="channels"), watch_batch_norms(network):
        network(torch.zeros(1, 5, 8, 8))
    assert hooks_on(network) == 0


def test_a_run_that_stops_in_the_middle_leaves_no_hook_on_the_teacher() -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    problem, run = tiny_run(**INVERSION, progress=stop)
    with pytest.raises(KeyboardInterrupt):
        inversion().synthesize(problem, run)
    assert hooks_on(problem.teacher) == 0


# Optimising pixels


def test_best_is_the_iterate_of_least_loss_and_not_the_last() -> None:
    # A rate far too large for a parabola: the images leave the minimum near which they start.
    _, run = tiny_run(**INVERSION)
    seen: list[tuple[float, Tensor]] = []

    def loss(images: Tensor) -> dict[str, Tensor]:
        total = (images**2).mean()
        seen.append((total.item(), images.detach().clone()))
        return {"loss": total}

    start = torch.full((4, 1, 2, 2), 0.3)
    best = PixelOptimization(run, 4, 2.0, keep="best").optimize(start, loss)
    least = min(seen, key=lambda pair: pair[0])[1]
    assert torch.equal(best, least)
    last = PixelOptimization(run, 4, 2.0, keep="last").optimize(start, loss)
    assert not torch.equal(best, last)
    assert start.unique().tolist() == [pytest.approx(0.3)]


def test_every_step_is_one_of_adam_followed_by_the_projection() -> None:
    _, run = tiny_run(inversion_images=4, inversion_steps=3)
    start = torch.linspace(-1, 1, 16).view(4, 1, 2, 2)
    expected = start.clone().requires_grad_()
    adam = torch.optim.Adam([expected], lr=0.1)
    for _ in range(3):
        adam.zero_grad()
        (expected**3).sum().backward()
        adam.step()
        expected.data.clamp_(-0.9, 0.9)
    made = PixelOptimization(run, 4, 0.1).optimize(
        start, lambda x: {"loss": (x**3).sum() / 4}, lambda x: x.clamp(-0.9, 0.9)
    )
    torch.testing.assert_close(made, expected.detach())


@pytest.mark.parametrize(
    ("step", "factor"),
    [
        (0, 1 / 100),
        (98, 99 / 100),
        (99, 1.0),
        (100, 1.0),
        (1050, (1 + math.cos(math.pi / 2)) / 2),
        (1999, (1 + math.cos(math.pi * 1899 / 1900)) / 2),
    ],
)
def test_the_rate_of_imagenet_rises_for_a_hundred_steps_and_falls_by_a_cosine(
    step: int, factor: float
) -> None:
    assert warm_cosine(step, 2000) == pytest.approx(factor, rel=1e-12, abs=1e-15)


def test_schedule_betas_and_clip_of_imagenet_are_adams_in_float64() -> None:
    steps, rate = 40, 0.2
    _, run = tiny_run(inversion_images=4, inversion_steps=steps)
    start = torch.linspace(-1, 1, 16).view(4, 1, 2, 2)
    made = PixelOptimization(run, 4, rate, betas=(0.5, 0.9), schedule=warm_cosine).optimize(
        start, lambda x: {"loss": ((x - 2) ** 2).sum() / 4}, lambda x: x.clamp(-1.2, 1.7)
    )
    x = start.double().numpy()
    first, second = np.zeros_like(x), np.zeros_like(x)
    for i in range(steps):
        lr = rate * ((i + 1) / 2 if i < 2 else 0.5 * (1 + np.cos(np.pi * (i - 2) / 38)))
        gradient = 2 * (x - 2)
        first, second = 0.5 * first + 0.5 * gradient, 0.9 * second + 0.1 * gradient**2
        hat = first / (1 - 0.5 ** (i + 1)), second / (1 - 0.9 ** (i + 1))
        x = np.clip(x - lr * hat[0] / (np.sqrt(hat[1]) + 1e-8), -1.2, 1.7)
    np.testing.assert_allclose(made.numpy(), x, rtol=1e-4)


def test_settings_of_imagenet_are_complete_and_of_no_run_before_them() -> None:
    params = DeepInversion.build_params({}, "imagenet")
    found = {name: getattr(params, name) for name in ("schedule", "beta1", "beta2", "clip")}
    assert found == {"schedule": "cosine", "beta1": 0.5, "beta2": 0.9, "clip": True}
    usual = DeepInversion.build_params({}).recorded()
    assert not {"schedule", "beta1", "beta2"} & usual.keys()


def test_jitter_shifts_the_whole_batch_within_its_reach() -> None:
    stream = torch.Generator().manual_seed(0)
    images = torch.arange(2 * 64.0).view(2, 1, 8, 8)
    shifts, mirrored = set(), 0
    for _ in range(150):
        moved = jitter(images, 2, True, stream)
        found = [
            (down, right, flip)
            for down in range(-2, 3)
            for right in range(-2, 3)
            for flip in (False, True)
            if torch.equal(moved, _moved(images, down, right, flip))
        ]
        assert len(found) == 1
        shifts.add(found[0][:2])
        mirrored += found[0][2]
    assert len(shifts) == 25
    assert 50 < mirrored < 100
    assert torch.equal(jitter(images, 0, False, stream), images)


def _moved(images: Tensor, down: int, right: int, flip: bool) -> Tensor:
    images = torch.roll(images, (down, right), (2, 3))
    return torch.flip(images, (3,)) if flip else images


def test_labels_are_balanced_for_any_count() -> None:
    assert balanced_labels(7, 3).bincount().tolist() == [3, 2, 2]


@pytest.mark.parametrize(("size", "classes"), [(16, 40), (16, 10), (1, 3), (7, 7)])
def test_small_batches_together_have_every_class_equally_often(size: int, classes: int) -> None:
    sizes = [size] * 10 + [size // 2 + 1]
    labels = [
        balanced_labels(count, classes, first)
        for count, first in zip(sizes, first_turns(sizes, classes), strict=True)
    ]
    counts = torch.cat(labels).bincount(minlength=classes)
    assert counts.max() - counts.min() <= 1


def test_a_batch_of_ten_rounds_begins_with_the_first_class() -> None:
    assert first_turns([256, 256, 100, 99], 10) == [0, 0, 0, 2]


def test_every_class_is_asked_for_by_batches_with_fewer_images_than_classes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []
    loss_of = Inversion._loss

    def spy(self: Inversion, images: Tensor, labels: Tensor, *rest: Any) -> Any:
        asked.extend(labels.tolist())
        return loss_of(self, images, labels, *rest)

    monkeypatch.setattr(Inversion, "_loss", spy)
    problem, run = tiny_run(inversion_images=12, inversion_steps=1)
    inversion(batch=NUM_CLASSES - 1).synthesize(problem, run)
    assert [asked.count(k) for k in range(NUM_CLASSES)] == [12 // NUM_CLASSES] * NUM_CLASSES


# The loss


def test_the_loss_is_the_weighted_sum_of_its_terms() -> None:
    problem, run = tiny_run(**INVERSION)
    weights = {"tv_weight": 0.02, "l2_weight": 0.3, "bn_weight": 5.0, "first_bn_weight": 2.0}
    params = DeepInversion.build_params({**weights, **STILL, "adaptive": True})
    images = torch.randn(6, 1, 8, 8)
    labels = balanced_labels(6, NUM_CLASSES)
    student = problem.make_student().eval()
    teacher = problem.teacher
    with watch_batch_norms(teacher.network) as seen:
        terms = Inversion(params, problem, run)._loss(images, labels, seen, student)  # type: ignore[arg-type]
        logits = teacher(images)
        expected = (
            F.cross_entropy(logits, labels)
            + 0.02 * total_variation(images)
            + 0.3 * sum(image.square().sum().sqrt() for image in images) / 6
            + 5.0 * 2.0 * batch_norm_statistics_loss(seen[-1:])
            + 0.2 * competition_loss(logits, student(images), 3.0)
        )
    torch.testing.assert_close(terms["loss"], expected)


def test_terms_that_are_off_are_neither_computed_nor_logged() -> None:
    off = curves_of(inversion(tv_weight=0.0, bn_weight=0.0))
    assert [name for name in off if name.startswith("synthesis")] == [
        "synthesis/loss",
        "synthesis/cross_entropy",
    ]


def test_clip_keeps_pixels_in_the_unit_interval() -> None:
    problem, run = tiny_run(**INVERSION)
    bank = inversion(clip=True).synthesize(problem, run)
    assert isinstance(bank, ImageBank)
    pixels = problem.normalization.denormalize(bank.images.float())
    assert -1e-3 <= pixels.min() <= pixels.max() <= 1 + 1e-3


def test_images_come_to_fit_labels_and_statistics() -> None:
    for name, weight in [("cross_entropy", 0.0), ("batch_norm", 10.0)]:
        method = inversion(learning_rate=0.2, batch=20, bn_weight=weight)
        values = curves_of(method, inversion_steps=40)[f"synthesis/{name}"]
        assert values[-1] < 0.8 * values[0]


@pytest.mark.parametrize("adaptive", [False, True])
def test_a_run_costs_what_the_budget_says(adaptive: bool) -> None:
    problem, run = tiny_run(**INVERSION)
    inversion(adaptive=adaptive, batch=8).fit(problem, run)
    labelled = 18
    assert run.ledger.teacher_forward == 20 * 5 + labelled
    assert run.ledger.teacher_backward == 20 * 5
    assert run.ledger.synthetic_images == 20
    assert run.ledger.student_steps == 6
    assert {"synthesis", "distillation"} <= run.ledger.seconds.keys()


# Adaptive


def test_adaptive_training_takes_turns_on_a_growing_pool() -> None:
    shown: list[tuple[int, int, int]] = []

    def show(student: nn.Module, step: int, samples: Any) -> None:
        shown.append((step, len(samples), samples.held_out))

    problem, run = tiny_run(
        inversion_images=40, inversion_steps=2, student_steps=8, evaluations=8, on_checkpoint=show
    )
    student = inversion(adaptive=True, batch=10).fit(problem, run)
    assert [step for step, _, _ in shown] == list(range(1, 9))
    assert [held_out for _, _, held_out in shown] == [1, 1, 2, 2, 3, 3, 4, 4]
    assert [size for _, size, _ in shown] == [9, 9, 18, 18, 27, 27, 36, 36]
    assert student.training


def test_adaptive_training_goes_on_from_the_border_of_any_round() -> None:
    options = {"inversion_images": 40, "inversion_steps": 2, "student_steps": 8}

    def fit(**more: Any) -> tuple[Run, nn.Module]:
        problem, run = tiny_run(**options, **more)
        return run, inversion(adaptive=True, batch=10).fit(problem, run)

    whole, expected = fit()
    for border in range(1, 4):
        keeper = KeptRound()
        with pytest.raises(Stopped):
            fit(keeper=keeper, stopping=countdown(border))
        assert keeper.step == border
        again, student = fit(keeper=keeper)
        assert again.curves == whole.curves
        assert again.ledger.teacher_forward == whole.ledger.teacher_forward
        for name, value in expected.state_dict().items():
            assert torch.equal(student.state_dict()[name], value)


def test_adaptive_images_are_those_that_the_student_learnt_from() -> None:
    problem, run = tiny_run(**INVERSION)
    bank = inversion(adaptive=True, batch=8).synthesize(problem, run)
    assert isinstance(bank, GrowingBank)
    assert len(bank) + bank.held_out == 20
    assert run.ledger.student_steps == 6


def test_adaptive_training_takes_turns_where_one_batch_could_hold_all_images() -> None:
    problem, run = tiny_run(**INVERSION)
    assert Inversion(DeepInversion.build_params({}), problem, run).sizes == [20]  # type: ignore[arg-type]
    adaptive = DeepInversion.build_params({"adaptive": True})
    assert Inversion(adaptive, problem, run).sizes == [5, 5, 5, 5]  # type: ignore[arg-type]


def test_the_competition_does_not_train_or_normalise_the_student() -> None:
    problem, run = tiny_run(**INVERSION)
    student = problem.make_student().eval()
    before = {name: value.clone() for name, value in student.state_dict().items()}
    params = DeepInversion.build_params({"adaptive": True})
    Inversion(params, problem, run).next_batch(student)  # type: ignore[arg-type]
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())
    assert all(parameter.grad is None for parameter in student.parameters())


def test_competition_settings_without_adaptive_are_refused() -> None:
    with pytest.raises(Exception, match="adaptive=true") as error:
        inversion(competition_weight=1.0)
    one_line(str(error.value))


# Where it runs


def test_without_batch_norm_it_runs_and_says_so() -> None:
    problem, run = tiny_run(**INVERSION)
    assert inversion().note(problem) == ""
    problem.teacher = Teacher(WithoutBatchNorm(), run.ledger)
    assert inversion().note(problem) == "no BatchNorm: prior terms only"
    assert inversion(bn_weight=0.0).note(problem) == ""
    inversion().fit(problem, run)
    assert "synthesis/batch_norm" not in run.curves


def test_segmentation_is_declined() -> None:
    problem, _ = tiny_run()
    assert inversion().supports(problem) is None
    problem.task_type = "segmentation"
    assert "pixel" in one_line(inversion().supports(problem) or "")
