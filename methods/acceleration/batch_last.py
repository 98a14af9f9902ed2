"""Convolutions of C×H×W×B tensors, whose innermost dimension is the batch; for CPUs.

With few channels a CPU's convolution of B×C×H×W images has nothing to vectorise over. With the
batch innermost, every shift of an image is one long contiguous copy, and every sum over channels a
matrix product with B·H·W columns. All functions here compute the same as their namesakes in torch,
for any floating dtype; they follow autocast as a convolution does, and cannot be differentiated
twice.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from methods.acceleration.operations import counts_as, of_convolution


def to_batch_last(images: Tensor) -> Tensor:
    """B×C×H×W to contiguous C×H×W×B, in autocast's dtype."""
    (images,) = as_autocast(images)
    # As a matrix, for which torch has a fast transposition.
    out: Tensor = images.flatten(1).t().contiguous().unflatten(0, images.shape[1:])
    return out


def to_batch_first(x: Tensor) -> Tensor:
    """C×H×W×B to contiguous B×C×H×W."""
    return x.permute(3, 0, 1, 2).contiguous()


def batch_norm(module: nn.BatchNorm2d, x: Tensor, activation: nn.Module | None = None) -> Tensor:
    """``module``, and then ``activation``, applied to C×H×W×B."""
    out: Tensor = module(x.reshape(1, len(x), -1, 1))
    if activation is not None:
        out = activation(out)
    return out.view_as(x)


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int = 0) -> Tensor:
    """Convolution of stride 1, for many channels and few outputs.

    Args:
        x: C×H×W×B.
        weight: O×C×k×k.
        bias: O, or None.
        padding: zeros added on every side.

    Returns:
        O×H'×W'×B.
    """
    x, weight, bias = as_autocast(x, weight, or_zeros(bias, weight))
    out: Tensor = _ScatteredConv.apply(x, weight, padding)
    return out + bias.view(-1, 1, 1, 1)


def upsampled_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """3×3 convolution with padding 1 of the nearest-neighbour ×2 upsampling of ``x``.

    It is the same function with a quarter of the multiplications. In one dimension, with
    d[i] = x[i] − x[i−1] and x = 0 outside, the taps (a, b, c) on the upsampled signal give

        out[2i] = (a+b+c)·x[i] − a·d[i]        out[2i+1] = (a+b+c)·x[i] + c·d[i+1]

    which is three products for two outputs where the plain form takes six; in two dimensions nine
    for four where it takes thirty-six.

    Args:
        x: C×h×w×B.
        weight: O×C×3×3, the plain convolution's.
        bias: O, or None.

    Returns:
        O×2h×2w×B.
    """
    x, weight, bias = as_autocast(x, weight, or_zeros(bias, weight))
    out: Tensor = _UpsampledConv.apply(x, weight, bias)
    return out


def or_zeros(bias: Tensor | None, weight: Tensor) -> Tensor:
    """The bias of a convolution that may have none."""
    return weight.new_zeros(len(weight)) if bias is None else bias


