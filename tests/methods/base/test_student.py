from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from timm.layers import DropPath
from torch import nn

from methods.acceleration.cuda_graphs import draws_random_numbers
from methods.base.objective import Distillation, Supervised
from methods.base.run import Run
from methods.base.samples import ImageBank, OnlineSource
from methods.base.states import Diverged
from methods.base.student import checkpoint_steps, student_optimizer, train_student
from methods.losses.predictions import kd_loss
from tests.helpers import IMAGE_SHAPE, NUM_CLASSES, TinyNetwork, tiny_budget, tiny_network, tiny_run


def images(count: int = 30) -> torch.Tensor:
    return torch.randn(count, *IMAGE_SHAPE, generator=torch.Generator().manual_seed(5))


def labelled() -> ImageBank:
    return ImageBank(images(), 6, torch.arange(30) % NUM_CLASSES)


def weights(student: nn.Module) -> list[torch.Tensor]:
    return [value.clone() for value in student.state_dict().values()]


def equal(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(weights(a), weights(b), strict=True))


def trained(seed: int = 0, noise: int = 0) -> nn.Module:
    torch.manual_seed(noise)
    problem, run = tiny_run(seed)
    return train_student(problem, ImageBank(images(), 6), Distillation(4.0), run)


def test_same_seed_gives_the_same_bits() -> None:
    assert equal(trained(seed=3, noise=1), trained(seed=3, noise=2))
    assert not equal(trained(seed=3), trained(seed=4))


@pytest.mark.parametrize(
    ("total", "evaluations", "expected"),
    [
        (6, 3, {2, 4, 6}),
        (10, 4, {2, 5, 8, 10}),
        (7, 1, {7}),
        (3, 10, {1, 2, 3}),
        (1000, 10, set(range(100, 1001, 100))),
    ],
)
def test_checkpoints_are_evenly_spaced_and_end_with_the_last_step(
    total: int, evaluations: int, expected: set[int]
) -> None:
    assert checkpoint_steps(total, evaluations) == expected


def test_student_is_shown_at_the_checkpoints_and_last_as_it_is_returned() -> None:
    shown: list[tuple[int, list[torch.Tensor], bool]] = []
    problem, run = tiny_run(
        student_steps=7,
        evaluations=3,
        on_checkpoint=lambda student, step, samples: shown.append(
            (step, weights(student), samples is bank)
        ),
    )
    bank = ImageBank(images(), 6)
    student = train_student(problem, bank, Distillation(4.0), run)
    assert [step for step, _, _ in shown] == [2, 5, 7]
    assert all(same for _, _, same in shown)
    assert all(torch.equal(a, b) for a, b in zip(shown[-1][1], weights(student), strict=True))
    assert run.ledger.student_steps == 7


def test_training_lowers_the_loss_that_is_logged() -> None:
    problem, run = tiny_run(student_steps=60)
    train_student(problem, ImageBank(images(), 6), Distillation(1.0), run)
    curve = run.curves["distillation/loss"]["value"]
    assert sum(curve[-10:]) < 0.5 * sum(curve[:10])


def test_the_supervised_student_never_asks_the_teacher() -> None:
    problem, run = tiny_run()
    train_student(problem, labelled(), Supervised(), run)
    assert run.ledger.teacher_forward == 0
    assert run.ledger.student_steps == 6


def test_a_bank_is_labelled_once_and_a_stream_of_images_at_every_step() -> None:
    problem, run = tiny_run(student_steps=20)
    train_student(problem, ImageBank(images(), 6), Distillation(4.0), run)
    assert run.ledger.teacher_forward == 24
    problem, run = tiny_run(student_steps=5)
    source = OnlineSource(lambda count, stream: torch.randn(count, *IMAGE_SHAPE, generator=stream))
    train_student(problem, source, Distillation(4.0), run)
    assert run.ledger.teacher_forward == 5 * 8
    assert run.ledger.teacher_backward == 0


def test_distillation_objective_is_the_kd_loss_at_its_temperature() -> None:
    problem, run = tiny_run()
    bank = ImageBank(images(), 6).label(problem.teacher)
    batch = next(bank.batches(8, run.stream("x")))
    student = tiny_network().eval()
    expected = kd_loss(student(batch.images), batch.teacher_logits, 7.0)
    torch.testing.assert_close(Distillation(7.0)(student, batch), expected)


def test_a_diverging_student_stops_the_run() -> None:
    problem, run = tiny_run(student_lr=1e30, student_steps=50, student_optimizer="sgd")
    with pytest.raises(Diverged, match="loss became"):
        train_student(problem, ImageBank(images(), 6), Distillation(4.0), run)


