from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from benchmark.tasks.models.lenet import lenet5, lenet5_half
from benchmark.tasks.models.resnet import resnet18, resnet34
from benchmark.tasks.models.wide_resnet import WideResNet
from methods.networks.pre_activations import listening
from methods.networks.stages import stages, unlike_stages
from tests.helpers import one_line

COLOUR = (3, 32, 32)


@pytest.mark.parametrize(("depth", "blocks"), [(16, 2), (40, 6)])
def test_a_wide_resnet_s_stages_end_with_its_groups(depth: int, blocks: int) -> None:
    network = WideResNet(depth, 1)
    found = stages(network, COLOUR)
    assert list(found) == [(32, 32), (16, 16), (8, 8)]
    ends = [network.groups[blocks * (i + 1) - 1] for i in range(3)]
    images = torch.randn(2, *COLOUR)
    outputs: list[Tensor] = []
    for end in ends:
        end.register_forward_hook(lambda module, inputs, output: outputs.append(output.clone()))
    with torch.no_grad(), listening(network.eval(), list(found.values())) as maps:
        network(images)
    for name, output in zip(found.values(), outputs, strict=True):
        assert torch.equal(maps[name], output)


def test_depth_and_width_may_differ_but_not_the_sizes() -> None:
    assert (
        unlike_stages(stages(WideResNet(40, 2), COLOUR), stages(WideResNet(16, 1), COLOUR)) is None
    )
    assert unlike_stages(stages(resnet34(), COLOUR), stages(resnet18(), COLOUR)) is None
    other = unlike_stages(stages(resnet34(), COLOUR), stages(WideResNet(16, 1), COLOUR))
    assert "4×4" in one_line(other or "")


def test_a_network_without_blocks_has_the_stages_of_its_layers() -> None:
    teacher, student = stages(lenet5(), (1, 32, 32)), stages(lenet5_half(), (1, 32, 32))
    assert list(teacher.items()) == [((28, 28), "conv1"), ((10, 10), "conv2")]
    assert unlike_stages(teacher, student) is None


def test_a_network_without_maps_has_no_attention() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    assert stages(flat, (1, 8, 8)) == {}
    assert "no feature maps" in one_line(unlike_stages({}, {}) or "")


@pytest.mark.parametrize("training", [True, False])
def test_looking_for_stages_leaves_a_network_as_it_was(training: bool) -> None:
    network = WideResNet(10, 1).train(training)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    stages(network, COLOUR)
    assert network.training == network.norm.training == training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())