def as_autocast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors in the dtype that autocast gives a convolution, where it is on.

    Float64 stays float64, as in torch.
    """
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return tensors
    dtype = torch.get_autocast_dtype(device)
    return tuple(t if t.dtype == torch.float64 else t.to(dtype) for t in tensors)


class _ScatteredConv(torch.autograd.Function):
    """Convolution as one product whose outputs are shifted and summed; for few outputs."""

    @staticmethod
    @once_differentiable
    @counts_as(
        lambda ctx, x, weight, padding: of_convolution(weight.shape, _places(x, weight, padding))
    )
    def forward(ctx: Any, x: Tensor, weight: Tensor, padding: int) -> Tensor:
        outputs, channels, size, _ = weight.shape
        _, height, width, batch = x.shape
        kernel = weight.permute(2, 3, 0, 1).reshape(-1, channels)
        planes = (kernel @ x.reshape(channels, -1)).view(size, size, outputs, height, width, batch)
        high, wide = height + 2 * padding - size + 1, width + 2 * padding - size + 1
        # Nine roundings to bfloat16 would show; the sum is small, and so is kept in float32.
        total = torch.promote_types(x.dtype, torch.float32)
        out = x.new_zeros(outputs, high, wide, batch, dtype=total)
        for i in range(size):
            for j in range(size):
                (to_h, from_h), (to_w, from_w) = (
                    _overlap(i - padding, high, height),
                    _overlap(j - padding, wide, width),
                )
                out[:, to_h, to_w] += planes[i, j][:, from_h, from_w]
        ctx.save_for_backward(x, kernel)
        ctx.geometry = size, padding, outputs
        return out.to(x.dtype)

    @staticmethod
    @counts_as(
        lambda ctx, gradient: of_convolution(
            ctx.saved_tensors[1].shape, gradient[0].numel(), ctx.needs_input_grad
        )
    )
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, kernel = ctx.saved_tensors
        size, padding, outputs = ctx.geometry
        channels, height, width, batch = x.shape
        high, wide = gradient.shape[1:3]
        planes = x.new_zeros(size, size, outputs, height, width, batch)
        for i in range(size):
            for j in range(size):
                (to_h, from_h), (to_w, from_w) = (
                    _overlap(i - padding, high, height),
                    _overlap(j - padding, wide, width),
                )
                planes[i, j][:, from_h, from_w] = gradient[:, to_h, to_w]
        flat = planes.view(len(kernel), -1)
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_x = (kernel.t() @ flat).view_as(x)
        if ctx.needs_input_grad[1]:
            grad_kernel = flat @ x.reshape(channels, -1).t()
            grad_weight = grad_kernel.view(size, size, outputs, channels).permute(2, 3, 0, 1)
        return grad_x, grad_weight, None


def _places(x: Tensor, weight: Tensor, padding: int) -> int:
    """How often the kernel of a convolution of stride 1 is applied to C×H×W×B."""
    _, height, width, batch = x.shape
    shrinks = weight.shape[-1] - 1 - 2 * padding
    return int((height - shrinks) * (width - shrinks) * batch)


def _overlap(shift: int, outputs: int, inputs: int) -> tuple[slice, slice]:
    """Where output i and input i + shift both exist: the slices of outputs and of inputs."""
    start, stop = max(0, -shift), min(outputs, inputs - shift)
    return slice(start, stop), slice(start + shift, stop + shift)


class _UpsampledConv(torch.autograd.Function):
    """The nine products of `upsampled_conv2d`.

    Names: ``s`` is the sum of a kernel's taps along an axis, which meets x; ``d`` its two outer
    taps (c, −a), which meet the differences along it. The first letter is the height's.
    """

    @staticmethod
    @counts_as(lambda ctx, x, weight, bias: of_convolution(weight.shape, 4 * x[0].numel()))
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        channels, height, width, batch = x.shape
        ctx.weight_shape = weight.shape
        outputs = len(weight)
        x = x.contiguous()
        kernels = [kernel.to(x.dtype) for kernel in _products(weight)]
        ss, sd, ds, dd = kernels
        across, down, both = _differences(x)

        centre = torch.addmm(bias[:, None], ss, x.view(channels, -1))
        centre = centre.view(outputs, height, width, batch)
        from_across = (sd @ across.view(channels, -1)).view(2, outputs, height, width + 1, batch)
        from_down = (ds @ down.view(channels, -1)).view(2, outputs, height + 1, width, batch)
        from_both = (dd @ both.view(channels, -1)).view(2, 2, outputs, height + 1, width + 1, batch)
        out = x.new_empty(outputs, height, 2, width, 2, batch)
        for column in (0, 1):
            right = _meets(column, width)
            partial = centre + from_across[1 - column][:, :, right]
            for row in (0, 1):
                below = _meets(row, height)
                torch.add(
                    partial + from_down[1 - row][:, below],
                    from_both[1 - row, 1 - column][:, below, right],
                    out=out[:, :, row, :, column],
                )
        ctx.save_for_backward(x, *kernels)
        return out.view(outputs, 2 * height, 2 * width, batch)

    @staticmethod
    @once_differentiable
    @counts_as(
        lambda ctx, gradient: of_convolution(
            ctx.weight_shape, gradient[0].numel(), ctx.needs_input_grad
        )
    )
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, ss, sd, ds, dd = ctx.saved_tensors
        channels, height, width, batch = x.shape
        outputs = len(ss)
        phases = gradient.reshape(outputs, height, 2, width, 2, batch)
        to_across = x.new_empty(2, outputs, height, width + 1, batch)
        to_down = x.new_empty(2, outputs, height + 1, width, batch)
        to_both = x.new_empty(2, 2, outputs, height + 1, width + 1, batch)
        for row in (0, 1):
            down = to_down[1 - row]
            even, odd = phases[:, :, row, :, 0], phases[:, :, row, :, 1]
            torch.add(even, odd, out=down[:, _meets(row, height)])
            down[:, _misses(row, height)] = 0
            for column in (0, 1):
                both = to_both[1 - row, 1 - column]
                both[:, _meets(row, height), _meets(column, width)] = phases[:, :, row, :, column]
                both[:, _misses(row, height)] = 0
                both[:, :, _misses(column, width)] = 0
        for column in (0, 1):
            across = to_across[1 - column]
            upper, lower = phases[:, :, 0, :, column], phases[:, :, 1, :, column]
            torch.add(upper, lower, out=across[:, :, _meets(column, width)])
            across[:, :, _misses(column, width)] = 0
        to_centre = to_down[0][:, _meets(1, height)] + to_down[1][:, _meets(0, height)]
        flat_centre, flat_across = to_centre.view(outputs, -1), to_across.view(2 * outputs, -1)
        flat_down, flat_both = to_down.view(2 * outputs, -1), to_both.view(4 * outputs, -1)
        grad_x = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            both = (dd.t() @ flat_both).view(channels, height + 1, width + 1, batch)
            down = (ds.t() @ flat_down).view(channels, height + 1, width, batch)
            down.add_(both[:, :, :-1]).sub_(both[:, :, 1:])
            across = (sd.t() @ flat_across).view(channels, height, width + 1, batch)
            grad_x = (ss.t() @ flat_centre).view_as(x)
            grad_x.add_(across[:, :, :-1]).sub_(across[:, :, 1:])
            grad_x.add_(down[:, :-1]).sub_(down[:, 1:])
        if ctx.needs_input_grad[1]:
            across, down, both = _differences(x)
            grad_weight = _gradient_of_taps(
                flat_centre @ x.view(channels, -1).t(),
                (flat_across @ across.view(channels, -1).t()).view(2, outputs, channels),
                (flat_down @ down.view(channels, -1).t()).view(2, outputs, channels),
                (flat_both @ both.view(channels, -1).t()).view(2, 2, outputs, channels),
            )
        if ctx.needs_input_grad[2]:
            grad_bias = flat_centre.sum(1)
        return grad_x, grad_weight, grad_bias


def _meets(phase: int, size: int) -> slice:
    """Which of the size + 1 differences meet the even (0) or odd (1) outputs."""
    return slice(phase, phase + size)


def _misses(phase: int, size: int) -> int:
    """The one difference that meets none of them."""
    return 0 if phase else size


def _differences(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """First differences of C×h×w×B across the width, down the height, and both; zero outside."""
    across, down = _difference(x, 2), _difference(x, 1)
    return across, down, _difference(across, 1)


def _difference(x: Tensor, axis: int) -> Tensor:
    """x[i] − x[i−1] along ``axis`` with zeros outside: one longer than x."""
    size = x.shape[axis]
    shape = list(x.shape)
    shape[axis] += 1
    out = x.new_empty(shape)
    out.select(axis, 0).copy_(x.select(axis, 0))
    inner = out.narrow(axis, 1, size - 1)
    torch.sub(x.narrow(axis, 1, size - 1), x.narrow(axis, 0, size - 1), out=inner)
    torch.neg(x.select(axis, -1), out=out.select(axis, -1))
    return out


def _products(weight: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The kernels that meet x and its differences: O×C, 2O×C, 2O×C and 4O×C."""
    outputs, channels = weight.shape[:2]
    sums, outer = _sum_and_outer(weight.permute(2, 3, 0, 1).to(_wide(weight)))
    ss, sd = _sum_and_outer(sums)
    ds, dd = _sum_and_outer(outer.transpose(0, 1))
    return (
        ss,
        sd.reshape(2 * outputs, channels),
        ds.reshape(2 * outputs, channels),
        dd.transpose(0, 1).reshape(4 * outputs, channels),
    )


def _wide(weight: Tensor) -> torch.dtype:
    """Sums of taps are formed in float32 at least."""
    return torch.promote_types(weight.dtype, torch.float32)


def _sum_and_outer(taps: Tensor) -> tuple[Tensor, Tensor]:
    """(a, b, c) along the first axis to a+b+c and (c, −a)."""
    a, b, c = taps.unbind(0)
    return a + b + c, torch.stack((c, -a))


def _gradient_of_taps(ss: Tensor, sd: Tensor, ds: Tensor, dd: Tensor) -> Tensor:
    """The adjoint of `_products`: O×C×3×3."""

    def adjoint(sums: Tensor, outer: Tensor) -> Tensor:
        c, a = outer.unbind(0)
        return torch.stack((sums - a, sums, sums + c))

    wide = _wide(ss)
    of_sums = adjoint(ss.to(wide), sd.to(wide))  # 3 along the width, O, C
    of_outer = torch.stack([adjoint(*pair) for pair in zip(ds.to(wide), dd.to(wide), strict=True)])
    return adjoint(of_sums, of_outer).permute(2, 3, 0, 1)
