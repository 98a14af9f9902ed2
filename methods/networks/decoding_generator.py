"""A generator that shows its feature maps, and goes on from changed ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from methods.acceleration import batch_last
from methods.networks.generators import UpsamplingGenerator


class DecodingGenerator(UpsamplingGenerator):
    """The pixel generator of CMI, cut behind each of its three hidden BatchNorms.

    Convolutions and linear layers start normal with variance 2 / fan-in (He et al. 2015), the
    scales of BatchNorm from N(1, 0.02).
    Source: SpaceshipNet (Yu et al. 2023), released code.

    Args:
        latent_dim: Z, the length of a latent vector.
        image_shape: (C, H, W); H and W divisible by 4.
        width: channels of the first convolution.
        normalization: mean and standard deviation of the teacher's input, by channel.

    Raises:
        ValueError: when H or W is not divisible by 4.
    """

    LAYERS = 3
    """How many hidden layers can be decoded from."""

    def __init__(
        self,
        latent_dim: int,
        image_shape: tuple[int, int, int],
        width: int,
        *,
        normalization: tuple[Sequence[float], Sequence[float]],
    ) -> None:
        super().__init__(
            latent_dim,
            image_shape,
            width,
            batch_norm_eps=1e-5,
            head="pixels",
            bias=False,
            normalization=normalization,
        )
        self.apply(_initialize)

    def with_maps(self, latents: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Images, B×C×H×W in the teacher's input space, of latents, B×Z, and their feature maps.

        The maps have no gradient: B×W×H/4×W/4 with the width as W, then those behind the first
        convolution, twice as high and wide, and behind the second, of half as many channels.
        """
        x = self.project(latents).view(-1, *self.grid)
        faster = _on_cpu(x)
        x = self.norm_in(x)
        maps = [x.detach()]
        x = batch_last.to_batch_last(x) if faster else x
        for conv, norm in self._blocks():
            x = self._grown(x, conv, norm, faster)
            found = x.detach()
            maps.append(batch_last.to_batch_first(found) if faster else found)
        return self._images(x, faster), tuple(maps)

    def decode(self, maps: Tensor, layer: int) -> Tensor:
        """Images, B×C×H×W in the teacher's input space, of the maps behind layer 0, 1 or 2."""
        faster = _on_cpu(maps)
        x = batch_last.to_batch_last(maps) if faster else maps
        for conv, norm in self._blocks()[layer:]:
            x = self._grown(x, conv, norm, faster)
        return self._images(x, faster)

    def _blocks(self) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
        return [(self.conv1, self.norm1), (self.conv2, self.norm2)]

    def _grown(self, x: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d, faster: bool) -> Tensor:
        """Features twice as high and wide, batch-last where ``faster``."""
        if faster:
            x = batch_last.upsampled_conv2d(x, conv.weight, conv.bias)
            return batch_last.batch_norm(norm, x, self.activation)
        out: Tensor = self.activation(norm(conv(self.upsample(x))))
        return out

    def _images(self, x: Tensor, faster: bool) -> Tensor:
        if faster:
            out = batch_last.conv2d(x, self.conv_out.weight, self.conv_out.bias, padding=1)
            return batch_last.to_batch_first((torch.sigmoid(out) - self.mean) / self.std)
        return (torch.sigmoid(self.conv_out(x)) - self.mean[:, 0]) / self.std[:, 0]


def _on_cpu(x: Tensor) -> bool:
    """Whether the batch-last form is faster."""
    return x.device.type == "cpu"


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
