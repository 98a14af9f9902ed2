from __future__ import annotations

import pytest
import torch
from torch import nn

from methods.networks.generators import LEGACY_BATCH_NORM_EPS, UpsamplingGenerator


@pytest.mark.parametrize(
    ("image_shape", "width"), [((1, 16, 16), 8), ((3, 32, 32), 16), ((3, 8, 12), 6)]
)
def test_generator_doubles_twice_between_its_convolutions(
    image_shape: tuple[int, int, int], width: int
) -> None:
    channels, height, image_width = image_shape
    generator = UpsamplingGenerator(5, image_shape, width)
    shapes: dict[str, tuple[int, ...]] = {}
    for name, module in generator.named_modules():
        module.register_forward_hook(
            lambda module, inputs, output, name=name: shapes.update({name: tuple(output.shape)})
        )
    images = generator.plain(torch.randn(2, 5))
    assert images.shape == (2, *image_shape)
    assert shapes["project"] == (2, width * (height // 4) * (image_width // 4))
    assert shapes["norm_in"] == (2, width, height // 4, image_width // 4)
    assert shapes["conv1"] == (2, width, height // 2, image_width // 2)
    assert shapes["conv2"] == (2, width // 2, height, image_width)
    assert shapes["conv_out"] == (2, channels, height, image_width)


@pytest.mark.parametrize(
    ("latent", "shape", "width"),
    [(100, (1, 32, 32), 128), (1000, (3, 32, 32), 128), (7, (2, 8, 12), 6)],
)
def test_generator_has_the_number_of_parameters_of_the_formula(
    latent: int, shape: tuple[int, int, int], width: int
) -> None:
    channels, height, image_width = shape
    grid, half = (height // 4) * (image_width // 4), width // 2
    expected = (
        latent * width * grid + width * grid  # linear
        + 2 * width  # BatchNorm
        + 9 * width * width + width + 2 * width  # convolution and BatchNorm
        + 9 * width * half + half + 2 * half  # convolution and BatchNorm
        + 9 * half * channels + channels  # convolution; the last BatchNorm has no affine part
    )  # fmt: skip
    generator = UpsamplingGenerator(latent, shape, width)
    assert sum(p.numel() for p in generator.parameters()) == expected


def test_generated_channels_have_zero_mean_and_unit_variance_in_train_mode() -> None:
    torch.manual_seed(0)
    generator = UpsamplingGenerator(10, (3, 16, 16), 16).train()
    images = generator(torch.randn(32, 10))
    torch.testing.assert_close(images.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    variance = images.var(dim=(0, 2, 3), unbiased=False)
    torch.testing.assert_close(variance, torch.ones(3), atol=0.02, rtol=0)


def test_only_the_two_middle_norms_have_the_legacy_eps() -> None:
    assert LEGACY_BATCH_NORM_EPS == 0.8
    generator = UpsamplingGenerator(10, (1, 8, 8), 8)
    eps = {n: m.eps for n, m in generator.named_modules() if isinstance(m, nn.BatchNorm2d)}
    assert eps == {"norm_in": 1e-5, "norm1": 0.8, "norm2": 0.8, "norm_out": 1e-5}
    changed = UpsamplingGenerator(10, (1, 8, 8), 8, batch_norm_eps=1e-3)
    assert changed.norm1.eps == changed.norm2.eps == 1e-3
    assert changed.norm_in.eps == changed.norm_out.eps == 1e-5


def test_generator_upsamples_by_nearest_neighbour() -> None:
    generator = UpsamplingGenerator(3, (1, 8, 8), 4)
    grid = torch.arange(4.0).view(1, 1, 2, 2)
    expected = grid.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    assert torch.equal(generator.upsample(grid), expected)


@pytest.mark.parametrize("shape", [(1, 28, 30), (1, 30, 28), (3, 7, 8)])
def test_generator_names_a_size_it_cannot_make(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=f"divisible by 4, not {shape[1]}×{shape[2]}"):
        UpsamplingGenerator(10, shape, 8)