@pytest.mark.parametrize(("name", "kind"), [("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)])
def test_the_budget_names_the_optimiser_and_its_schedule(name: str, kind: Any) -> None:
    budget = tiny_budget(student_optimizer=name, student_weight_decay=1e-3)
    optimizer, schedule = student_optimizer(tiny_network().parameters(), budget, 10)
    assert isinstance(optimizer, kind)
    group = optimizer.param_groups[0]
    assert group["weight_decay"] == 1e-3
    rates = []
    for _ in range(11):
        rates.append(group["lr"])
        optimizer.step()
        schedule.step()
    expected = [1e-2 * (1 + math.cos(math.pi * step / 10)) / 2 for step in range(11)]
    assert rates == pytest.approx(expected)


def test_a_constant_schedule_leaves_the_rate_alone() -> None:
    budget = tiny_budget(student_schedule="constant")
    optimizer, schedule = student_optimizer(tiny_network().parameters(), budget, 4)
    for _ in range(4):
        optimizer.step()
        schedule.step()
    assert optimizer.param_groups[0]["lr"] == 1e-2


def test_a_step_schedule_falls_to_a_tenth_after_four_fifths() -> None:
    budget = tiny_budget(student_schedule="step")
    optimizer, schedule = student_optimizer(tiny_network().parameters(), budget, 10)
    rates = []
    for _ in range(10):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([1e-2] * 8 + [1e-3] * 2)


@pytest.mark.parametrize(
    ("kind", "steps", "lengths"),
    [
        ("thirds", 12, (4, 4, 4)),
        ("thirds", 10, (4, 3, 3)),
        ("thirds", 2, (1, 1, 0)),
        ("fifths", 10, (2, 2, 6)),
        ("double-fifths", 10, (4, 4, 2)),
        ("double-fifths", 2000, (800, 800, 400)),
    ],
)
def test_a_schedule_of_parts_falls_to_a_tenth_after_each_of_the_first_two(
    kind: str, steps: int, lengths: tuple[int, int, int]
) -> None:
    budget = tiny_budget(student_schedule=kind)
    optimizer, schedule = student_optimizer(tiny_network().parameters(), budget, steps)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    first, second, third = lengths
    assert rates == pytest.approx([1e-2] * first + [1e-3] * second + [1e-4] * third)


def test_student_batches_do_not_depend_on_what_the_method_drew_before() -> None:
    def seen(prelude: bool) -> list[torch.Tensor]:
        batches: list[torch.Tensor] = []

        class Watching(ImageBank):
            def batches(self, size: int, stream: torch.Generator) -> Any:
                for batch in super().batches(size, stream):
                    batches.append(batch.images)
                    yield batch

        problem, run = tiny_run(seed=2)
        if prelude:
            torch.rand(100, generator=run.stream("generator-latents"))
            torch.rand(100)
        train_student(problem, Watching(images(), 6), Distillation(4.0), run)
        return batches

    pairs = zip(seen(False), seen(True), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_run_and_problem_share_nothing_between_runs() -> None:
    first, second = Run(tiny_budget()), Run(tiny_budget())
    first.ledger.student_steps += 1
    first.ledger.seconds["x"] = 1.0
    assert second.ledger.student_steps == 0
    assert second.ledger.seconds == {}


class Dropping(TinyNetwork):
    """With dropout by a function, which no module shows, before the classifier."""

    def forward_head(self, features: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        pooled = F.dropout(features.mean(dim=(2, 3)), 0.5, self.training)
        return pooled if pre_logits else self.classifier(pooled)


class DroppingModule(TinyNetwork):
    """With a module of dropout behind the classifier's input."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Sequential(nn.Dropout(0.5), self.classifier)  # type: ignore[assignment]


class DroppingPaths(TinyNetwork):
    """With timm's stochastic depth, which is no dropout module either."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Sequential(DropPath(0.5), self.classifier)  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("student", "expected"),
    [(TinyNetwork, False), (Dropping, True), (DroppingModule, True), (DroppingPaths, True)],
)
def test_asking_whether_a_network_draws_changes_nothing(
    student: type[nn.Module], expected: bool
) -> None:
    network = student().train()
    before, state = weights(network), torch.get_rng_state()
    assert draws_random_numbers(network, IMAGE_SHAPE) is expected
    assert not draws_random_numbers(network.eval(), IMAGE_SHAPE)
    assert all(map(torch.equal, before, weights(network)))
    assert torch.equal(torch.get_rng_state(), state)
