"""Loss terms between a student's maps and its teacher's, one pure function each.

Maps are B×D×h×w. Student and teacher may differ in D for terms that compare relations between
positions (`pairwise_loss`, `affinity_loss`, `attention_loss`); in h×w they may differ for
`attention_loss` alone. Every term is a mean over the batch unless a keyword asks for the released
code's sum.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

NODE_EPSILON = 1e-8
"""Added to the norm of a node's features, as in the released code of structured KD."""


def pairwise_loss(student_features: Tensor, teacher_features: Tensor, scale: float = 0.5) -> Tensor:
    """Squared difference of the similarities between nodes, mean over all pairs and images.

    A node is the maximum over a window of ⌊scale·h⌋×⌊scale·w⌋ positions, divided by its length, so
    that the similarity a_ij of two nodes is their cosine; the length is a constant to the gradient,
    as released.
    Source: structured KD (Liu et al. 2019), pair-wise distillation.

    Args:
        student_features: B×D×h×w.
        teacher_features: B×D'×h×w.
        scale: side of a node over the map's, in (0, 1]; a half makes four nodes of an even
            map and nine of an odd one.

    Returns:
        A scalar in [0, 4].

    Raises:
        ValueError: when the maps differ in h×w.
    """
    _require_equal_maps(student_features, teacher_features)
    mine, theirs = (_similarities(maps, scale) for maps in (student_features, teacher_features))
    return (mine - theirs).square().mean()


def _similarities(features: Tensor, scale: float) -> Tensor:
    """Cosines between the nodes of every map, B×N×N."""
    height, width = features.shape[2:]
    window = (max(1, int(scale * height)), max(1, int(scale * width)))
    nodes: Tensor = F.max_pool2d(features, window, stride=window, ceil_mode=True).flatten(2)
    length = nodes.detach().norm(dim=1, keepdim=True) + NODE_EPSILON
    nodes = nodes / length
    return nodes.transpose(1, 2) @ nodes


def adapter_loss(student_features: Tensor, teacher_code: Tensor, p: int = 1, q: int = 2) -> Tensor:
    """‖s_j/‖s_j‖_q − t_j/‖t_j‖_q‖_p, mean over positions j and images.

    Source: knowledge adaptation (He et al. 2019), feature adapter. The paper does not print p and
    q; the defaults are torchdistill's. That code divides a whole map by its norm, not every
    position by its own, and takes the mean over all entries where this takes the sum over
    channels: its term is smaller, and the weight of 50 counts less there.

    Args:
        student_features: B×D×h×w, the student's after its adapter.
        teacher_code: B×D×h×w, the teacher's after the encoder.
        p: order of the norm of the difference.
        q: order of the norm that every position is divided by.

    Returns:
        A scalar in [0, ∞).

    Raises:
        ValueError: when the maps differ in shape.
    """
    _require_equal_shapes(student_features, teacher_code)
    difference = F.normalize(student_features, p=q, dim=1) - F.normalize(teacher_code, p=q, dim=1)
    distances: Tensor = torch.linalg.vector_norm(difference, ord=p, dim=1)
    return distances.mean()


def affinity_loss(student_features: Tensor, teacher_code: Tensor) -> Tensor:
    """Σ_ij (A^s_ij − A^t_ij)², A_ij = cos(Φ_i, Φ_j)/m over the m positions; mean over images.

    Source: knowledge adaptation (He et al. 2019), affinity distillation. torchdistill's form, of
    products between channels, is another one. An affinity matrix has m² entries.

    Args:
        student_features: B×D×h×w.
        teacher_code: B×D'×h×w.

    Returns:
        A scalar in [0, 4].

    Raises:
        ValueError: when the maps differ in h×w.
    """
    _require_equal_maps(student_features, teacher_code)
    difference = _affinities(student_features) - _affinities(teacher_code)
    return difference.square().sum(dim=(1, 2)).mean()


def _affinities(features: Tensor) -> Tensor:
    """cos(Φ_i, Φ_j)/m between the m positions of every map, B×m×m."""
    unit = F.normalize(features.flatten(2), dim=1)
    return unit.transpose(1, 2) @ unit / unit.shape[2]


def attention_loss(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """Mean squared difference of the attention maps: mean of squares over channels, unit length.

    Source: attention transfer (Zagoruyko & Komodakis 2017) as released, which takes the mean over
    positions where the paper takes a norm; β = 1000 is tuned to that. Maps of unequal size are
    averaged to the smaller height and width.

    Args:
        student_features: B×D×h×w.
        teacher_features: B×D'×h'×w'.

    Returns:
        A scalar in [0, ∞).
    """
    height = min(student_features.shape[2], teacher_features.shape[2])
    width = min(student_features.shape[3], teacher_features.shape[3])
    size = (height, width)
    student, teacher = _attention(student_features, size), _attention(teacher_features, size)
    return (student - teacher).square().mean()


def _attention(features: Tensor, size: tuple[int, int]) -> Tensor:
    """The attention map of every image, B×(h·w), of unit length."""
    if tuple(features.shape[2:]) != size:
        features = F.adaptive_avg_pool2d(features, size)
    return F.normalize(features.square().mean(dim=1).flatten(1))


def hint_loss(
    guided_features: Tensor, hint: Tensor, reduction: Literal["mean", "sum"] = "mean"
) -> Tensor:
    """Squared difference of the student's regressed features and the teacher's hint.

    Source: FitNets (Romero et al. 2015), Eq. 3, which sums over a map's entries and halves
    (``reduction="sum"``); RepDistiller's weight of 100 is tuned to the mean.

    Args:
        guided_features: B×D×h×w, the student's after its regressor.
        hint: B×D×h×w, the teacher's.
        reduction: how the entries of one image's map are combined.

    Returns:
        A scalar in [0, ∞), mean over images.

    Raises:
        ValueError: when the maps differ in shape.
    """
    _require_equal_shapes(guided_features, hint)
    squares = (guided_features - hint).square()
    return squares.mean() if reduction == "mean" else squares.flatten(1).sum(dim=1).mean() / 2


def _require_equal_maps(student: Tensor, teacher: Tensor) -> None:
    """Raise, because broadcasting would silently compare maps of unequal size."""
    if student.shape[2:] != teacher.shape[2:]:
        raise ValueError(
            f"the student's map is {tuple(student.shape[2:])}, the teacher's "
            f"{tuple(teacher.shape[2:])}; resize one of them"
        )


def _require_equal_shapes(student: Tensor, teacher: Tensor) -> None:
    """Raise, because broadcasting would silently compare one channel with many."""
    if student.shape != teacher.shape:
        raise ValueError(
            f"the student's map is {tuple(student.shape)}, the teacher's {tuple(teacher.shape)}; "
            "adapt one of them"
        )


def activation_loss(features: Tensor, reduction: Literal["sum", "mean"] = "sum") -> Tensor:
    """Negative ℓ1 norm of the features entering the teacher's classifier, mean over samples.

    Real images excite more neurons than noise.
    Source: DAFL, Eq. 3. The released code averages over a feature vector's entries instead of
    summing them (``reduction="mean"``), and the published weight is tuned to that.

    Args:
        features: B×D, or B×D×h×w of a segmentation network, whose positions are the samples.
        reduction: how the entries of one sample's feature vector are combined.

    Returns:
        A scalar in (−∞, 0].
    """
    absolute = features.abs()
    return -(absolute.sum(dim=1) if reduction == "sum" else absolute.mean(dim=1)).mean()
