from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

import methods.networks.decoding_generator as module
from methods.networks.decoding_generator import DecodingGenerator


def generator(width: int = 6) -> DecodingGenerator:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return DecodingGenerator(5, (2, 8, 12), width, normalization=((0.4, 0.5), (0.2, 0.3)))


@pytest.mark.parametrize("training", [True, False])
def test_images_are_those_of_the_generator_that_is_not_cut(training: bool) -> None:
    cut = generator().double().train(training)
    whole, latents = copy.deepcopy(cut), torch.randn(7, 5, dtype=torch.float64)
    images, maps = cut.with_maps(latents)
    torch.testing.assert_close(images, whole.plain(latents))
    for mine, other in zip(cut.buffers(), whole.buffers(), strict=True):
        torch.testing.assert_close(mine, other)
    assert [tuple(layer.shape[1:]) for layer in maps] == [(6, 2, 3), (6, 4, 6), (3, 8, 12)]
    assert not any(layer.requires_grad for layer in maps)


@pytest.mark.parametrize("layer", range(DecodingGenerator.LAYERS))
def test_maps_are_decoded_to_their_images(layer: int) -> None:
    cut = generator().double().eval()
    images, maps = cut.with_maps(torch.randn(7, 5, dtype=torch.float64))
    torch.testing.assert_close(cut.decode(maps[layer], layer), images)


def test_the_form_of_cpus_is_the_same_function(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = generator().double().train()
    other, latents = copy.deepcopy(cut), torch.randn(7, 5, dtype=torch.float64)
    images, maps = cut.with_maps(latents)
    images.square().sum().backward()
    monkeypatch.setattr(module, "_on_cpu", lambda x: False)
    plain, plain_maps = other.with_maps(latents)
    plain.square().sum().backward()
    torch.testing.assert_close(images, plain)
    torch.testing.assert_close(maps, plain_maps)
    for mine, theirs in zip(cut.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)
    for layer in range(DecodingGenerator.LAYERS):
        monkeypatch.setattr(module, "_on_cpu", lambda x: True)
        faster = cut.eval().decode(maps[layer], layer)
        monkeypatch.setattr(module, "_on_cpu", lambda x: False)
        torch.testing.assert_close(faster, other.eval().decode(maps[layer], layer))


def test_weights_start_with_the_variance_of_their_inputs() -> None:
    network = generator(width=64)
    for layer in (network.conv1, network.conv2):
        inputs = layer.in_channels * 9
        assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / inputs), rel=0.05)
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
        assert 0 < norm.weight.std().item() < 0.04
        assert norm.eps == 1e-5


def test_a_size_that_cannot_be_halved_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="divisible by 4"):
        DecodingGenerator(5, (1, 10, 8), 4, normalization=((0.5,), (0.5,)))
