"""Convolution and 2×2 max-pooling of small images as one product with a banded matrix.

A few channels give a convolution kernel nothing to vectorise over. Two pooled rows of outputs,
written as one product of the input rows they look at with a banded matrix, cost six times the
multiplications and a third of the time, because a matrix product runs near a CPU's peak, in
bfloat16 above all, and nothing is copied to and fro.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def conv_max_pool2(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``max_pool2d(conv2d(images, weight, bias), 2)`` without padding, images kept row by row.

    Args:
        rows: B×H×C×W.
        weight: O×C×k×k, with k odd and H and W even.
        bias: O, or None.

    Returns:
        B×(H−k+1)/2×O×(W−k+1)/2.

    Raises:
        ValueError: when rows or outputs cannot be taken in pairs.
    """
    batch, height, channels, width = rows.shape
    outputs, _, size, _ = weight.shape
    high, wide = height - size + 1, width - size + 1
    if height % 2 or high % 2 or wide % 2:
        raise ValueError(
            f"{height}×{width} images and a {size}×{size} kernel give {high}×{wide} outputs: "
            "images and outputs must have even sides"
        )
    line, pooled_line = channels * width, outputs * wide // 2
    # What two rows of outputs look at: k + 1 rows of the input, taken as pairs of rows.
    pairs = rows.reshape(batch, height // 2, 2 * line)
    windows = torch.cat([pairs[:, i : i + high // 2] for i in range((size + 1) // 2)], dim=2)
    places = _places(outputs, channels, size, width)
    band = weight.new_zeros((size + 1) * line * 4 * pooled_line).scatter(
        0, places.flatten(), weight.reshape(-1, 1).expand(places.shape).flatten()
    )
    corners = windows.view(-1, (size + 1) * line) @ band.view(-1, 4 * pooled_line)
    pooled: Tensor = _MaxOfCorners.apply(corners.view(-1, 2, 2, pooled_line))[0]
    if bias is not None:
        pooled = pooled + bias.to(pooled.dtype).repeat_interleave(wide // 2)
    return pooled.view(batch, high // 2, outputs, wide // 2)


class _MaxOfCorners(torch.autograd.Function):
    """The maximum of N×2×2×M over its corners; of equal ones the first gets the gradient."""

    @staticmethod
    def forward(corners: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        left, right = corners.unbind(2)
        in_row = torch.maximum(left, right)
        upper, lower = in_row.unbind(1)
        # Compared in place, the answers are 0 and 1 of the same dtype, ready to be factors.
        is_left, is_upper = left.clone().ge_(right), upper.clone().ge_(lower)
        return torch.maximum(upper, lower), is_left, is_upper

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: tuple[Tensor, Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*output[1:])

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int], corners: Tensor) -> tuple[tuple[Tensor, ...], int]:
        many = corners.movedim(in_dims[0], 0)
        out = _MaxOfCorners.apply(many.flatten(0, 1))
        return tuple(tensor.unflatten(0, many.shape[:2]) for tensor in out), 0

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> Tensor:
        is_left, is_upper = ctx.saved_tensors
        in_row = gradient.new_empty(is_left.shape)
        torch.mul(gradient, is_upper, out=in_row[:, 0])
        torch.sub(gradient, in_row[:, 0], out=in_row[:, 1])
        corners = gradient.new_empty(len(gradient), 2, 2, gradient.shape[1])
        torch.mul(in_row, is_left, out=corners[:, :, 0])
        torch.sub(in_row, corners[:, :, 0], out=corners[:, :, 1])
        return corners


@lru_cache(maxsize=16)
def _places(outputs: int, channels: int, size: int, width: int) -> Tensor:
    """Where each weight stands in the flattened band: O·C·k·k × occurrences.

    Band rows are (input row, channel, column); band columns (corner of the pool, output channel,
    pooled column).
    """
    pooled = (width - size + 1) // 2
    output, channel, y, x, i, j, q = torch.meshgrid(
        *(torch.arange(n) for n in (outputs, channels, size, size, 2, 2, pooled)), indexing="ij"
    )
    row = ((y + i) * channels + channel) * width + 2 * q + j + x
    column = ((2 * i + j) * outputs + output) * pooled + q
    return (row * (4 * outputs * pooled) + column).view(outputs * channels * size**2, -1)
