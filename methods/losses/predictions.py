"""Loss terms of predictions, one pure function each.

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

IGNORE_INDEX = 255
"""Label of void pixels, which count in no loss and no metric (torch's ``ignore_index``)."""

CONCENTRATION_FLOOR = 1e-4
"""Keeps the least similar class's Dirichlet concentration positive."""


def samples_by_class(logits: Tensor) -> Tensor:
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

    Raises:
        ValueError: when the logits differ in shape.
    """
    if student_logits.shape != teacher_logits.shape:
        raise ValueError(
            f"the student's logits are {tuple(student_logits.shape)}, the teacher's "
            f"{tuple(teacher_logits.shape)}; they need one shape"
        )
    student = F.log_softmax(samples_by_class(student_logits) / temperature, dim=1)
    teacher = F.log_softmax(samples_by_class(teacher_logits) / temperature, dim=1)
    # Written out, because `F.kl_div` would round otherwise than the committed records.
    divergence = (teacher.exp() * (teacher - student)).sum() / len(teacher)
    return divergence * temperature**2


def pixelwise_loss(
    student_logits: Tensor, teacher_logits: Tensor, batch: Literal["mean", "sum"] = "mean"
) -> Tensor:
    """KL(softmax(t) ‖ softmax(s)) of every pixel, mean over an image's pixels.

    Source: structured KD (Liu et al. 2019), pixel-wise distillation. The released code takes the
    cross-entropy instead, whose gradient is the same, and sums it over the batch
    (``batch="sum"``), so that its weight per image does not depend on the batch's size.

    Args:
        student_logits: B×K×H×W.
        teacher_logits: same shape.
        batch: how images are combined.

    Returns:
        A scalar in [0, ∞).
    """
    images = len(student_logits) if batch == "sum" else 1
    return images * kd_loss(student_logits, teacher_logits)


def label_loss(logits: Tensor, labels: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Cross-entropy with the true labels; void pixels of a label map are left out.

    Args:
        logits: B×K or B×K×H×W.
        labels: B, or B×H×W with `IGNORE_INDEX` where a pixel has no class.
        class_weights: K weights, one for the samples of each class; None for equal ones.

    Returns:
        A scalar in [0, ∞), mean over samples; 0 when all of them are void.
    """
    if labels.ndim == 1:  # labels of whole images, where 255 is a class like any other
        return F.cross_entropy(logits, labels, class_weights)
    if class_weights is not None:
        known = labels != IGNORE_INDEX
        weights = class_weights[torch.where(known, labels, 0)] * known
        own = F.cross_entropy(logits, labels, ignore_index=IGNORE_INDEX, reduction="none")
        return (weights * own).sum() / weights.sum().clamp_min(torch.finfo(weights.dtype).tiny)
    total = F.cross_entropy(logits, labels, ignore_index=IGNORE_INDEX, reduction="sum")
    return total / (labels != IGNORE_INDEX).sum().clamp_min(1)


def one_hot_loss(logits: Tensor) -> Tensor:
    """Cross-entropy of the teacher's prediction against its own arg-max, a constant label.

    Small when the teacher is sure about every sample.
    Source: DAFL (Chen et al. 2019), Eq. 2; RDSKD (Han et al. 2021), Eq. 1.

    Args:
        logits: teacher logits, B×K or B×K×H×W.

    Returns:
        A scalar in [0, log K].
    """
    samples = samples_by_class(logits)
    return F.cross_entropy(samples, samples.detach().argmax(dim=1))


def information_entropy_loss(logits: Tensor, log_base: float = math.e) -> Tensor:
    """Negative entropy of the batch-mean prediction, Σ p̄ log p̄.

    Minimal when the classes are drawn equally often. p̄ = 0 contributes 0 (no NaN).
    Source: DAFL, Eq. 4, without its factor 1/K, which the released code leaves out as well; RDSKD,
    Eq. 2. The released DAFL code takes log10.

    Args:
        logits: teacher logits, B×K or B×K×H×W.
        log_base: base of the logarithm, > 1.

    Returns:
        A scalar in [−log K, 0].
    """
    mean = F.softmax(samples_by_class(logits), dim=1).mean(dim=0)
    # xlogy's own derivative at exactly 0 is −inf; the clamp keeps an underflowed class from
    # turning the whole gradient into NaN.
    mean = mean.clamp_min(torch.finfo(mean.dtype).tiny)
    return torch.xlogy(mean, mean).sum() / math.log(log_base)


def entropy_loss(logits: Tensor) -> Tensor:
    """Mean entropy of the single predictions, −Σ p log p.

    Small when the teacher is sure about every sample.
    Source: DeGAN (Addepalli et al. 2020), whose released code adds 1e-5 inside the logarithm: which
    changes less than K·1e-5 and is not needed for the logarithm of a softmax.

    Args:
        logits: teacher logits, B×K or B×K×H×W.

    Returns:
        A scalar in [0, log K].
    """
    log_probs = F.log_softmax(samples_by_class(logits), dim=1)
    return -(log_probs.exp() * log_probs).sum(dim=1).mean()


def weighted_diversity_loss(logits: Tensor, epsilon: float = 1e-12) -> Tensor:
    """(1/K) Σ_c (1/K − w_c)² / (w_c + ε), w the mean prediction over all samples.

    The distance of the classes' shares from equal shares, in which rare classes count for more; the
    gradient flows through the denominator too.
    Source: DeGAN for segmentation (Bhogale 2020), Eq. 5, "regression" in the released code, which
    has no ε: a class whose share underflows to zero would make the loss infinite. Rare classes are
    what the loss is about, so ε is small: it changes loss and gradient by less than 1 % down to a
    share of 2e-10.

    Args:
        logits: teacher logits, B×K or B×K×H×W.
        epsilon: ε > 0, of float32 logits at least 1e-19, whose square is a number there.

    Returns:
        A scalar in [0, ∞).
    """
    share = F.softmax(samples_by_class(logits), dim=1).mean(dim=0)
    return ((1 / len(share) - share).square() / (share + epsilon)).mean()


def increment_penalty(loss: Tensor, previous: Tensor | float) -> Tensor:
    """exp(loss − previous): a growing loss costs more than an equally shrinking one gains.

    Source: RDSKD, Eq. 4, where ``previous`` is the term's value in the previous epoch.

    Args:
        loss: scalar.
        previous: the earlier value, a constant.

    Returns:
        A scalar in (0, ∞).
    """
    return torch.exp(loss - previous)


def competition_loss(
    teacher_logits: Tensor,
    student_logits: Tensor,
    temperature: float = 3.0,
    form: Literal["exact", "released"] = "exact",
) -> Tensor:
    """1 − JS(softmax(t/τ), softmax(s/τ)): small where teacher and student disagree.

    Source: DeepInversion, R_compete. With M = (P+Q)/2 the divergence is ½KL(P‖M) + ½KL(Q‖M).
    The released code takes ½KL(M‖P) + ½KL(M‖Q) instead, with P, Q and M clamped to [0.01, 0.99]
    and the result to [0, 1], where no gradient is left.

    Args:
        teacher_logits: B×K or B×K×H×W.
        student_logits: same shape.
        temperature: τ > 0.
        form: the definition, or the released code's.

    Returns:
        A scalar, mean over samples: in [1 − log 2, 1], or in [0, 1] as released.
    """
    p = F.softmax(samples_by_class(teacher_logits) / temperature, dim=1)
    q = F.softmax(samples_by_class(student_logits) / temperature, dim=1)
    middle = (p + q) / 2
    if form == "released":
        p, q, middle = (x.clamp(0.01, 0.99) for x in (p, q, middle))
        logs = torch.log(p) + torch.log(q)
        divergence = (middle * (torch.log(middle) - logs / 2)).sum(dim=1).mean()
        return 1 - divergence.clamp(0, 1)
    # xlogy's derivative at exactly 0 is −inf; an underflowed class must not spoil the gradient.
    p, q, middle = (x.clamp_min(torch.finfo(x.dtype).tiny) for x in (p, q, middle))
    divergence = (p * (p / middle).log() + q * (q / middle).log()).sum(dim=1).mean() / 2
    return 1 - divergence


def class_similarity(weight: Tensor) -> Tensor:
    """Cosines between the classifier's weight vectors, C_ij = cos(w_i, w_j).

    Source: ZSKD (Nayak et al. 2019): classes whose weights are alike look alike to the teacher.

    Args:
        weight: weights of the final layer, K×D.

    Returns:
        K×K in [−1, 1], with ones on the diagonal.
    """
    unit = F.normalize(weight, dim=1)
    return unit @ unit.t()


def dirichlet_concentration(similarity: Tensor, scale: float = 1.0) -> Tensor:
    """β·α^k: every row of the similarities min–max normalised, made positive and scaled.

    Source: ZSKD. A small β makes soft targets peaked, β = 1 spreads them. The released code
    normalises the rows once more after scaling, which undoes β, and adds the floor of 1e-4 after
    that; here the floor is scaled too, and is 1e-5 at β = 0.1.

    Args:
        similarity: K×K, K ≥ 2, rows not constant.
        scale: β > 0.

    Returns:
        K×K; row k in [1e-4·β, (1 + 1e-4)·β] holds the concentrations of class k.
    """
    low, high = similarity.amin(1, keepdim=True), similarity.amax(1, keepdim=True)
    return scale * ((similarity - low) / (high - low) + CONCENTRATION_FLOOR)


def median_frequency_weights(labels: Tensor, num_classes: int) -> Tensor:
    """Class weights that make rare classes count: median frequency over a class's frequency.

    A class's frequency is its share of the pixels of those images that show it; void is left out.
    A class that never occurs weighs nothing.
    Source: Eigen and Fergus 2015, Section 4; SegNet (Badrinarayanan et al. 2017), Section 4.

    Args:
        labels: N×H×W maps.
        num_classes: K.

    Returns:
        K float32, on the labels' device.
    """
    maps = [image[image != IGNORE_INDEX].long() for image in labels]
    counts = torch.stack([known.bincount(minlength=num_classes) for known in maps]).double()
    shown = (counts > 0).double() * counts.sum(dim=1, keepdim=True)
    frequency = counts.sum(dim=0) / shown.sum(dim=0).clamp(min=1)
    occurs = frequency > 0
    weights = torch.zeros_like(frequency)
    # numpy's median of an even number of values, their middle; torch's is the lower one.
    weights[occurs] = frequency[occurs].quantile(0.5) / frequency[occurs]
    return weights.float()
