from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from methods.networks.generators import UpsamplingGenerator
from methods.networks.summed_codes import SummedCodeGenerator

SHAPE = (1, 8, 8)


def generator(classes: int = 3) -> SummedCodeGenerator:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SummedCodeGenerator(5, SHAPE, classes, 4)


def latents(count: int, size: int) -> Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(1))


def test_an_image_is_drawn_from_noise_and_the_code_of_its_class() -> None:
    network = generator()
    plain = UpsamplingGenerator(5, SHAPE, 4, 1e-5)
    rest = {name: value for name, value in network.state_dict().items() if "codes" not in name}
    plain.load_state_dict(rest)
    given = latents(6, network.latent_dim)
    classes = [int(np.argmax(row[5:])) for row in given.numpy()]
    assert network.labels(given).tolist() == classes
    summed = torch.stack(
        [row[:5] + network.codes.weight[y] for row, y in zip(given, classes, strict=True)]
    )
    assert torch.allclose(network(given), plain(summed), atol=1e-6)


def test_every_class_is_drawn_equally_often() -> None:
    network = generator(classes=4)
    counts = torch.bincount(network.labels(latents(4000, network.latent_dim)), minlength=4)
    assert counts.sum() == 4000
    assert (counts - 1000).abs().max() < 150  # more than five standard deviations


def test_images_train_the_codes_of_their_classes() -> None:
    network = generator().eval()  # BatchNorm of a batch would lead to all codes
    given = latents(6, network.latent_dim)
    given[:, 5:] = torch.tensor([0.0, 1.0, 0.0])
    network(given).square().sum().backward()
    assert network.codes.weight.grad is not None
    trained = network.codes.weight.grad.abs().sum(dim=1) > 0
    assert trained.tolist() == [False, True, False]


def test_the_penalty_is_the_mean_excess_over_a_norm_of_one() -> None:
    network = generator()
    with torch.no_grad():
        network.codes.weight.copy_(
            torch.tensor([[3.0, 4.0, 0, 0, 0], [0.5, 0, 0, 0, 0], [0, 0, 2.0, 0, 0]])
        )
    assert float(network.excess_norm().detach()) == pytest.approx((4.0 + 0.0 + 1.0) / 3)


def test_codes_begin_near_the_unit_ball_s_border() -> None:
    network = SummedCodeGenerator(256, SHAPE, 20, 4)
    assert network.codes.weight.norm(dim=1).detach() == pytest.approx(np.ones(20), abs=0.25)
