"""Convolution, 2×2 max-pooling and ReLU of small images as one product with a banded matrix.

A few channels give a convolution kernel nothing to vectorise over. A pooled row of outputs, a pixel
or two at a time, is the product of a banded matrix with the window of the image it looks at. That
takes two to three times the multiplications and half the time, because a matrix product runs near
a CPU's peak, in bfloat16 above all. The batch is innermost, so that everything else works on long
rows (`methods.batch_last`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from methods.batch_last import as_autocast, or_zeros


def conv_max_pool2(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``relu(max_pool2d(conv2d(images, weight, bias), 2))`` without padding.

    Args:
        x: C×H×W×B, with H and W even.
        weight: O×C×k×k, with k odd.
        bias: O, or None.

    Returns:
        O×(H−k+1)/2×(W−k+1)/2×B.

    Raises:
        ValueError: when rows or outputs cannot be taken in pairs.
    """
    _, height, width, _ = x.shape
    size = weight.shape[-1]
    high, wide = height - size + 1, width - size + 1
    if height % 2 or width % 2 or high % 2 or wide % 2:
        raise ValueError(
            f"{height}×{width} images and a {size}×{size} kernel give {high}×{wide} outputs: "
            "images and outputs must have even sides"
        )
    x, weight, bias = as_autocast(x, weight, or_zeros(bias, weight))
    out: Tensor = _ConvMaxPool.apply(x[None], weight[None], bias[None])[0]
    return out[0]


class _ConvMaxPool(torch.autograd.Function):
    """`conv_max_pool2` for S networks at once: every tensor has a first dimension S.

    Of equal outputs the first, row by row, gets the gradient.
    """

    @staticmethod
    def forward(
        x: Tensor, weight: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        networks, channels, _, width, batch = x.shape
        outputs, _, size, _ = weight.shape[1:]
        block = _block(width, size)
        windows = x.unfold(2, size + 1, 2).unfold(3, size - 1 + 2 * block, 2 * block)
        windows = windows.permute(0, 1, 5, 6, 2, 3, 4).contiguous()
        looked_at, (high, blocks) = windows[0, ..., 0, 0, 0].numel(), windows.shape[4:6]
        _, taps = _places(outputs, channels, size, block)
        # One more weight, a zero, is what stands outside the bands.
        band = F.pad(weight.reshape(networks, -1), (0, 1))[:, taps].view(networks, -1, looked_at)
        corners = _product(band, windows.view(networks, looked_at, -1))
        corners = corners.view(networks, 2, 2, outputs, block, high, blocks, batch)
        left, right = corners.unbind(2)
        in_row = torch.maximum(left, right)
        upper, lower = in_row.unbind(1)
        pooled = x.new_empty(networks, outputs, high, blocks, block, batch)
        torch.maximum(upper, lower, out=_by_column(pooled))
        # Written into tensors of the same dtype the answers are 0 and 1, ready to be factors.
        is_left = torch.ge(left, right, out=torch.empty_like(in_row))
        is_upper = torch.ge(upper, lower, out=torch.empty_like(upper))
        pooled = pooled.view(networks, outputs, high, -1, batch)
        # ReLU and maximum commute, and after the pool there is a quarter left to rectify.
        pooled.add_(bias[:, :, None, None, None]).relu_()
        return pooled, windows, band, is_left, is_upper

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*output)
        ctx.shapes = inputs[0].shape, inputs[1].shape

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor
    ) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        many = [
            x.movedim(axis, 0) if axis is not None else x.expand(info.batch_size, *x.shape)
            for x, axis in zip(inputs, in_dims, strict=True)
        ]
        shape = many[0].shape[:2]
        out = _ConvMaxPool.apply(*(tensor.flatten(0, 1) for tensor in many))
        return tuple(tensor.unflatten(0, shape) for tensor in out), (0,) * len(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *of_saved: None) -> tuple[Tensor | None, ...]:
        pooled, windows, band, is_left, is_upper = ctx.saved_tensors
        image_shape, weight_shape = ctx.shapes
        networks, outputs, channels, size, _ = weight_shape
        high, blocks, batch = windows.shape[4:]
        block = _block(image_shape[3], size)
        gradient = torch.ops.aten.threshold_backward(gradient, pooled, 0)
        grad_x: Tensor | None = None
        grad_weight: Tensor | None = None
        grad_bias = gradient.sum((2, 3, 4)) if ctx.needs_input_grad[2] else None
        gradient = _by_column(gradient.view(networks, outputs, high, blocks, block, batch))
        in_row = gradient.new_empty(is_left.shape)
        torch.mul(gradient, is_upper, out=in_row[:, 0])
        torch.sub(gradient, in_row[:, 0], out=in_row[:, 1])
        corners = gradient.new_empty(networks, 2, *is_left.shape[1:])
        corners = corners.view(networks, 2, 2, *is_left.shape[2:])
        torch.mul(in_row, is_left, out=corners[:, :, 0])
        torch.sub(in_row, corners[:, :, 0], out=corners[:, :, 1])
        flat = corners.view(networks, band.shape[1], -1)
        if ctx.needs_input_grad[1]:
            looked_at = windows.view(networks, band.shape[2], -1)
            grad_band = _product(flat, looked_at.transpose(1, 2))
            places, _ = _places(outputs, channels, size, block)
            grad_weight = grad_band.view(networks, -1)[:, places].sum(2).view(weight_shape)
        if ctx.needs_input_grad[0]:
            grad_windows = _product(band.transpose(1, 2), flat).view(windows.shape)
            grad_x = _overlaid(grad_windows, image_shape, 2 * block)
        return grad_x, grad_weight, grad_bias


