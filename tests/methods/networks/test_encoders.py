from __future__ import annotations

import pytest
import torch

from methods.networks.encoders import VariationalEncoder


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 8, 8), (1, 12, 20), (1, 4, 4)])
def test_it_gives_two_numbers_for_every_entry_of_a_latent(shape: tuple[int, int, int]) -> None:
    encoder = VariationalEncoder(5, shape, 4)
    mean, log_variance = encoder(torch.randn(6, *shape))
    assert mean.shape == log_variance.shape == (6, 5)
    assert not torch.equal(mean, log_variance)


def test_its_layers_are_the_released_ones() -> None:
    encoder = VariationalEncoder(1000, (3, 32, 32))
    weights = [tuple(p.shape) for p in encoder.parameters() if p.dim() > 1]
    assert weights == [
        (64, 3, 3, 3),
        (128, 64, 3, 3),
        (128, 128, 3, 3),
        (1000, 32 * 8 * 8),
        (1000, 32 * 8 * 8),
    ]


def test_it_does_not_see_how_bright_a_column_is() -> None:
    encoder = VariationalEncoder(5, (1, 8, 8), 4).eval()
    images = torch.randn(3, 1, 8, 8)
    brighter = images * torch.linspace(0.5, 4, 8)
    assert torch.allclose(encoder(images)[0], encoder(brighter)[0], atol=1e-5)
