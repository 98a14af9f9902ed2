"""Image generators (and, later, discriminators) of the published methods."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from methods import batch_last

LEGACY_BATCH_NORM_EPS = 0.8
"""eps of the two middle BatchNorms in the released DAFL and RDSKD generators.

A positional-argument slip inherited from a public GAN collection; kept as the default because
every published number of these methods was obtained with it.
"""


def has_hooks(network: nn.Module) -> bool:
    """Whether somebody listens to a layer: then the layers themselves must be called."""
    return any(layer._forward_hooks or layer._forward_pre_hooks for layer in network.modules())


class UpsamplingGenerator(nn.Module):
    """The generator of DAFL and RDSKD: two nearest-neighbour upsamplings between convolutions.

    Linear Z → width·(s/4)², BN, ×2, conv3×3 width, BN, LeakyReLU 0.2, ×2, conv3×3 width/2, BN,
    LeakyReLU 0.2, conv3×3 C, Tanh, BN without affine. That last BatchNorm makes every output
    channel zero-mean and unit-variance, which is the range a teacher trained on normalised
    images expects, so no data normalisation follows it.

    Args:
        latent_dim: Z, the length of a latent vector.
        image_shape: (C, H, W); H and W divisible by 4.
        width: channels of the first convolution (128 in the papers).
        batch_norm_eps: eps of the two middle BatchNorms.

    Raises:
        ValueError: when H or W is not divisible by 4.
    """

    def __init__(
        self,
        latent_dim: int,
        image_shape: tuple[int, int, int],
        width: int = 128,
        batch_norm_eps: float = LEGACY_BATCH_NORM_EPS,
    ) -> None:
        super().__init__()
        channels, height, image_width = image_shape
        if height % 4 or image_width % 4:
            raise ValueError(
                f"the upsampling generator doubles twice, so it needs an image height and width "
                f"divisible by 4, not {height}×{image_width}"
            )
        half = max(width // 2, 1)
        self.latent_dim = latent_dim
        self.grid = (width, height // 4, image_width // 4)
        self.project = nn.Linear(latent_dim, width * self.grid[1] * self.grid[2])
        self.norm_in = nn.BatchNorm2d(width)
        self.upsample = nn.Upsample(scale_factor=2)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(width, eps=batch_norm_eps)
        self.conv2 = nn.Conv2d(width, half, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(half, eps=batch_norm_eps)
        self.activation = nn.LeakyReLU(0.2, inplace=True)
        self.conv_out = nn.Conv2d(half, channels, 3, padding=1)
        self.norm_out = nn.BatchNorm2d(channels, affine=False)

    def forward(self, latents: Tensor) -> Tensor:
        """Map latents (B×Z) to images (B×C×H×W) in the teacher's normalised input space.

        A CPU computes the batch-last form, the same function in half the time, unless hooks want
        to see the layers; a GPU the plain one.
        """
        faster = latents.device.type == "cpu" and not has_hooks(self)
        return self.batch_last(latents) if faster else self.plain(latents)

    def plain(self, latents: Tensor) -> Tensor:
        """The network as it is described above."""
        x = self.project(latents).view(-1, *self.grid)
        x = self.upsample(self.norm_in(x))
        x = self.upsample(self.activation(self.norm1(self.conv1(x))))
        x = self.activation(self.norm2(self.conv2(x)))
        images: Tensor = self.norm_out(torch.tanh(self.conv_out(x)))
        return images

    def batch_last(self, latents: Tensor) -> Tensor:
        """The same function of the same parameters, with fewer products (`methods.batch_last`)."""
        x = (self.project.weight @ latents.t() + self.project.bias[:, None]).view(*self.grid, -1)
        x = batch_last.batch_norm(self.norm_in, x)
        x = batch_last.upsampled_conv2d(x, self.conv1.weight, self.conv1.bias)
        x = batch_last.batch_norm(self.norm1, x, self.activation)
        x = batch_last.upsampled_conv2d(x, self.conv2.weight, self.conv2.bias)
        x = batch_last.batch_norm(self.norm2, x, self.activation)
        x = batch_last.conv2d(x, self.conv_out.weight, self.conv_out.bias, padding=1)
        return batch_last.to_batch_first(batch_last.batch_norm(self.norm_out, torch.tanh(x)))
