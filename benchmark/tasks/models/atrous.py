"""Dilated and depthwise convolutions without the work that changes nothing.

As a dilation approaches the size of the map, all taps of a 3×3 kernel but the middle one come to
lie in the padding, and what is left is a 1×1 convolution (Chen et al. 2017, "Rethinking Atrous
Convolution", Section 3.3). DeepLab's pyramid on small images is made of such kernels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.tasks.models.banded import on_cpu
from methods.acceleration.batch_last import as_autocast


class AtrousConv2d(nn.Conv2d):
    """An `nn.Conv2d` padded with zeros, whose taps that see nothing else are left out.

    On a CPU a depthwise one is computed in float32, and with a dilation d as one of B·d² images
    without: torch's kernels for strides in bfloat16 and for dilations in any type take
    longer. The result has autocast's type, as any convolution's.
    """

    def forward(self, images: Tensor) -> Tensor:
        """B×C×H×W to B×O×H'×W'."""
        if not (1 < self.groups == self.in_channels and on_cpu(images)):
            return self._convolve(images, self.weight, self.bias)
        (images,) = as_autocast(images)
        dtype = torch.promote_types(images.dtype, torch.float32)
        bias = None if self.bias is None else self.bias.to(dtype)
        with torch.autocast("cpu", enabled=False):
            out = self._convolve(images.to(dtype), self.weight.to(dtype), bias, in_phases=True)
        return out.to(images.dtype)

    def as_plain(self) -> nn.Conv2d:
        """The same layer as torch computes it, with the same parameters."""
        return _remade(self, nn.Conv2d)

    def _convolve(
        self, images: Tensor, weight: Tensor, bias: Tensor | None, in_phases: bool = False
    ) -> Tensor:
        """The convolution, without the taps that see padding alone."""
        dilation, padding = list(self.dilation), [int(size) for size in self.padding]
        for axis, size in enumerate(images.shape[2:]):
            taps = weight.shape[2 + axis]
            middle = taps // 2
            centred = taps % 2 == 1 and padding[axis] == middle * dilation[axis]
            if size <= dilation[axis] and centred:
                weight = weight.narrow(2 + axis, middle, 1)
                dilation[axis], padding[axis] = 1, 0
        if in_phases and self.stride == (1, 1) and _have_phases(images, dilation, padding):
            padding = [size // step for size, step in zip(padding, dilation, strict=True)]
            out = F.conv2d(_apart(images, dilation), weight, bias, 1, padding, 1, self.groups)
            return _together(out, dilation)
        return F.conv2d(images, weight, bias, self.stride, padding, dilation, self.groups)


def with_atrous_convolutions(network: nn.Module) -> None:
    """Let the layers of a network for which it pays be `AtrousConv2d`; their parameters stay."""
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is nn.Conv2d and _pays(layer):
                setattr(parent, name, _remade(layer, AtrousConv2d))


def _pays(layer: nn.Conv2d) -> bool:
    if isinstance(layer.padding, str) or layer.padding_mode != "zeros":
        return False
    depthwise = 1 < layer.groups == layer.in_channels
    return max(layer.dilation) > 1 or (depthwise and max(layer.stride) > 1)


def _remade(layer: nn.Conv2d, cls: type[nn.Conv2d]) -> nn.Conv2d:
    """A layer of another class with the same settings and the same parameters.

    It is made on the meta device, where no initial weights are drawn.
    """
    remade = cls(
        layer.in_channels,
        layer.out_channels,
        (layer.kernel_size[0], layer.kernel_size[1]),
        (layer.stride[0], layer.stride[1]),
        (int(layer.padding[0]), int(layer.padding[1])),
        (layer.dilation[0], layer.dilation[1]),
        layer.groups,
        bias=layer.bias is not None,
        device="meta",
    )
    remade.weight, remade.bias = layer.weight, layer.bias
    return remade.train(layer.training)


def _have_phases(images: Tensor, dilation: list[int], padding: list[int]) -> bool:
    high, wide = dilation
    return (
        max(dilation) > 1
        and images.shape[2] % high == images.shape[3] % wide == 0
        and padding[0] % high == padding[1] % wide == 0
    )


def _apart(images: Tensor, dilation: list[int]) -> Tensor:
    """Every d-th row and column as an image of its own: B·d·d×C×H/d×W/d, channels last."""
    high, wide = dilation
    batch, channels, height, width = images.shape
    grid = images.permute(0, 2, 3, 1).reshape(
        batch, height // high, high, width // wide, wide, channels
    )
    return grid.permute(0, 2, 4, 1, 3, 5).flatten(0, 2).permute(0, 3, 1, 2)


def _together(phases: Tensor, dilation: list[int]) -> Tensor:
    """The inverse of `_apart`: one map again from its phases."""
    grid = phases.permute(0, 2, 3, 1).reshape(-1, *dilation, *phases.shape[2:], phases.shape[1])
    return grid.permute(0, 3, 1, 4, 2, 5).flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)
