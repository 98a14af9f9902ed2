"""Where a network looks: maps of what the positions of an image count for, and their distance."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def class_activation_maps(features: Tensor, weight: Tensor) -> Tensor:
    """What every position of the last features adds to the logit of every class.

    Source: CAM (Zhou et al. 2016), for a linear layer behind global average pooling, whose logit
    is the mean of its map and a bias. Of a linear layer on flattened features, which has weights
    for every position, the logit is the sum.

    Args:
        features: B×D×h×w, the last before the classifier.
        weight: of the classifier, K×D, or K×(D·h·w) where features are flattened.

    Returns:
        B×K×h×w.

    Raises:
        ValueError: when the layer is for other features.
    """
    _, depth, height, width = features.shape
    if weight.shape[1] == depth:
        return F.conv2d(features, weight[:, :, None, None])
    if weight.shape[1] != depth * height * width:
        raise ValueError(
            f"a linear layer of {weight.shape[1]} inputs is not for features of "
            f"{depth}×{height}×{width}"
        )
    positions = weight.view(-1, depth, height, width)
    return (features[:, None] * positions).sum(dim=2)


def grad_cam(features: Tensor, gradients: Tensor) -> Tensor:
    """Σ_c w_c·features_c, in which w_c is the mean of the gradients of channel c.

    Source: Grad-CAM (Selvaraju et al. 2017), without its last ReLU, as in SpaceshipNet's released
    code.

    Args:
        features: B×D×h×w.
        gradients: same shape, the gradients of a class's logit; constants.

    Returns:
        B×h×w.
    """
    weights = gradients.detach().mean(dim=(2, 3), keepdim=True)
    return (weights * features).sum(dim=1)


def activation_region_loss(student_maps: Tensor, teacher_maps: Tensor) -> Tensor:
    """Mean squared difference of student's and teacher's maps.

    Source: SpaceshipNet (Yu et al. 2023), spatial activation region consistency.

    Args:
        student_maps: B×h×w, or B×K×h×w.
        teacher_maps: same shape.

    Returns:
        A scalar in [0, ∞).

    Raises:
        ValueError: when the maps differ in shape.
    """
    if student_maps.shape != teacher_maps.shape:
        raise ValueError(
            f"the student's maps are {tuple(student_maps.shape)}, the teacher's "
            f"{tuple(teacher_maps.shape)}; they need one shape"
        )
    return F.mse_loss(student_maps, teacher_maps)
