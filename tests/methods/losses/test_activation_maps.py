from __future__ import annotations

import numpy as np
import pytest
import torch

from methods.losses.activation_maps import (
    activation_region_loss,
    class_activation_maps,
    grad_cam,
)
from tests.formulas import random


def test_pooled_class_maps_have_the_logits_as_mean() -> None:
    features, weight = random(2, 5, 3, 4), random(6, 5, seed=1)
    maps = class_activation_maps(features, weight).numpy()
    np.testing.assert_allclose(maps, np.einsum("kd,bdhw->bkhw", weight, features))
    np.testing.assert_allclose(maps.mean(axis=(2, 3)), features.mean(dim=(2, 3)) @ weight.T)


def test_flattened_class_maps_have_the_logits_as_sum() -> None:
    features, weight = random(2, 5, 3, 4), random(6, 60, seed=1)
    maps = class_activation_maps(features, weight)
    assert maps.shape == (2, 6, 3, 4)
    torch.testing.assert_close(maps.sum(dim=(2, 3)), features.flatten(1) @ weight.T)
    one = sum(weight[4].view(5, 3, 4)[d, 1, 2] * features[1, d, 1, 2] for d in range(5))
    torch.testing.assert_close(maps[1, 4, 1, 2], one)


def test_a_layer_for_other_features_has_no_class_maps() -> None:
    with pytest.raises(ValueError, match="7 inputs is not for features of 5×3×4"):
        class_activation_maps(random(2, 5, 3, 4), random(6, 7))


def test_grad_cam_weighs_channels_by_their_mean_gradient() -> None:
    features, gradients = random(2, 5, 3, 4).requires_grad_(), random(2, 5, 3, 4, seed=1)
    found = grad_cam(features, gradients)
    weights = gradients.numpy().mean(axis=(2, 3))
    expected = np.einsum("bd,bdhw->bhw", weights, features.detach().numpy())
    np.testing.assert_allclose(found.detach().numpy(), expected)


def test_the_weights_of_grad_cam_are_constants() -> None:
    features = random(2, 5, 3, 4).requires_grad_()
    gradients = features**2
    (slope,) = torch.autograd.grad(grad_cam(features, gradients).sum(), features)
    weights = (features.detach() ** 2).mean(dim=(2, 3), keepdim=True)
    torch.testing.assert_close(slope, weights.expand_as(slope))


def test_the_distance_is_a_mean_of_squares() -> None:
    mine, theirs = random(2, 3, 4), random(2, 3, 4, seed=1)
    expected = ((mine.numpy() - theirs.numpy()) ** 2).mean()
    assert activation_region_loss(mine, theirs).item() == pytest.approx(expected)


def test_maps_that_would_be_broadcast_are_refused() -> None:
    with pytest.raises(ValueError, match="need one shape"):
        activation_region_loss(random(2, 1, 4), random(2, 3, 4))
