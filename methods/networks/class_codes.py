"""A generator whose input is a code of the class, and whose randomness is in its first layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class NoisyLayers(nn.Module):
    """Linear layers of random weights, of which each serves one set of all classes.

    BatchNorm, then for the j-th run of K samples the j-th layer: z = W_j·e + b_j. One code becomes
    as many different latents as there are layers.
    Source: NAYER (Tran et al. 2024), its K-to-1 noisy layer.

    Args:
        code_dim: D, the length of a code.
        latent_dim: Z, the length of a latent vector.
        classes: K, the samples of a layer.
        batch: B, the most samples of a batch; there are ⌈B / K⌉ layers.
    """

    def __init__(self, code_dim: int, latent_dim: int, classes: int, batch: int) -> None:
        super().__init__()
        self.classes = classes
        layers = -(-batch // classes)
        self.norm = nn.BatchNorm1d(code_dim)
        self.weight = nn.Parameter(torch.empty(layers, code_dim, latent_dim))
        self.bias = nn.Parameter(torch.zeros(layers, 1, latent_dim))

    @torch.no_grad()
    def draw(self, stream: torch.Generator) -> None:
        """New weights from N(0, 1), drawn on the CPU; biases of 0."""
        self.weight.copy_(torch.randn(self.weight.shape, generator=stream))
        self.bias.zero_()

    def forward(self, codes: Tensor) -> Tensor:
        """Map codes, B×D, of which every K in a row are of different classes, to latents, B×Z."""
        layers, count = len(self.weight), len(codes)
        normed: Tensor = self.norm(codes)
        # The last layer may have fewer than K samples; the rest are zeros, whose latents are cut.
        padded = normed.new_zeros(layers * self.classes, normed.shape[1])
        padded[:count] = normed
        latents = torch.baddbmm(self.bias, padded.view(layers, self.classes, -1), self.weight)
        return latents.flatten(0, 1)[:count]


class ClassCodeGenerator(nn.Module):
    """Noisy layers, and a generator that makes images of their latents.

    Args:
        noisy: maps codes to latents.
        images: maps latents to images.
    """

    def __init__(self, noisy: NoisyLayers, images: nn.Module) -> None:
        super().__init__()
        self.noisy, self.images = noisy, images

    def forward(self, codes: Tensor) -> Tensor:
        """Map codes, B×D, to images, B×C×H×W."""
        images: Tensor = self.images(self.noisy(codes))
        return images
