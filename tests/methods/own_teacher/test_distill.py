from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import methods
from methods.base.problem import Problem
from methods.base.registry import discover
from methods.base.run import Run
from methods.base.samples import SampleSource
from methods.base.states import Diverged
from methods.baselines import AlternativeData
from methods.deep_inversion import DeepInversion
from methods.own_teacher.distill import Distilled, find_method
from methods.own_teacher.interface import Unsuitable
from methods.settings.budget import PRESETS, preset
from methods.settings.params import ParameterError
from tests.helpers import IMAGE_SHAPE, TinyNetwork, one_line, tiny_budget, tiny_network

BUDGET = tiny_budget(inversion_images=12, inversion_steps=2)


def distilled(teacher: nn.Module | None = None, student: Any = TinyNetwork, **options: Any) -> Any:
    teacher = teacher if teacher is not None else tiny_network(seed=7, width=6)
    given = {"image_shape": IMAGE_SHAPE, "mean": (0.5,), "std": (0.25,), "budget": BUDGET}
    return methods.distill(teacher, student, **{**given, **options})


def refusal(*networks: Any, **options: Any) -> str:
    with pytest.raises(Unsuitable) as caught:
        distilled(*networks, **options)
    return one_line(str(caught.value))


class Plain(nn.Module):
    """A classifier without timm's interface, with dropout, which draws from the global stream."""

    def __init__(self, last: nn.Module | None = None) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(144, 3),
            last or nn.Identity(),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


def weights(done: Distilled) -> list[Tensor]:
    return list(done.student.state_dict().values())


def test_a_student_is_trained_and_comes_back_ready_to_use() -> None:
    seen: list[tuple[str, int, int]] = []
    student = tiny_network(seed=2)
    before = [value.clone() for value in student.state_dict().values()]
    done = distilled(student=student, progress=lambda phase, i, n, loss: seen.append((phase, i, n)))
    assert not done.student.training
    assert done.student is not student
    assert all(map(torch.equal, before, student.state_dict().values()))
    assert any(not torch.equal(a, b) for a, b in zip(weights(done), before, strict=True))
    assert 0 <= done.agreement <= 1
    assert done.curves["evaluation/agreement"]["value"][-1] == done.agreement
    assert done.ledger.student_steps == BUDGET.student_steps
    assert ("distillation", BUDGET.student_steps, BUDGET.student_steps) in seen


def test_the_teacher_is_frozen_and_unchanged() -> None:
    teacher = tiny_network(seed=7).train()
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    distilled(teacher)
    assert not teacher.training
    assert not any(p.requires_grad for p in teacher.parameters())
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())


@pytest.mark.parametrize("student", [TinyNetwork, Plain])
def test_equal_seeds_give_equal_bits_and_others_do_not(student: Any) -> None:
    state = torch.get_rng_state()
    first = distilled(student=student, seed=1)
    torch.rand(3)
    again, other = distilled(student=student, seed=1), distilled(student=student, seed=2)
    assert all(map(torch.equal, weights(first), weights(again)))
    assert not all(map(torch.equal, weights(first), weights(other)))
    torch.set_rng_state(state)


def test_the_callers_random_numbers_are_left_alone() -> None:
    state = torch.get_rng_state()
    distilled(student=Plain)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ["rdskd", "dafl", "zskd", "deep-inversion", "noise"])
def test_methods_run_on_a_plain_network(name: str) -> None:
    assert distilled(Plain(), Plain, method=name).ledger.student_steps


def test_a_teacher_without_features_is_refused_by_methods_that_need_them() -> None:
    assert "forward_features" in refusal(Plain(nn.LogSoftmax(dim=1)), method="dafl")
    assert distilled(Plain(nn.LogSoftmax(dim=1)), method="rdskd").ledger.student_steps


def test_a_diverging_student_is_not_returned() -> None:
    with pytest.raises(Diverged):
        distilled(budget=tiny_budget(student_lr=1e30, student_steps=30))


def test_classes_and_shapes_must_fit() -> None:
    message = refusal(student=lambda: TinyNetwork(num_classes=4))
    assert "the student has 4 classes and the teacher 3" in message
    assert "the student does not take images of 2×8×8" in refusal(
        image_shape=(2, 8, 8), mean=(0, 0), std=(1, 1)
    )
    assert "mean has 3 values and an image 1 channels" in refusal(mean=(0.5, 0.5, 0.5))
    assert "above 0" in refusal(std=(0.0,))


@pytest.mark.parametrize("name", ["kd-real", "student-supervised", "metadata"])
def test_methods_that_see_the_teachers_data_are_refused(name: str) -> None:
    message = refusal(method=name)
    assert f"method '{name}' sees" in message
    with pytest.raises(Unsuitable):
        find_method(discover()[name])


def test_the_published_settings_of_a_dataset_can_be_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used: list[Any] = []
    fit = DeepInversion.fit

    def watched(self: DeepInversion, problem: Problem, run: Run) -> nn.Module:
        used.append(self.params)
        return fit(self, problem, run)

    monkeypatch.setattr(DeepInversion, "fit", watched)
    distilled(method="deep-inversion", family="imagenet", params={"jitter": 1})
    assert used == [DeepInversion.build_params({"jitter": 1}, "imagenet")]
    assert (used[0].schedule, used[0].jitter) == ("cosine", 1)
    said = refusal(method="deep-inversion", family="imagnet")
    assert "did you mean 'imagenet'?" in said
    assert "no published settings of its own for 'cifar'" in refusal(method="noise", family="cifar")


def test_an_unknown_method_is_answered_with_the_nearest() -> None:
    assert "did you mean 'rdskd'?" in refusal(method="rdksd")
    with pytest.raises(ParameterError, match="temperature"):
        distilled(params={"temperatur": 3})


def test_proxy_images_are_normalised_and_shown_to_methods_that_see_some() -> None:
    pixels = torch.rand(12, *IMAGE_SHAPE, generator=torch.Generator().manual_seed(0))
    seen: list[Tensor] = []

    class Looks(AlternativeData):
        def synthesize(self, problem: Problem, run: Run) -> SampleSource:
            seen.append(problem.proxy_images)
            return super().synthesize(problem, run)

    assert distilled(method=Looks, proxy_images=pixels).ledger.student_steps
    torch.testing.assert_close(seen[0].double(), (pixels.double() - 0.5) / 0.25)
    assert "needs proxy images" in refusal(method="alternative-data")
    assert "leave them out" in refusal(proxy_images=pixels)
    assert "needed are at least two of 1×8×8" in refusal(
        method="alternative-data", proxy_images=pixels[:, :, :4]
    )


# Budgets


def test_a_preset_with_other_numbers() -> None:
    assert preset("cpu") == PRESETS["cpu"]
    changed = preset("cpu", student_steps=7)
    assert changed == PRESETS["cpu"].model_copy(update={"student_steps": 7})


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("cqu", {}, "did you mean 'cpu'?"),
        ("cpu", {"student_step": 1}, "did you mean 'student_steps'?"),
        ("cpu", {"student_steps": 0}, "student_steps is 0, but input should be greater"),
    ],
)
def test_bad_budgets_are_refused(name: str, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ParameterError) as caught:
        preset(name, **changes)
    assert said in one_line(str(caught.value))
