from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from methods.base.run import Run
from methods.networks.decoding_generator import DecodingGenerator
from methods.synthesis.feature_pool import FeaturePool, exchange_channels, half_of_channels
from tests.helpers import tiny_run

B = 10


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def filled(exchange: float) -> tuple[FeaturePool, DecodingGenerator, Run]:
    _, run = tiny_run()
    generator = DecodingGenerator(5, (1, 8, 8), 4, normalization=((0.5,), (0.25,)))
    pool = FeaturePool(generator, exchange, run)
    for seed in range(2):
        images, maps = generator.with_maps(torch.randn(B, 5, generator=stream(seed)))
        pool.add(images.detach(), maps)
    return pool, generator, run


def test_an_image_takes_the_channels_that_it_does_not_keep_from_its_opposite() -> None:
    features = torch.arange(5.0)[:, None, None, None] + torch.zeros(5, 6, 2, 3)
    kept = half_of_channels(5, 6, stream())
    mixed = exchange_channels(features, kept)
    for i in range(5):
        for channel in range(6):
            owner = i if kept[i, channel] else 4 - i
            assert (mixed[i, channel] == owner).all()


@pytest.mark.parametrize("channels", [1, 6, 7])
def test_every_image_keeps_a_half_of_its_own(channels: int) -> None:
    kept = half_of_channels(400, channels, stream())
    assert (kept.sum(dim=1) == channels // 2).all()
    if channels > 1:
        assert len(kept.unique(dim=0)) > channels
        shares = kept.double().mean(dim=0)
        assert (shares - (channels // 2) / channels).abs().max() < 0.1


def nearest(images: Tensor, others: Tensor) -> Tensor:
    """How far every image is from the nearest of the others, at its worst pixel."""
    distances = (images[:, None] - others[None]).flatten(2).abs().amax(dim=2)
    return distances.amin(dim=1)


@pytest.mark.parametrize("seed", range(4))
def test_without_exchange_images_are_the_present_generators_of_kept_features(seed: int) -> None:
    pool, generator, _ = filled(exchange=0.0)
    with torch.no_grad():
        generator.conv_out.bias.add_(1)
        generator.eval()
        now = [generator.decode(maps.float(), layer) for layer, maps in enumerate(pool._maps)]
    images = pool.make(8, stream(seed))
    assert min(nearest(images, layer).max() for layer in now) < 1e-3
    assert not generator.training


def test_layers_and_exchange_are_chosen_for_every_batch() -> None:
    pool, generator, _ = filled(exchange=0.7)
    with torch.no_grad():
        generator.eval()
        own = [generator.decode(maps.float(), layer) for layer, maps in enumerate(pool._maps)]
    draws, layers, exchanged = stream(), [], 0
    decode = generator.decode
    generator.decode = lambda maps, layer: layers.append(layer) or decode(maps, layer)  # type: ignore[method-assign, func-returns-value]
    for _ in range(200):
        images = pool.make(4, draws)
        exchanged += bool(nearest(images, own[layers[-1]]).max() > 1e-3)
    assert all(abs(layers.count(layer) / 200 - 1 / 3) < 0.12 for layer in range(3))
    # Where a batch draws a feature twice and it is its own opposite, nothing is exchanged.
    assert 0.55 < exchanged / 200 < 0.8


def test_every_batch_is_counted_and_held_out_images_are_not_learnt() -> None:
    pool, _, run = filled(exchange=0.5)
    held_out = pool.validation(99, stream())
    assert len(pool) + len(held_out) == 2 * B
    assert len(held_out) == 2
    before = run.ledger.synthetic_images
    assert before == 2 * B
    next(pool.batches(8, stream()))
    assert run.ledger.synthetic_images == before + 8


def test_a_pool_goes_on_from_its_state() -> None:
    pool, generator, run = filled(exchange=0.5)
    again = FeaturePool(generator, 0.5, run)
    again.load_state_dict(copy.deepcopy(pool.state_dict()))
    for one in (pool, again):
        images, maps = copy.deepcopy(generator).train().with_maps(torch.ones(B, 5).cumsum(0))
        one.add(images.detach(), maps)
    first, second = pool.batches(8, stream()), again.batches(8, stream(1))
    next(first)
    second.load_state_dict(first.state_dict())
    assert torch.equal(next(first).images, next(second).images)
    assert torch.equal(pool.validation(9, stream()), again.validation(9, stream()))


def test_an_empty_pool_says_so() -> None:
    _, run = tiny_run()
    generator = DecodingGenerator(5, (1, 8, 8), 4, normalization=((0.5,), (0.25,)))
    pool = FeaturePool(generator, 0.5, run)
    assert len(pool) == 0
    with pytest.raises(ValueError, match="empty pool"):
        next(pool.batches(8, stream()))
    with pytest.raises(ValueError, match="empty pool"):
        pool.validation(1, stream())
