"""Every published loss term, one pure function each.

Conventions: ``logits`` are B×K for classification or B×K×H×W for segmentation, where
"sample" then means pixel. Logarithms are natural unless an argument says otherwise. All
functions compute in the logits' own precision; callers under autocast pass ``.float()``.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-8
"""Guards divisions by a distance that may be exactly zero.

The released RDSKD code uses 1e-20, whose square underflows in float32 and makes the gradient NaN.
"""


def _samples_by_class(logits: Tensor) -> Tensor:
    """View logits as N×K: every pixel of a segmentation map is a sample of its own."""
    return logits.movedim(1, -1).reshape(-1, logits.shape[1])


def kd_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Knowledge distillation: τ² · KL(softmax(t/τ) ‖ softmax(s/τ)), averaged over samples.

    Source: Hinton et al. 2015. The factor τ² keeps the gradient's size independent of τ.

    Args:
        student_logits: B×K or B×K×H×W.
        teacher_logits: same shape; no gradient is taken through it unless it carries one.
        temperature: τ > 0.

    Returns:
        A scalar in [0, ∞).
    """
    student = F.log_softmax(_samples_by_class(student_logits) / temperature, dim=1)
    teacher = F.log_softmax(_samples_by_class(teacher_logits) / temperature, dim=1)
    # Written out, because kl_div cannot be batched over seeds (`torch.vmap`).
    divergence = (teacher.exp() * (teacher - student)).sum() / len(teacher)
    return divergence * temperature**2


def one_hot_loss(logits: Tensor) -> Tensor:
    """Cross-entropy of the teacher's prediction against its own arg-max, a constant label.

    Small when every sample is one the teacher is sure about.
    Source: DAFL (Chen et al. 2019), Eq. 2; RDSKD (Han et al. 2021), Eq. 1.

    Args:
        logits: teacher logits, B×K or B×K×H×W.

    Returns:
        A scalar in [0, log K].
    """
    samples = _samples_by_class(logits)
    return F.cross_entropy(samples, samples.detach().argmax(dim=1))


def information_entropy_loss(logits: Tensor, log_base: float = math.e) -> Tensor:
    """Negative entropy of the batch-mean prediction, Σ p̄ log p̄.

    Minimal when the classes are drawn equally often. p̄ = 0 contributes 0 (no NaN).
    Source: DAFL, Eq. 4; RDSKD, Eq. 2. The released DAFL code takes log10.

    Args:
        logits: teacher logits, B×K or B×K×H×W.
        log_base: base of the logarithm, > 1.

    Returns:
        A scalar in [−log K, 0].
    """
    mean = F.softmax(_samples_by_class(logits), dim=1).mean(dim=0)
    # xlogy's own derivative at exactly 0 is −inf; the clamp keeps an underflowed class from
    # turning the whole gradient into NaN.
    mean = mean.clamp_min(torch.finfo(mean.dtype).tiny)
    return torch.xlogy(mean, mean).sum() / math.log(log_base)


def entropy_loss(logits: Tensor) -> Tensor:
    """Mean entropy of the single predictions, −Σ p log p.

    Small when every sample is one the teacher is sure about.
    Source: DeGAN (Addepalli et al. 2020), whose released code adds 1e-5 inside the logarithm: less
    than K·1e-5 of difference, and no need here, where the logarithm is that of a softmax.

    Args:
        logits: teacher logits, B×K or B×K×H×W.

    Returns:
        A scalar in [0, log K].
    """
    log_probs = F.log_softmax(_samples_by_class(logits), dim=1)
    return -(log_probs.exp() * log_probs).sum(dim=1).mean()


def activation_loss(features: Tensor, reduction: Literal["sum", "mean"] = "sum") -> Tensor:
    """Negative ℓ1 norm of the features entering the teacher's classifier, mean over samples.

    Real images excite more neurons than noise.
    Source: DAFL, Eq. 3. The released code averages over a feature vector's entries instead of
    summing them (``reduction="mean"``), and the published weight is tuned to that.

    Args:
        features: B×D.
        reduction: how the entries of one sample's feature vector are combined.

    Returns:
        A scalar in (−∞, 0].
    """
    absolute = features.abs()
    return -(absolute.sum(dim=1) if reduction == "sum" else absolute.mean(dim=1)).mean()


def diversity_seeking_loss(
    images_a: Tensor, images_b: Tensor, probs_a: Tensor, probs_b: Tensor
) -> Tensor:
    """1 / (d(x_a, x_b) / d(p_a, p_b)), d the Frobenius norm over the whole batch.

    Penalises images that look alike although the teacher tells them apart.
    Source: RDSKD, Eq. 3; whole-batch norms as in the released code.

    Args:
        images_a: B×C×H×W.
        images_b: B×C×H×W, the images drawn from the other half of the latents.
        probs_a: teacher softmax of ``images_a``, B×K.
        probs_b: teacher softmax of ``images_b``, B×K.

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


def increment_penalty(loss: Tensor, previous: Tensor | float) -> Tensor:
    """exp(loss − previous): a loss that grows is punished more than a shrinking one pays.

    Source: RDSKD, Eq. 5, where ``previous`` is the term's value in the previous epoch.

    Args:
        loss: scalar.
        previous: the earlier value, a constant.

    Returns:
        A scalar in (0, ∞).
    """
    return torch.exp(loss - previous)
