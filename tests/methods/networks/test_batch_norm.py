from __future__ import annotations

import pytest
import torch
from torch import Tensor

from methods.networks.batch_norm import channel_moments


def moments_and_gradient(moments: object, x: Tensor) -> list[Tensor]:
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    variance, mean = moments(x)  # type: ignore[operator]
    weights = torch.arange(1, 6, dtype=torch.float64)
    ((variance.double() ** 2 * weights).sum() + (mean.double() * weights**2).sum()).backward()
    assert x.grad is not None
    return [variance.detach(), mean.detach(), x.grad]


def as_written(x: Tensor) -> tuple[Tensor, Tensor]:
    rows = x.double().permute(1, 0, 2, 3).flatten(1)
    mean = rows.mean(1)
    return (rows - mean[:, None]).square().mean(1), mean


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(3, 5, 4, 6), (1, 5, 1, 2)])
def test_moments_are_those_of_the_formula_forward_and_backward(
    shape: tuple[int, ...], layout: torch.memory_format
) -> None:
    x = (2 * torch.randn(shape, dtype=torch.float64) + 3).to(memory_format=layout)
    found = moments_and_gradient(channel_moments, x)
    for ours, exact in zip(found, moments_and_gradient(as_written, x), strict=True):
        torch.testing.assert_close(ours, exact, rtol=1e-12, atol=1e-12)


def test_moments_of_bfloat16_are_summed_in_float32() -> None:
    x = (torch.randn(64, 5, 16, 16) + 1).to(memory_format=torch.channels_last).bfloat16()
    variance, mean, gradient = moments_and_gradient(channel_moments, x)
    exact = moments_and_gradient(as_written, x)
    assert variance.dtype == mean.dtype == torch.float32
    torch.testing.assert_close(variance.double(), exact[0], rtol=1e-4, atol=0)
    torch.testing.assert_close(mean.double(), exact[1], rtol=1e-4, atol=0)
    assert gradient.dtype == torch.bfloat16
    assert (gradient - exact[2]).norm() < 2**-8 * exact[2].norm()
