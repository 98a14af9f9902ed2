"""Adversarial terms, each against its formula worked out in float64 with numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from methods.losses.adversarial import (
    disagreement_loss,
    logit_distance_loss,
    masked_disagreement_loss,
)

STUDENT, TEACHER = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0)) * 3


def probabilities(logits: torch.Tensor, temperature: float = 1.0) -> np.ndarray:
    scaled = logits.double().numpy() / temperature
    powers = np.exp(scaled - scaled.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def divergences(temperature: float = 1.0) -> np.ndarray:
    p, q = probabilities(TEACHER, temperature), probabilities(STUDENT, temperature)
    return (p * (np.log(p) - np.log(q))).sum(1)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_disagreement_is_the_negative_divergence(temperature: float) -> None:
    found = float(disagreement_loss(STUDENT, TEACHER, temperature))
    assert found == pytest.approx(-divergences(temperature).mean(), rel=1e-5)
    by_element = float(disagreement_loss(STUDENT, TEACHER, temperature, "element"))
    assert by_element == pytest.approx(-divergences(temperature).mean() / 4, rel=1e-5)


def test_the_mask_leaves_out_where_they_have_other_classes() -> None:
    student = STUDENT.clone()
    student[:3] = TEACHER[:3] * 0.5  # these agree, and with less confidence
    student[3:] = -TEACHER[3:]
    p, q = probabilities(TEACHER), probabilities(student)
    expected = -(p * (np.log(p) - np.log(q))).sum(1)[:3].sum() / 6
    assert float(masked_disagreement_loss(student, TEACHER)) == pytest.approx(expected, rel=1e-5)


def test_the_masked_term_is_0_where_they_agree_nowhere() -> None:
    assert float(masked_disagreement_loss(-TEACHER, TEACHER)) == 0


def test_its_gradient_raises_the_divergence_where_they_agree() -> None:
    student = (TEACHER * 0.9).requires_grad_()
    loss = masked_disagreement_loss(student, TEACHER)
    (gradient,) = torch.autograd.grad(loss, student)
    further = masked_disagreement_loss(student - 0.1 * gradient.sign(), TEACHER)
    assert further < loss < 0


@pytest.mark.parametrize("form", ["negative", "log"])
def test_the_distance_of_logits_is_a_mean_over_images_and_classes(form: str) -> None:
    distance = np.abs(STUDENT.double().numpy() - TEACHER.double().numpy()).mean()
    expected = -distance if form == "negative" else -np.log(distance + 1)
    found = logit_distance_loss(STUDENT, TEACHER, form)  # type: ignore[arg-type]
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_the_pixels_of_maps_are_samples() -> None:
    student, teacher = (
        logits.view(2, 3, 4, 1).permute(0, 2, 1, 3) for logits in (STUDENT, TEACHER)
    )
    for loss in (disagreement_loss, masked_disagreement_loss, logit_distance_loss):
        assert torch.allclose(loss(student, teacher), loss(STUDENT, TEACHER))
