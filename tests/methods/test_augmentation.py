from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from methods import augmentation
from methods.augmentation import random_views, with_views
from methods.sources import ImageBank
from tests.helpers import tiny_run


@pytest.fixture
def still(monkeypatch: Any) -> Any:
    for name in ("SCALE", "DEGREES", "SHIFT", "NOISE"):
        monkeypatch.setattr(augmentation, name, 0.0)
    return monkeypatch


def views_of(images: Tensor) -> Tensor:
    return random_views(images, torch.Generator().manual_seed(0))


def blobs(count: int, size: int = 33) -> Tensor:
    """One bright line from the centre to the right, per image."""
    images = torch.zeros(count, 1, size, size)
    images[:, :, size // 2 - 1 : size // 2 + 2, size // 2 : size // 2 + 10] = 1.0
    return images


def centre(images: Tensor) -> Tensor:
    """Centre of mass of every image, B×2 (x, y), in image sizes from the middle."""
    size = images.shape[-1]
    axis = (torch.arange(size) + 0.5) / size - 0.5
    mass = images.sum(dim=(1, 2, 3))
    x = (images.sum(dim=(1, 2)) * axis).sum(1) / mass
    y = (images.sum(dim=(1, 3)) * axis).sum(1) / mass
    return torch.stack([x, y], dim=1)


def test_without_any_change_a_view_is_the_image(still: Any) -> None:
    images = torch.randn(4, 3, 8, 6)
    torch.testing.assert_close(views_of(images), images, rtol=1e-4, atol=1e-5)


def test_a_view_is_moved_within_its_reach(still: Any) -> None:
    still.setattr(augmentation, "SHIFT", 0.15)
    moved = centre(views_of(blobs(200))) - centre(blobs(200))
    assert moved.abs().max() <= 0.151
    assert (moved.amax(0) > 0.13).all()
    assert (moved.amin(0) < -0.13).all()


def test_a_view_is_rotated_within_its_reach(still: Any) -> None:
    still.setattr(augmentation, "DEGREES", 15.0)
    x, y = centre(views_of(blobs(200))).unbind(1)
    degrees = torch.rad2deg(torch.atan2(y, x))
    assert 13 < degrees.max() < 16
    assert -16 < degrees.min() < -13


def test_a_view_is_scaled_within_its_reach(still: Any) -> None:
    still.setattr(augmentation, "SCALE", 0.2)
    length = centre(views_of(blobs(200)))[:, 0] / centre(blobs(1))[0, 0]
    assert 1.15 < length.max() < 1.25
    assert 0.75 < length.min() < 0.85


def test_half_of_the_views_are_mirrored_where_that_is_asked_for(still: Any) -> None:
    images = torch.randn(200, 1, 5, 8, generator=torch.Generator().manual_seed(1))
    views = random_views(images, torch.Generator().manual_seed(0), flip=True)
    same = ((views - images).abs().amax(dim=(1, 2, 3)) < 1e-4).float()
    mirrored = ((views - images.flip(3)).abs().amax(dim=(1, 2, 3)) < 1e-4).float()
    assert torch.equal(same + mirrored, torch.ones(200))
    assert 70 < mirrored.sum() < 130
    torch.testing.assert_close(views_of(images), images, rtol=1e-4, atol=1e-5)


def test_noise_has_its_standard_deviation(still: Any) -> None:
    still.setattr(augmentation, "NOISE", 0.1)
    assert views_of(torch.zeros(50, 1, 16, 16)).std().item() == pytest.approx(0.1, rel=0.05)


def test_views_join_the_training_images_and_leave_validation_alone() -> None:
    _, run = tiny_run()
    bank = ImageBank(torch.rand(10, 1, 8, 8).half(), 3)
    more = with_views(bank, 2, run)
    assert (len(more), more.held_out) == (21, 3)
    assert torch.equal(more.images[:7], bank.images[:7])
    assert torch.equal(more.images[-3:], bank.images[-3:])
    assert not torch.equal(more.images[7:14], more.images[14:21])
    assert run.ledger.synthetic_images == 14
    assert with_views(bank, 0, run) is bank
