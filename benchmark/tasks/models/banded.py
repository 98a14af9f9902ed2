"""Convolution and 2×2 max-pooling of small images as products with a banded matrix.

A few channels give a convolution kernel nothing to vectorise over. Two rows of outputs, two or four
columns at a time, are the product of a banded matrix with the window of the image they look at.
That takes up to twice the multiplications and a fraction of the time, because a matrix product runs
near a CPU's peak, in bfloat16 above all. The batch is innermost, so that everything else works on
long rows (`methods.acceleration.batch_last`).

The functions of this module whose names begin with an underscore work on S networks at once: their
tensors have a first dimension S, and a band is S×(corner, output channel, pooled column)×(channel,
row, column).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from methods.acceleration.batch_last import as_autocast, or_zeros
from methods.acceleration.operations import counts_as, of_convolution


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
    return _apply(_ConvMaxPool, x, weight, bias)


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``conv2d(images, weight, bias)`` without padding; arguments and errors of `conv_max_pool2`.

    Returns:
        O×(H−k+1)×(W−k+1)×B.
    """
    return _apply(_Conv, x, weight, bias)


def max_pool2(x: Tensor) -> Tensor:
    """``max_pool2d(images, 2)`` of C×H×W×B with H and W even, C×H/2×W/2×B."""
    out: Tensor = _MaxPool.apply(x[None])[0]
    return out[0]


class BatchLastConv2d(nn.Conv2d):
    """A convolution that takes C×H×W×B tensors, seen as B×C×H×W, by `conv2d` on a CPU."""

    def forward(self, images: Tensor) -> Tensor:
        """B×C×H×W to B×O×H'×W', batch-last where the images are."""
        if on_cpu(images) and len(images) > 1:
            x = images.permute(1, 2, 3, 0)
            if x.is_contiguous():
                return conv2d(x, self.weight, self.bias).permute(3, 0, 1, 2)
        return super().forward(images)


