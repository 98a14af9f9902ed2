"""Recorded steps, as far as a CPU can show them; `tests/test_cuda.py` has the rest."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.cuda_graphs import Gradients, Replayed, has_dropout
from methods.objectives import Distillation
from methods.objectives.registry import discover_objectives
from methods.sources import Batch
from tests.helpers import IMAGE_SHAPE, NUM_CLASSES, tiny_network


def batch(seed: int, size: int = 6) -> Batch:
    stream = torch.Generator().manual_seed(seed)
    images = torch.randn(size, *IMAGE_SHAPE, generator=stream)
    return Batch(images, torch.randint(NUM_CLASSES, (size,), generator=stream))


def test_losses_and_gradients_are_those_of_each_network_alone() -> None:
    networks = [tiny_network(0), tiny_network(1)]
    gradients = Gradients(
        [lambda b, n=n: F.cross_entropy(n(b.images), b.labels) for n in networks],  # type: ignore[misc]
        [parameter for network in networks for parameter in network.parameters()],
        torch.device("cpu"),
    )
    for step in range(5):
        batches = [batch(step), batch(100 + step)]
        losses = gradients(batches)
        for seed, (network, seen, loss) in enumerate(zip(networks, batches, losses, strict=True)):
            alone = tiny_network(seed)
            expected = F.cross_entropy(alone(seen.images), seen.labels)
            expected.backward()
            assert torch.equal(loss, expected.detach())
            assert not loss.requires_grad
            for a, b in zip(network.parameters(), alone.parameters(), strict=True):
                assert torch.equal(a.grad, b.grad)  # type: ignore[arg-type]


def test_a_cpu_calls_a_function_as_it_is_written() -> None:
    calls = []

    def compute(x: Tensor) -> list[Tensor]:
        calls.append(len(x))
        return [2 * x]

    replayed = Replayed(compute, torch.device("cpu"))
    for size in (1, 2, 3, 4, 5):
        (doubled,) = replayed(torch.ones(size))
        assert torch.equal(doubled, torch.full((size,), 2.0))
    assert calls == [1, 2, 3, 4, 5]
    assert not replayed.replays


def test_a_network_that_draws_random_numbers_is_told_apart() -> None:
    assert not has_dropout(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.0)))
    assert has_dropout(nn.Sequential(nn.Linear(2, 2), nn.Dropout2d(0.1)))


@pytest.mark.parametrize("name", sorted(discover_objectives()))
def test_what_trains_more_than_the_student_is_not_recorded(name: str) -> None:
    """An objective of the registry keeps things of its own, unless it says otherwise."""
    assert not discover_objectives()[name].replayable
    assert Distillation(1.0).replayable
