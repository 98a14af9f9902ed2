from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.acceleration import batch_last
from methods.networks.generators import UpsamplingGenerator

DOUBLE = {"dtype": torch.float64, "requires_grad": True}


def batch_innermost(images: Tensor) -> Tensor:
    return images.permute(1, 2, 3, 0).contiguous()


def assert_same_function(ours: Tensor, plain: Tensor, inputs: list[Tensor]) -> None:
    """Equal values, and equal gradients for a random gradient of the output."""
    assert ours.shape == plain.shape
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-12)
    gradient = torch.randn_like(plain)
    pairs = zip(
        torch.autograd.grad(ours, inputs, gradient),
        torch.autograd.grad(plain, inputs, gradient),
        strict=True,
    )
    for mine, theirs in pairs:
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    ("batch", "channels", "outputs", "height", "width"),
    [(2, 3, 7, 5, 4), (1, 4, 2, 1, 1), (3, 2, 5, 8, 3), (5, 6, 6, 2, 7)],
)
def test_convolution_of_an_upsampled_image_with_a_quarter_of_the_products(
    batch: int, channels: int, outputs: int, height: int, width: int
) -> None:
    torch.manual_seed(0)
    x = torch.randn(batch, channels, height, width, **DOUBLE)
    weight = torch.randn(outputs, channels, 3, 3, **DOUBLE)
    bias = torch.randn(outputs, **DOUBLE)
    ours = batch_last.upsampled_conv2d(batch_innermost(x), weight, bias)
    upsampled = F.interpolate(x, scale_factor=2, mode="nearest")
    plain = F.conv2d(upsampled, weight, bias, padding=1)
    assert_same_function(batch_last.to_batch_first(ours), plain, [x, weight, bias])


def test_borders_of_the_upsampled_convolution_see_zeros() -> None:
    ones = torch.ones(1, 1, 3, 3, dtype=torch.float64)
    out = batch_last.upsampled_conv2d(batch_innermost(ones), ones, None)[0, :, :, 0]
    assert out[0, 0] == 4
    assert out[0, 2] == 6
    assert out[3, 0] == 6
    assert out[2, 3] == 9
    assert out[-1, -1] == 4
    assert out[-1, 1] == 6


@pytest.mark.parametrize(
    ("channels", "outputs", "size", "padding"), [(8, 2, 3, 1), (4, 4, 3, 0), (6, 1, 5, 2)]
)
def test_convolution_by_scattered_products(
    channels: int, outputs: int, size: int, padding: int
) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, channels, 7, 6, **DOUBLE)
    weight = torch.randn(outputs, channels, size, size, **DOUBLE)
    bias = torch.randn(outputs, **DOUBLE)
    ours = batch_last.conv2d(batch_innermost(x), weight, bias, padding)
    plain = F.conv2d(x, weight, bias, padding=padding)
    assert_same_function(batch_last.to_batch_first(ours), plain, [x, weight, bias])


def test_a_convolution_without_bias() -> None:
    x = torch.randn(2, 4, 6, 6, dtype=torch.float64)
    weight = torch.randn(2, 4, 3, 3, dtype=torch.float64)
    ours = batch_last.conv2d(batch_innermost(x), weight, None)
    torch.testing.assert_close(batch_last.to_batch_first(ours), F.conv2d(x, weight))


def test_inputs_that_need_no_gradient_get_none() -> None:
    x = torch.randn(2, 3, 4, 4)
    weight = torch.randn(5, 3, 3, 3, requires_grad=True)
    batch_last.upsampled_conv2d(batch_innermost(x), weight, None).sum().backward()
    assert weight.grad is not None
    assert x.grad is None


def test_autocast_computes_in_bfloat16_and_returns_gradients_in_float32() -> None:
    x = torch.randn(4, 8, 4, 4, requires_grad=True)
    weight = torch.randn(8, 8, 3, 3, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        out = batch_last.upsampled_conv2d(batch_innermost(x), weight, None)
    assert out.dtype == torch.bfloat16
    exact = batch_last.upsampled_conv2d(batch_innermost(x), weight, None)
    assert (out.float() - exact).norm() / exact.norm() < 0.02
    out.float().sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == torch.float32
    assert weight.grad is not None
    assert weight.grad.dtype == torch.float32


def test_autocast_leaves_float64_alone_as_torch_does() -> None:
    x, weight = torch.randn(2, 4, 4, 4).double(), torch.randn(4, 4, 3, 3).double()
    exact = batch_last.upsampled_conv2d(batch_innermost(x), weight, None)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.nn.functional.conv2d(x, weight).dtype == torch.float64
        assert torch.equal(batch_last.upsampled_conv2d(batch_innermost(x), weight, None), exact)


def test_batch_norm_counts_every_pixel_of_the_batch() -> None:
    torch.manual_seed(0)
    ours, plain = nn.BatchNorm2d(3).double(), nn.BatchNorm2d(3).double()
    x = torch.randn(4, 3, 5, 6, dtype=torch.float64)
    out = batch_last.batch_norm(ours, batch_innermost(x), nn.LeakyReLU(0.2))
    expected = F.leaky_relu(plain(x), 0.2)
    torch.testing.assert_close(batch_last.to_batch_first(out), expected)
    torch.testing.assert_close(ours.running_var, plain.running_var)
    torch.testing.assert_close(ours.running_mean, plain.running_mean)


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 8, 12)])
def test_both_forms_of_the_generator_are_one_function(
    shape: tuple[int, int, int], mode: bool
) -> None:
    torch.manual_seed(0)
    generator = UpsamplingGenerator(7, shape, width=6).double()
    generator(torch.randn(16, 7, dtype=torch.float64))  # so that running statistics are not 0, 1
    generator.train(mode)
    latents = torch.randn(5, 7, **DOUBLE)
    parameters = [latents, *generator.parameters()]
    assert_same_function(generator.batch_last(latents), generator.plain(latents), parameters)


def test_the_generator_keeps_to_its_layers_when_somebody_listens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = UpsamplingGenerator(4, (1, 8, 8), width=4)
    used: list[str] = []
    for form in ("plain", "batch_last"):
        original = getattr(generator, form)
        monkeypatch.setattr(
            generator, form, lambda z, form=form, call=original: used.append(form) or call(z)
        )
    latents = torch.randn(2, 4)
    generator(latents)
    gradients: list[object] = []
    for listen in (
        lambda: generator.conv1.register_forward_hook(lambda *_: None),
        lambda: generator.conv1.register_full_backward_hook(lambda *grads: gradients.append(grads)),
    ):
        handle = listen()
        generator(latents).sum().backward()
        handle.remove()
        generator(latents)
    assert used == ["batch_last", "plain", "batch_last", "plain", "batch_last"]
    assert len(gradients) == 1
