from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark.tasks.models.lenet import lenet5
from benchmark.tasks.models.resnet import cifar_resnet
from benchmark.tasks.models.small_cnn import SmallCNN
from benchmark.tasks.models.wide_resnet import WideResNet
from methods.networks.activation_maps import (
    RegionReader,
    classifier_of_maps,
    tapped,
    unlike_regions,
)
from methods.own_teacher.interface import PlainNetwork
from tests.helpers import IMAGE_SHAPE, one_line, tiny_network

COLOUR = (3, 16, 16)


def networks() -> dict[str, tuple[nn.Module, tuple[int, int, int]]]:
    """Pooled and flattened features, and layers that work in place."""
    return {
        "pooled": (tiny_network(), IMAGE_SHAPE),
        "flattened": (SmallCNN(3, IMAGE_SHAPE, 2), IMAGE_SHAPE),
        "wide": (WideResNet(10, 1), COLOUR),
        "residual": (cifar_resnet((1, 1, 1, 1)), COLOUR),
    }


def best(logits: Tensor) -> Tensor:
    return logits.argmax(dim=1)


@pytest.mark.parametrize("name", networks())
def test_class_maps_give_the_logits(name: str) -> None:
    network, shape = networks()[name]
    network.eval()
    found = classifier_of_maps(network, shape)
    assert found is not None
    layer, size = found
    reader = RegionReader(network, shape, of_classes=True, of_stages=False)
    images = torch.randn(3, *shape)
    regions = reader(images, best)
    assert regions.of_classes is not None
    assert tuple(regions.of_classes.shape[2:]) == size
    whole = regions.of_classes.sum(dim=(2, 3))
    logits = whole if name == "flattened" else whole / (size[0] * size[1])
    torch.testing.assert_close(logits + layer.bias, network(images), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("name", ["wide", "residual"])
def test_grad_cams_are_of_the_gradients_of_the_chosen_logit(name: str, frozen: bool) -> None:
    network, shape = networks()[name]
    reader = RegionReader(network, shape, of_classes=False, of_stages=True)
    network.double().eval().requires_grad_(not frozen)
    images = torch.randn(3, *shape, dtype=torch.float64)
    chosen = torch.tensor([2, 0, 1])
    regions = reader(images, lambda logits: chosen)
    # Each stage by itself: the slopes are those of a shift that is added to its end.
    names = reader._stages
    ends = [network.get_submodule(name) for name in names]
    assert len(ends) == len(regions.of_stages) == (3 if name == "wide" else 4)
    for end, found in zip(ends, regions.of_stages, strict=True):
        added: list[Tensor] = []

        def add(module: nn.Module, inputs: Any, output: Tensor, added: Any = added) -> Tensor:
            shift = torch.zeros_like(output).requires_grad_()
            added += [shift, output.detach().clone()]
            return output.detach().clone() + shift

        handle = end.register_forward_hook(add)
        logits = network(images)
        handle.remove()
        (slopes,) = torch.autograd.grad(logits[range(3), chosen].sum(), added[0])
        expected = (slopes.mean(dim=(2, 3), keepdim=True) * added[1]).sum(dim=1)
        torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-5)
        assert found.requires_grad != frozen


def test_a_frozen_network_has_a_graph_for_its_maps_alone() -> None:
    network = tiny_network().eval().requires_grad_(False)
    reader = RegionReader(network, IMAGE_SHAPE, of_classes=True, of_stages=True)
    images = torch.randn(3, *IMAGE_SHAPE)
    regions = reader(images, best)
    assert regions.of_classes is not None
    assert not any(part.requires_grad for part in (regions.of_classes, *regions.of_stages))
    assert not any(module._forward_hooks for module in network.modules())


def test_later_layers_in_place_leave_what_was_tapped_alone() -> None:
    network = nn.Sequential(nn.Identity(), nn.ReLU(inplace=True))
    values = torch.tensor([-1.0, 2.0], requires_grad=True)
    with tapped(network, ["0"]) as taken:
        out = network(values * 1)
    assert taken["0"].tolist() == [-1.0, 2.0]
    (slope,) = torch.autograd.grad(out.sum(), taken["0"])
    assert slope.tolist() == [0.0, 1.0]


def test_hidden_layers_and_vectors_have_no_class_maps() -> None:
    assert classifier_of_maps(lenet5().eval(), (1, 32, 32)) is None
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()
    assert classifier_of_maps(PlainNetwork(plain, torch.randn(2, 1, 8, 8)), (1, 8, 8)) is None
    with pytest.raises(ValueError, match="not linear"):
        RegionReader(lenet5(), (1, 32, 32), of_classes=True, of_stages=False)


def test_features_pooled_by_the_maximum_have_no_class_maps() -> None:
    class Maximum(type(tiny_network())):  # type: ignore[misc]
        def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
            pooled = features.amax(dim=(2, 3))
            return pooled if pre_logits else self.classifier(pooled)

    assert classifier_of_maps(Maximum(), IMAGE_SHAPE) is None


@pytest.mark.parametrize("training", [True, False])
def test_looking_leaves_a_network_as_it_was(training: bool) -> None:
    network = tiny_network().train(training)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    pair = network, tiny_network(1)
    assert unlike_regions(*pair, IMAGE_SHAPE, of_classes=True, of_stages=True) is None
    assert network.training == network.norm.training == training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_other_sizes_are_said_in_one_line() -> None:
    pair = WideResNet(10, 1), cifar_resnet((1, 1, 1, 1))
    of_classes = unlike_regions(*pair, COLOUR, of_classes=True, of_stages=False)
    assert "differ in size; cam=0" in one_line(of_classes or "")
    of_stages = unlike_regions(*pair, COLOUR, of_classes=False, of_stages=True)
    assert "2×2" in one_line(of_stages or "")
    assert unlike_regions(*pair, COLOUR, of_classes=False, of_stages=False) is None
