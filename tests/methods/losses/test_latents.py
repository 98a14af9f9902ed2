"""Terms of latents, each against its formula worked out independently in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from methods.losses.latents import moment_matching_loss, normal_divergence_loss

STREAM = torch.Generator().manual_seed(0)
MEAN, LOG_VARIANCE = torch.randn(2, 5, 3, generator=STREAM, dtype=torch.float64)


def test_the_divergence_is_that_of_the_distributions_summed_over_entries() -> None:
    own = Normal(MEAN, (LOG_VARIANCE / 2).exp())
    expected = kl_divergence(own, Normal(torch.zeros_like(MEAN), 1.0)).sum(dim=1).mean()
    assert float(normal_divergence_loss(MEAN, LOG_VARIANCE)) == pytest.approx(float(expected))


def test_the_divergence_of_a_normal_latent_is_0() -> None:
    assert float(normal_divergence_loss(torch.zeros(4, 2), torch.zeros(4, 2))) == 0


def test_moments_are_compared_entry_by_entry_over_the_batch() -> None:
    latents = (2 * MEAN + 1).numpy()
    squares = [m**2 for m in latents.mean(axis=0)]
    squares += [(v - 1) ** 2 for v in latents.var(axis=0, ddof=1)]
    found = float(moment_matching_loss(torch.from_numpy(latents)))
    assert found == pytest.approx(np.sum(squares) / 3)


def test_a_step_along_its_gradient_makes_a_batch_more_normal() -> None:
    latents = (2 * MEAN + 1).requires_grad_()
    loss = moment_matching_loss(latents)
    (gradient,) = torch.autograd.grad(loss, latents)
    assert moment_matching_loss(latents - 0.1 * gradient) < loss