def on_cpu(x: Tensor) -> bool:
    """Whether a CPU computes now, and no program is being exported for another machine."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def _apply(function: type[Function], x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    _, height, width, _ = x.shape
    size = weight.shape[-1]
    high, wide = height - size + 1, width - size + 1
    if height % 2 or width % 2 or high % 2 or wide % 2:
        raise ValueError(
            f"{height}×{width} images and a {size}×{size} kernel give {high}×{wide} outputs: "
            "images and outputs must have even sides"
        )
    x, weight, bias = as_autocast(x, weight, or_zeros(bias, weight))
    out: Tensor = function.apply(x[None], weight[None], bias[None])[0]
    return out[0]


class _ConvMaxPool(Function):
    """The function `conv_max_pool2`. The first of equal outputs, row by row, gets the gradient."""

    @staticmethod
    @once_differentiable
    @counts_as(
        lambda x, weight, bias: of_convolution(weight.shape, _positions(x.shape, weight.shape))
    )
    def forward(x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
        windows, band = _windows(x, weight.shape[-1]), _band(weight, x.shape[3])
        corners = _corners(windows, band, weight)
        networks, _, _, outputs, block, high, blocks, batch = corners.shape
        pooled = x.new_empty(networks, outputs, high, blocks, block, batch)
        is_left, is_upper = _maximum(corners, _by_column(pooled))
        pooled = pooled.view(networks, outputs, high, -1, batch)
        # ReLU and maximum commute, and after the pool there is a quarter left to rectify.
        pooled.add_(bias[:, :, None, None, None]).relu_()
        return pooled, windows, band, is_left, is_upper

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        _keep(ctx, output)
        ctx.save_for_backward(*output)
        ctx.shapes = inputs[0].shape, inputs[1].shape

    @staticmethod
    @counts_as(
        lambda ctx, gradient, *of_kept: of_convolution(
            ctx.shapes[1], _positions(*ctx.shapes), ctx.needs_input_grad
        )
    )
    def backward(ctx: Any, gradient: Tensor, *of_kept: None) -> tuple[Tensor | None, ...]:
        pooled, windows, band, is_left, is_upper = ctx.saved_tensors
        networks, _, outputs, block, high, blocks, batch = is_left.shape
        gradient = torch.ops.aten.threshold_backward(gradient, pooled, 0)
        grad_bias = gradient.sum((2, 3, 4)) if ctx.needs_input_grad[2] else None
        by_column = _by_column(gradient.view(networks, outputs, high, blocks, block, batch))
        corners = gradient.new_empty(networks, 2, 2, *is_left.shape[2:])
        _spread(by_column, is_left, is_upper, corners)
        return *_of_convolution(ctx, corners, windows, band), grad_bias


class _Conv(Function):
    """The function `conv2d`."""

    @staticmethod
    @once_differentiable
    @counts_as(
        lambda x, weight, bias: of_convolution(weight.shape, _positions(x.shape, weight.shape))
    )
    def forward(x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
        windows, band = _windows(x, weight.shape[-1]), _band(weight, x.shape[3])
        corners = _corners(windows, band, weight)
        networks, _, _, outputs, block, high, blocks, batch = corners.shape
        out = x.new_empty(networks, outputs, 2 * high, 2 * blocks * block, batch)
        torch.add(corners, bias.view(networks, 1, 1, -1, 1, 1, 1, 1), out=_cornered(out, block))
        return out, windows, band

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        _keep(ctx, output)
        ctx.save_for_backward(*output[1:])
        ctx.shapes = inputs[0].shape, inputs[1].shape

    @staticmethod
    @counts_as(
        lambda ctx, gradient, *of_kept: of_convolution(
            ctx.shapes[1], _positions(*ctx.shapes), ctx.needs_input_grad
        )
    )
    def backward(ctx: Any, gradient: Tensor, *of_kept: None) -> tuple[Tensor | None, ...]:
        windows, band = ctx.saved_tensors
        grad_bias = gradient.sum((2, 3, 4)) if ctx.needs_input_grad[2] else None
        block = _block(ctx.shapes[0][3], ctx.shapes[1][-1])
        corners = _cornered(gradient.contiguous(), block).contiguous()
        return *_of_convolution(ctx, corners, windows, band), grad_bias


class _MaxPool(Function):
    """The function `max_pool2`. The first of equal inputs, row by row, gets the gradient."""

    @staticmethod
    def forward(x: Tensor) -> tuple[Tensor, ...]:
        corners = _cornered(x.contiguous(), 1)
        pooled = x.new_empty(corners.shape[:1] + corners.shape[3:])
        is_left, is_upper = _maximum(corners, pooled)
        return pooled.squeeze(2), is_left, is_upper

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        _keep(ctx, output)
        ctx.save_for_backward(*output[1:])
        ctx.shape = inputs[0].shape

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *of_kept: None) -> Tensor:
        is_left, is_upper = ctx.saved_tensors
        out = gradient.new_empty(ctx.shape)
        _spread(gradient.unsqueeze(2), is_left, is_upper, _cornered(out, 1))
        return out


def _positions(images: torch.Size, weight: torch.Size) -> int:
    """How often one network's kernel is applied, without padding, to S×C×H×W×B images."""
    _, _, height, width, batch = images
    return (height - weight[-1] + 1) * (width - weight[-1] + 1) * batch


def _keep(ctx: Any, output: tuple[Tensor, ...]) -> None:
    """All outputs but the first are for the backward pass only."""
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)


def _windows(x: Tensor, size: int) -> Tensor:
    """The inputs of every block of outputs: S×C×(k+1)×w×h×blocks×B."""
    block = _block(x.shape[3], size)
    windows = x.unfold(2, size + 1, 2).unfold(3, size - 1 + 2 * block, 2 * block)
    return windows.permute(0, 1, 5, 6, 2, 3, 4).contiguous()


