"""Loss terms of images: their diversity, the statistics of their features, their smoothness."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from methods.losses.predictions import EPSILON


def diversity_seeking_loss(
    images_a: Tensor, images_b: Tensor, probs_a: Tensor, probs_b: Tensor
) -> Tensor:
    """1 / (d(x_a, x_b) / d(p_a, p_b)), d the Frobenius norm over the whole batch.

    Penalises images that look alike although the teacher tells them apart.
    Source: RDSKD, Eq. 3; whole-batch norms as in the released code.

    Args:
        images_a: B×C×H×W.
        images_b: B×C×H×W, the images drawn from the other half of the latents.
        probs_a: teacher softmax of ``images_a``, B×K or B×K×H×W.
        probs_b: teacher softmax of ``images_b``, likewise.

    Returns:
        A scalar in [0, ∞).
    """
    image_distance: Tensor = torch.linalg.vector_norm(images_b - images_a)
    teacher_distance: Tensor = torch.linalg.vector_norm(probs_b - probs_a)
    # Written as one quotient: the published reciprocal of a ratio overflows at distance zero.
    return teacher_distance / (image_distance + EPSILON)


def mode_seeking_loss(
    images_a: Tensor,
    images_b: Tensor,
    latents_a: Tensor,
    latents_b: Tensor,
    norm: Literal["l1-mean", "frobenius"] = "l1-mean",
) -> Tensor:
    """1 / (d(x_a, x_b) / d(z_a, z_b)): images must differ as much as their latents do.

    Source: MSGAN (Mao et al. 2019); its released code takes means of absolute differences
    and adds 1e-5 to the ratio. ``frobenius`` is RDSKD's norm in the same place.

    Args:
        images_a: B×C×H×W.
        images_b: B×C×H×W.
        latents_a: B×Z.
        latents_b: B×Z.
        norm: which distance d is.

    Returns:
        A scalar in [0, ∞).
    """
    if norm == "l1-mean":
        ratio = (images_b - images_a).abs().mean() / (latents_b - latents_a).abs().mean()
        return 1.0 / (ratio + 1e-5)
    image_distance: Tensor = torch.linalg.vector_norm(images_b - images_a)
    latent_distance: Tensor = torch.linalg.vector_norm(latents_b - latents_a)
    return latent_distance / (image_distance + EPSILON)


class LayerStatistics(NamedTuple):
    """Statistics of one BatchNorm layer's input, C each: those of a batch, and the stored ones."""

    mean: Tensor
    variance: Tensor
    stored_mean: Tensor
    stored_variance: Tensor


def batch_norm_statistics_loss(
    layers: Iterable[LayerStatistics], first_weight: float = 1.0
) -> Tensor:
    """Σ_l ‖μ_l − μ̂_l‖₂ + ‖σ²_l − σ̂²_l‖₂ over the teacher's BatchNorm layers.

    Source: DeepInversion (Yin et al. 2020), R_feature; norms not squared.

    Args:
        layers: from input to output, at least one (see
            `methods.networks.batch_norm.watch_batch_norms`).
        first_weight: weight of the first layer; the released ImageNet code takes 10.

    Returns:
        A scalar in [0, ∞); it does not grow with the batch.
    """
    distances = [
        torch.linalg.vector_norm(layer.mean - layer.stored_mean)
        + torch.linalg.vector_norm(layer.variance - layer.stored_variance)
        for layer in layers
    ]
    distances[0] = first_weight * distances[0]
    return torch.stack(distances).sum()


def gaussian_statistics_loss(layers: Iterable[LayerStatistics], epsilon: float = 1e-5) -> Tensor:
    """Σ_l Σ_c KL(N(μ_lc, σ²_lc) ‖ N(μ̂_lc, σ̂²_lc)) of a batch's statistics and the stored ones.

    Source: DFQ (Choi et al. 2020), summed over layers and channels as in its port. ε is added to
    both variances, as BatchNorm itself does: a channel that never varied has a variance of zero.

    Args:
        layers: at least one (see `methods.networks.batch_norm.watch_batch_norms`).
        epsilon: ε > 0.

    Returns:
        A scalar in [0, ∞); it does not grow with the batch.
    """
    divergences = []
    for layer in layers:
        variance, stored = layer.variance + epsilon, layer.stored_variance + epsilon
        squares = (layer.mean - layer.stored_mean).square() + variance
        divergences.append((squares / stored - (variance / stored).log() - 1).sum() / 2)
    return torch.stack(divergences).sum()


def total_variation(images: Tensor, norm: Literal["l2", "l1"] = "l2") -> Tensor:
    """Sum of four norms: differences of horizontal, vertical and both diagonal neighbours.

    Source: DeepInversion, R_TV, as released. ``l2`` is the Frobenius norm over the whole batch
    and grows with √B; ``l1``, in the released ImageNet code, is the mean absolute difference.

    Args:
        images: B×C×H×W.
        norm: the norm of each kind of difference.

    Returns:
        A scalar in [0, ∞).
    """
    differences = (
        images[..., :, 1:] - images[..., :, :-1],
        images[..., 1:, :] - images[..., :-1, :],
        images[..., 1:, 1:] - images[..., :-1, :-1],
        images[..., 1:, :-1] - images[..., :-1, 1:],
    )
    if norm == "l1":
        return torch.stack([difference.abs().mean() for difference in differences]).sum()
    return torch.stack([torch.linalg.vector_norm(d) for d in differences]).sum()
