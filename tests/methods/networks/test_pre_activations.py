from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.tasks.models.lenet import lenet5
from benchmark.tasks.models.resnet import cifar_resnet
from benchmark.tasks.models.wide_resnet import WideResNet, wide_resnet
from methods.networks.inspection import has_hooks
from methods.networks.pre_activations import hidden_layers, listening
from methods.synthesis.activation_statistics import collect_records
from tests.helpers import tiny_network


class Small(nn.Module):
    """conv 1→2, ReLU, linear 5, ReLU, linear 3, on 1×6×6 images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.fc = nn.Linear(32, 5)
        self.classifier = nn.Linear(5, 3)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.conv(images)).flatten(1)
        logits: Tensor = self.classifier(F.relu(self.fc(x)))
        return logits


def seeded(make: type[nn.Module] | object, *arguments: object) -> nn.Module:
    """A network in eval mode whose BatchNorms are not the identity."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network: nn.Module = make(*arguments)  # type: ignore[operator]
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.weight.data.uniform_(0.5, 1.5)
                layer.bias.data.normal_()
                layer.running_mean.normal_(0, 0.1)  # type: ignore[union-attr, operator]
                layer.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr, operator]
    return network.double().eval()


def images(count: int, side: int = 8) -> Tensor:
    stream = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, side, side, generator=stream, dtype=torch.float64)


def normalized(layer: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """γ(x − μ)/√(σ² + ε) + β from the stored statistics."""
    assert layer.running_mean is not None
    assert layer.running_var is not None
    mean, variance, weight, bias = (
        value.view(1, -1, 1, 1)
        for value in (layer.running_mean, layer.running_var, layer.weight, layer.bias)
    )
    return weight * (x - mean) / (variance + layer.eps).sqrt() + bias


def convolved(layer: nn.Conv2d, x: Tensor) -> Tensor:
    return F.conv2d(x, layer.weight, layer.bias, layer.stride, layer.padding)


def wide_resnet_by_hand(network: WideResNet, x: Tensor) -> dict[str, Tensor]:
    """Everything a wide ResNet rectifies, by name."""
    found = {}
    x = convolved(network.conv1, x)
    for i, block in enumerate(network.groups):
        found[f"groups.{i}.norm1"] = normalized(block.norm1, x)  # type: ignore[arg-type]
        activated = found[f"groups.{i}.norm1"].clamp(min=0)
        inner = convolved(block.conv1, activated)  # type: ignore[arg-type]
        found[f"groups.{i}.norm2"] = normalized(block.norm2, inner)  # type: ignore[arg-type]
        branch = convolved(block.conv2, found[f"groups.{i}.norm2"].clamp(min=0))  # type: ignore[arg-type]
        shortcut = block.shortcut
        x = branch + (x if shortcut is None else convolved(shortcut, activated))  # type: ignore[arg-type]
    found["norm"] = normalized(network.norm, x)
    return found


def resnet_by_hand(network: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Everything a ResNet of basic blocks rectifies: behind each first BatchNorm, and the sums."""
    parts = dict(network.named_modules())

    def layer(name: str, x: Tensor) -> Tensor:
        module = parts[name]
        return normalized(module, x) if isinstance(module, nn.BatchNorm2d) else convolved(module, x)  # type: ignore[arg-type]

    found = {"bn1": layer("bn1", layer("conv1", x))}
    x = found["bn1"].clamp(min=0)
    for name in ("layer1.0", "layer2.0", "layer3.0", "layer4.0"):
        found[f"{name}.bn1"] = layer(f"{name}.bn1", layer(f"{name}.conv1", x))
        inner = found[f"{name}.bn1"].clamp(min=0)
        branch = layer(f"{name}.bn2", layer(f"{name}.conv2", inner))
        if f"{name}.downsample" in parts:
            x = layer(f"{name}.downsample.1", layer(f"{name}.downsample.0", x))
        found[f"{name}.act2"] = branch + x
        x = found[f"{name}.act2"].clamp(min=0)
    return found


def check_against(network: nn.Module, expected: dict[str, Tensor], x: Tensor) -> None:
    """The names, what is heard, and the means by class that are recorded."""
    assert hidden_layers(network, x[:1]) == list(expected)
    with listening(network, list(expected)) as heard:
        network(x)
    for name, values in expected.items():
        torch.testing.assert_close(heard[name], values)
        assert values.min() < 0
    labels = torch.arange(len(x)) % 2
    records = collect_records(network, x, labels, 2, covariance_limit=0)
    assert records.hidden == list(expected)
    for layer in records.layers[:-1]:
        for label in (0, 1):
            own = expected[layer.name][labels == label].flatten(1).mean(0).float()
            torch.testing.assert_close(layer.mean[label], own, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_a_wide_resnet_is_heard_before_every_relu() -> None:
    network, x = seeded(wide_resnet, 16, 1), images(6)
    assert isinstance(network, WideResNet)
    check_against(network, wide_resnet_by_hand(network, x), x)


@torch.no_grad()
def test_a_resnet_is_heard_before_every_relu_the_sums_of_its_blocks_included() -> None:
    network, x = seeded(cifar_resnet, (1, 1, 1, 1)), images(4)
    check_against(network, resnet_by_hand(network, x), x)


def test_a_layer_that_is_rectified_gives_the_name() -> None:
    assert hidden_layers(tiny_network().eval(), torch.zeros(1, 1, 8, 8)) == ["norm"]
    assert hidden_layers(Small(), torch.zeros(1, 1, 6, 6)) == ["conv", "fc"]
    grey = torch.zeros(1, 1, 32, 32)
    assert hidden_layers(lenet5().eval(), grey) == ["conv1", "conv2", "conv3", "fc1"]


def test_a_module_called_twice_is_left_out() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.again = nn.Linear(4, 4), nn.Linear(4, 4)
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x: Tensor) -> Tensor:
            x = self.relu(self.first(x))
            x = self.relu(self.again(x) + x)
            return self.relu(self.again(x) + x)

    assert hidden_layers(Twice(), torch.randn(1, 4)) == ["first"]


def test_a_listener_hears_only_within_its_block_and_leaves_nothing() -> None:
    network = Small()
    with listening(network, ["conv", "fc"]) as heard:
        network(torch.randn(5, 1, 6, 6))
        assert {name: tuple(value.shape) for name, value in heard.items()} == {
            "conv": (5, 2, 4, 4),
            "fc": (5, 5),
        }
    assert not has_hooks(network)


def test_hooks_are_removed_when_the_network_fails() -> None:
    network, wrong = Small(), torch.zeros(1, 3, 6, 6)
    with pytest.raises(RuntimeError), listening(network, ["conv"]):
        network(wrong)
    with pytest.raises(AttributeError), listening(network, ["conv", "absent"]):
        pass
    with pytest.raises(RuntimeError):
        hidden_layers(network, wrong)
    with pytest.raises(RuntimeError):
        collect_records(network, wrong, torch.tensor([0]), 1)
    assert not has_hooks(network)
