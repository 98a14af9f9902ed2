"""Encoders of images: what maps an image back to a latent of a generator."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from methods.networks.generators import LEGACY_BATCH_NORM_EPS


class VariationalEncoder(nn.Module):
    """An image's distribution of latents: the counterpart of `UpsamplingGenerator`.

    conv3×3 width/2, BN, LeakyReLU 0.2, conv3×3 width, BN, LeakyReLU 0.2, every second pixel,
    conv3×3 width with stride 2, BN, every second pixel, and two linear layers to Z.
    Source: PRE-DFKD (Binici et al. 2022), as released.

    Args:
        latent_dim: Z, the length of a latent vector.
        image_shape: (C, H, W).
        width: channels of the last convolutions (128 in the released code).
    """

    def __init__(
        self, latent_dim: int, image_shape: tuple[int, int, int], width: int = 128
    ) -> None:
        super().__init__()
        channels, half = image_shape[0], max(width // 2, 1)
        self.full_size = nn.Sequential(
            nn.Conv2d(channels, half, 3, padding=1),
            nn.BatchNorm2d(half, eps=LEGACY_BATCH_NORM_EPS),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(half, width, 3, padding=1),
            nn.BatchNorm2d(width, eps=LEGACY_BATCH_NORM_EPS),
            nn.LeakyReLU(0.2, inplace=True),
        )
        self.half_size = nn.Sequential(
            nn.Conv2d(width, width, 3, stride=2, padding=1), nn.BatchNorm2d(width)
        )
        height, side = (-(-size // 8) for size in image_shape[1:])
        self.mean = nn.Linear(width * height * side, latent_dim)
        self.log_variance = nn.Linear(width * height * side, latent_dim)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map images, B×C×H×W, to mean and logarithm of the variance of their latents, B×Z each."""
        # As released: every column of a channel has the length 1.
        x = self.full_size(F.normalize(images, dim=2))[..., ::2, ::2]
        x = self.half_size(x)[..., ::2, ::2].flatten(1)
        return self.mean(x), self.log_variance(x)