def _product(a: Tensor, b: Tensor) -> Tensor:
    """S×N×K @ S×K×M; a batch of one is faster as a plain product."""
    return torch.mm(a[0], b[0])[None] if len(a) == 1 else torch.bmm(a, b)


def _by_column(pooled: Tensor) -> Tensor:
    """S×O×h×blocks×block×B seen in the order of a product's rows: S×O×block×h×blocks×B."""
    return pooled.permute(0, 1, 4, 2, 3, 5)


def _overlaid(windows: Tensor, shape: torch.Size, step: int) -> Tensor:
    """The sum of S×C×(k+1)×w×h×blocks×B windows where they lie in images of the given shape."""
    out = windows.new_zeros(shape)
    tall, wide, high, blocks = windows.shape[2:6]
    for top in range(0, tall, 2):
        rows = out[:, :, top : top + 2 * high].unflatten(2, (high, 2))
        for left in range(0, wide, step):
            some = min(step, wide - left)
            place = rows[..., left : left + (blocks - 1) * step + some, :].unfold(4, some, step)
            part = windows[:, :, top : top + 2, left : left + some]
            place += part.permute(0, 1, 4, 2, 5, 6, 3)
    return out


def _block(width: int, size: int) -> int:
    """Pooled columns of one window: a second one costs fewer multiplications than copies."""
    return 1 if (width - size + 1) // 2 % 2 else 2


@lru_cache(maxsize=16)
def _places(outputs: int, channels: int, size: int, block: int) -> tuple[Tensor, Tensor]:
    """Where each weight stands in the flattened band, and which weight stands where.

    Band rows are (corner of the pool, output channel, pooled column), band columns (channel, row,
    column) of a window.

    Returns:
        O·C·k·k × occurrences, and as many as the band has entries, each a weight's number or, where
        there is none, one more than the last.
    """
    tall, wide = size + 1, size - 1 + 2 * block
    output, channel, y, x, i, j, q = torch.meshgrid(
        *(torch.arange(n) for n in (outputs, channels, size, size, 2, 2, block)), indexing="ij"
    )
    row = ((2 * i + j) * outputs + output) * block + q
    column = (channel * tall + y + i) * wide + 2 * q + j + x
    weights = outputs * channels * size**2
    places = (row * (channels * tall * wide) + column).view(weights, -1)
    taps = torch.full((4 * outputs * block * channels * tall * wide,), weights)
    taps[places] = torch.arange(weights)[:, None]
    return places, taps
