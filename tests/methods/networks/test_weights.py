from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from methods.networks.generators import UpsamplingGenerator
from methods.networks.weights import normalize_spectra, uniform_initialize


def convolution() -> nn.Conv2d:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 4, 3)
    normalize_spectra(layer)
    return layer


def largest(weight: Tensor) -> float:
    return float(torch.linalg.matrix_norm(weight.detach().double().flatten(1), 2))


def original(layer: nn.Conv2d) -> Tensor:
    return layer.parametrizations.weight.original  # type: ignore[union-attr, return-value]


def state(layer: nn.Conv2d) -> Tensor:
    (u,) = [buffer for name, buffer in layer.named_buffers() if name.endswith(".u")]
    return u.clone()


def test_weights_begin_in_the_interval_and_biases_at_0() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 30, 3), nn.BatchNorm2d(30), nn.Linear(30, 50))
    uniform_initialize(network, 0.08)
    for layer in (network[0], network[2]):
        assert 0.07 < float(layer.weight.detach().abs().max()) <= 0.08
        assert float(layer.weight.detach().std()) == pytest.approx(0.08 / 3**0.5, rel=0.1)
        assert not layer.bias.any()
    assert bool((network[1].weight == 1).all())


def test_after_some_passes_the_largest_singular_value_is_1() -> None:
    layer = convolution()
    images = torch.randn(2, 3, 5, 5)
    for _ in range(50):
        layer(images)
    assert largest(layer.weight) == pytest.approx(1, rel=1e-3)
    expected = original(layer) / largest(original(layer))
    assert torch.allclose(layer.weight, expected, rtol=1e-3)


def test_a_pass_takes_one_step_of_the_power_method_and_its_gradient_holds_the_vectors() -> None:
    layer = convolution()
    matrix = original(layer).detach().double().flatten(1).requires_grad_()
    u = state(layer).double()
    with torch.no_grad():
        v = matrix.t() @ u
        v = v / v.norm()
        u = matrix @ v
        u = u / u.norm()
    expected = matrix / (u @ matrix @ v)
    weight = layer.weight
    assert torch.allclose(weight.flatten(1).double(), expected, rtol=1e-5, atol=1e-7)
    assert torch.allclose(state(layer).double(), u, rtol=1e-5)
    weight.square().sum().backward()
    expected.square().sum().backward()
    assert matrix.grad is not None
    assert torch.allclose(
        original(layer).grad.flatten(1).double(),  # type: ignore[union-attr]
        matrix.grad,
        rtol=1e-4,
        atol=1e-5,
    )


def test_looking_changes_nothing() -> None:
    layer = convolution()
    before = state(layer)
    with torch.no_grad():
        assert torch.equal(layer.weight, layer.weight)
    layer.eval()
    layer(torch.zeros(1, 3, 5, 5))
    assert torch.equal(state(layer), before)
    layer.train()
    layer(torch.zeros(1, 3, 5, 5))
    assert not torch.equal(state(layer), before)


def test_it_is_float32_under_autocast() -> None:
    layer = convolution()
    expected = layer.eval().weight
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer.weight, expected)


def test_both_forms_of_a_generator_have_the_norms() -> None:
    torch.manual_seed(0)
    generator = UpsamplingGenerator(5, (1, 8, 8), 4)
    normalize_spectra(generator)
    assert len([name for name, _ in generator.named_buffers() if name.endswith(".u")]) == 3
    latents = torch.randn(6, 5)
    with torch.no_grad():
        images = generator.batch_last(latents)
        assert torch.allclose(images, generator.plain(latents), atol=1e-4)
        original(generator.conv1).mul_(7)  # the size is normalised away
        assert torch.allclose(images, generator(latents), atol=1e-4)