def _band(weight: Tensor, width: int) -> Tensor:
    """The banded matrix of S×O×C×k×k weights for images of a width."""
    networks, outputs, channels, size, _ = weight.shape
    block = _block(width, size)
    _, taps = _places(outputs, channels, size, block)
    # One more weight, a zero, is what stands outside the bands.
    return F.pad(weight.reshape(networks, -1), (0, 1))[:, taps].view(
        networks, 4 * outputs * block, -1
    )


def _corners(windows: Tensor, band: Tensor, weight: Tensor) -> Tensor:
    """The product of bands and windows, S×2×2×O×block×h×blocks×B: a 2×2 square of outputs."""
    out = _product(band, windows.view(len(windows), band.shape[2], -1))
    return out.view(len(band), 2, 2, weight.shape[1], -1, *windows.shape[4:])


def _of_convolution(
    ctx: Any, corners: Tensor, windows: Tensor, band: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of images and weights from that of the corners."""
    image_shape, weight_shape = ctx.shapes
    networks, outputs, channels, size, _ = weight_shape
    block = _block(image_shape[3], size)
    flat = corners.view(networks, band.shape[1], -1)
    grad_x = grad_weight = None
    if ctx.needs_input_grad[1]:
        looked_at = windows.view(networks, band.shape[2], -1)
        grad_band = _product(flat, looked_at.transpose(1, 2))
        places, _ = _places(outputs, channels, size, block)
        grad_weight = grad_band.view(networks, -1)[:, places].sum(2).view(weight_shape)
    if ctx.needs_input_grad[0]:
        grad_windows = _product(band.transpose(1, 2), flat).view(windows.shape)
        grad_x = _overlaid(grad_windows, image_shape, 2 * block)
    return grad_x, grad_weight


def _maximum(corners: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
    """Write the maximum of S×2×2×… over its corners to ``out``; return factors for `_spread`."""
    left, right = corners.unbind(2)
    in_row = torch.maximum(left, right)
    upper, lower = in_row.unbind(1)
    torch.maximum(upper, lower, out=out)
    # In tensors of the same dtype the answers are 0 and 1, ready to be factors.
    is_left = torch.ge(left, right, out=torch.empty_like(in_row))
    is_upper = torch.ge(upper, lower, out=torch.empty_like(upper))
    return is_left, is_upper


def _spread(gradient: Tensor, is_left: Tensor, is_upper: Tensor, out: Tensor) -> None:
    """Write every gradient to its corner in ``out``, and zero to the other corners."""
    in_row = gradient.new_empty(is_left.shape)
    torch.mul(gradient, is_upper, out=in_row[:, 0])
    torch.sub(gradient, in_row[:, 0], out=in_row[:, 1])
    torch.mul(in_row, is_left, out=out[:, :, 0])
    torch.sub(in_row, out[:, :, 0], out=out[:, :, 1])


def _cornered(x: Tensor, block: int) -> Tensor:
    """S×C×H×W×B seen as corners, S×2×2×C×block×h×blocks×B."""
    networks, channels, height, width, batch = x.shape
    squares = x.view(networks, channels, height // 2, 2, width // 2 // block, block, 2, batch)
    return squares.permute(0, 3, 6, 1, 5, 2, 4, 7)


def _by_column(pooled: Tensor) -> Tensor:
    """S×O×h×blocks×block×B seen in the order of corners: S×O×block×h×blocks×B."""
    return pooled.permute(0, 1, 4, 2, 3, 5)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """S×N×K @ S×K×M; a batch of one is faster as a plain product."""
    return torch.mm(a[0], b[0])[None] if len(a) == 1 else torch.bmm(a, b)


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
    """Pooled columns of one window: two, which saves copies, where they come in pairs."""
    return 1 if (width - size + 1) // 2 % 2 else 2


@lru_cache(maxsize=16)
def _places(outputs: int, channels: int, size: int, block: int) -> tuple[Tensor, Tensor]:
    """The places of each weight in the flattened band, and the weight in each place.

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
