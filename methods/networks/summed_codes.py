"""A generator of wanted classes, each of which has a learnt code."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from methods.networks.generators import Head, UpsamplingGenerator


class SummedCodeGenerator(UpsamplingGenerator):
    """The upsampling generator with the code of a class added to its latent vector: G(z + e_y).

    It draws the class itself: the last K of a latent vector's Z + K numbers choose it, and it is
    that of the largest. Of independent numbers each is as likely to be the largest, so latents
    from N(0, 1) are of every class equally often.
    Source: MAD (Do et al. 2022).

    Args:
        latent_dim: Z, the length of z and of a code.
        image_shape: (C, H, W); H and W divisible by 4.
        classes: K.
        width: channels of the first convolution.
        batch_norm_eps: eps of the two middle BatchNorms.
        head: how the last features become images, see `UpsamplingGenerator`.

    Attributes:
        latent_dim: Z + K.
        codes: the codes, K×Z; at the beginning each has a norm of about 1.

    Raises:
        ValueError: when H or W is not divisible by 4.
    """

    def __init__(
        self,
        latent_dim: int,
        image_shape: tuple[int, int, int],
        classes: int,
        width: int = 128,
        batch_norm_eps: float = 1e-5,
        *,
        head: Head = "tanh-normalized",
    ) -> None:
        super().__init__(latent_dim, image_shape, width, batch_norm_eps, head=head)
        self.codes = nn.Embedding(classes, latent_dim)
        nn.init.normal_(self.codes.weight, std=latent_dim**-0.5)
        self.latent_dim = latent_dim + classes

    def labels(self, latents: Tensor) -> Tensor:
        """The classes, B, of latents, B×(Z+K)."""
        return latents[:, self.codes.embedding_dim :].argmax(dim=1)

    def excess_norm(self) -> Tensor:
        """mean_y max(‖e_y‖₂ − 1, 0), a scalar in [0, ∞): how far codes leave the unit ball."""
        return torch.relu(self.codes.weight.norm(dim=1) - 1).mean()

    def forward(self, latents: Tensor) -> Tensor:
        """Map latents, B×(Z+K), to images, B×C×H×W, in the teacher's input space."""
        noise = latents[:, : self.codes.embedding_dim]
        return super().forward(noise + self.codes(self.labels(latents)))
