"""The memory by a variational autoencoder: its losses, what it costs, and its state."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from methods.base.run import Run
from methods.synthesis.replay import ReplayMemory
from tests.helpers import IMAGE_SHAPE, tiny_run

SMALL = {
    "latent_dim": 5,
    "width": 4,
    "rate": 0.01,
    "latent_rate": 0.1,
    "one_hot": 1.0,
    "entropy": 5.0,
    "divergence": 1e-5,
}


def memory(**settings: Any) -> tuple[ReplayMemory, Run]:
    problem, run = tiny_run()
    return ReplayMemory(problem, run, **{**SMALL, **settings}), run


def images(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, *IMAGE_SHAPE, generator=torch.Generator().manual_seed(seed))


def test_a_step_is_on_images_and_answers_to_them_and_the_divergence_of_latents() -> None:
    kept, _ = memory(divergence=0.3)
    given = images(8)
    encoder, decoder = (copy.deepcopy(x).train() for x in (kept.encoder, kept.decoder))
    with torch.no_grad():
        mean, log_variance = encoder(given)
        noise = torch.randn(8, 5, generator=copy.deepcopy(kept).latents)
        again = decoder(mean + torch.exp(log_variance / 2) * noise)
        answers = [kept.teacher.network(x).double().numpy() for x in (again, given)]
    m, v = mean.double().numpy(), np.exp(log_variance.double().numpy())
    divergence = (m**2 + v - np.log(v) - 1).sum(axis=1).mean() / 2
    distances = [
        np.abs(one - other).mean()
        for one, other in ((again.double().numpy(), given.double().numpy()), answers)
    ]
    assert float(kept.learn(given, 4)) == pytest.approx(sum(distances) + 0.3 * divergence, rel=1e-4)


def test_latents_take_one_step_of_adam_on_classes_and_moments() -> None:
    kept, _ = memory()
    kept.decoder.eval()
    latents = torch.randn(6, 5, generator=copy.deepcopy(kept).latents).requires_grad_()
    logits = kept.teacher.network(kept.decoder(latents))
    chances = logits.softmax(dim=1)
    mean = chances.mean(dim=0)
    loss = -chances.max(dim=1).values.log().mean() + 5 * (mean * mean.log()).sum()
    loss = loss + latents.mean(dim=0).square().mean() + (latents.var(dim=0) - 1).square().mean()
    (gradient,) = torch.autograd.grad(loss, latents)
    # Adam's first step is the sign of the gradient times the rate.
    refined = latents.detach() - 0.1 * gradient.sign()
    kept.recall(6)
    with torch.no_grad():
        assert torch.allclose(kept.take(torch.arange(6)), kept.decoder(refined), atol=1e-4)


def test_recalling_changes_no_weight_and_leaves_no_gradient() -> None:
    kept, _ = memory()
    kept.learn(images(8), 4)
    kept.optimizer.zero_grad()
    before = copy.deepcopy(kept.decoder.state_dict())
    kept.recall(8)
    assert all(
        torch.equal(value, before[name]) for name, value in kept.decoder.state_dict().items()
    )
    assert all(p.grad is None for p in kept.decoder.parameters())


def test_it_learns_to_make_what_it_is_shown() -> None:
    kept, _ = memory(width=8)
    shown = images(16)
    losses = [float(kept.learn(shown, 2)) for _ in range(60)]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_the_first_step_has_no_images_of_its_own_and_all_are_counted() -> None:
    kept, run = memory()
    kept.learn(images(4), own=2)
    counts = {"synthetic_images": 4, "teacher_forward": 8, "teacher_backward": 4}
    assert {name: run.ledger.counts().get(name, 0) for name in counts} == counts
    kept.learn(images(4), own=2)
    later = {"synthetic_images": 4 + 6, "teacher_forward": 2 + 12, "teacher_backward": 2 + 6}
    expected = {name: counts[name] + later[name] for name in counts}
    assert {name: run.ledger.counts().get(name, 0) for name in counts} == expected


def test_batches_are_of_what_was_recalled_last() -> None:
    kept, _ = memory()
    batches = kept.batches(9, torch.Generator().manual_seed(0))
    assert len(kept) == 0
    with pytest.raises(ValueError, match="empty memory"):
        next(batches)
    for _ in range(2):
        kept.recall(3)
        recalled = kept.take(torch.arange(len(kept)))
        drawn = next(batches).images
        assert all(any(torch.equal(one, other) for other in recalled) for one in drawn)


def test_looking_at_it_asks_the_teacher_nothing_and_changes_nothing() -> None:
    kept, run = memory()
    kept.learn(images(8), 4)
    before, spent = copy.deepcopy(kept.state_dict()), run.ledger.counts()
    assert kept.validation(5, torch.Generator()).shape == (5, *IMAGE_SHAPE)
    assert run.ledger.counts() == spent
    pairs = zip(before["decoder"].values(), kept.decoder.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert torch.equal(before["latents"], kept.latents.get_state())


def test_it_goes_on_from_its_state() -> None:
    first, _ = memory()
    first.learn(images(8), 4)
    again, _ = memory()
    again.load_state_dict(copy.deepcopy(first.state_dict()))
    for kept in (first, again):
        kept.learn(images(8, 1), 4)
        kept.recall(6)
    everything = torch.arange(6)
    assert torch.equal(first.take(everything), again.take(everything))


def test_its_size_is_the_same_however_long_it_learns() -> None:
    kept, _ = memory()
    before = kept.nbytes
    for step in range(2):
        kept.learn(images(8, step), 4)
    moments = [
        value
        for state in kept.optimizer.state.values()
        for name, value in state.items()
        if name != "step"
    ]
    networks = (*kept.encoder.state_dict().values(), *kept.decoder.state_dict().values())
    tensors = (*moments, *networks)
    assert kept.nbytes == before == sum(math.prod(x.shape) * x.element_size() for x in tensors)
