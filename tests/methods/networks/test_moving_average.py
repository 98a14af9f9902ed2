from __future__ import annotations

import pytest
import torch

from methods.networks.moving_average import MovingAverage
from tests.helpers import IMAGE_SHAPE, TinyNetwork, tiny_network


def steps(network: TinyNetwork, average: MovingAverage[TinyNetwork], count: int) -> list[float]:
    """The values of one weight as it is changed again and again, the first included."""
    seen = [float(network.classifier.bias[0].detach())]
    for i in range(count):
        with torch.no_grad():
            network.classifier.bias += i + 1
        average.update(network)
        seen.append(float(network.classifier.bias[0].detach()))
    return seen


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.95])
def test_a_parameter_is_the_weighted_sum_of_all_that_it_was(momentum: float) -> None:
    network = tiny_network()
    average = MovingAverage(network, momentum)
    first, *later = steps(network, average, 4)
    expected = momentum**4 * first + sum(
        (1 - momentum) * momentum ** (3 - i) * value for i, value in enumerate(later)
    )
    assert float(average.network.classifier.bias[0]) == pytest.approx(expected, rel=1e-6)


def test_it_begins_as_the_network_and_leaves_the_network_alone() -> None:
    network = tiny_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    average = MovingAverage(network, 0.9)
    average.update(network)
    for state in (network.state_dict(), average.network.state_dict()):
        assert all(torch.equal(value, before[name]) for name, value in state.items())
    own = {id(p) for p in network.parameters()}
    assert not own & {id(p) for p in average.network.parameters()}


def test_statistics_of_batch_norm_are_copied() -> None:
    network = tiny_network()
    average = MovingAverage(network, 0.9)
    network.train()(torch.randn(4, *IMAGE_SHAPE, generator=torch.Generator().manual_seed(0)))
    average.update(network)
    for copied, own in zip(average.network.buffers(), network.buffers(), strict=True):
        assert torch.equal(copied, own)


def test_only_the_network_learns() -> None:
    network = tiny_network()
    average = MovingAverage(network, 0.9)
    assert not any(p.requires_grad for p in average.network.parameters())
    assert all(p.requires_grad for p in network.parameters())
