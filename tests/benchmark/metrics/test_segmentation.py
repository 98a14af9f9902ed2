from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmark.metrics.segmentation import (
    collapse_threshold,
    confusion_matrix,
    constant_miou,
    count_confusion,
    mean_iou,
    per_class_iou,
    pixel_accuracy,
    predicted_shares,
)
from methods.losses.predictions import IGNORE_INDEX as VOID

# Two maps of 2×3 pixels in four classes. Class 3 has no true pixel but is predicted once.
TRUE = torch.tensor([[[0, 0, 1], [1, 2, VOID]], [[0, 2, 2], [VOID, 1, 0]]], dtype=torch.uint8)
SAID = torch.tensor([[[0, 1, 1], [1, 2, 3]], [[0, 2, 3], [0, 1, 0]]])


def test_confusion_counts_pixels_by_hand_without_void() -> None:
    assert count_confusion(SAID, TRUE, 4).tolist() == [
        [3, 1, 0, 0],
        [0, 3, 0, 0],
        [0, 0, 2, 1],
        [0, 0, 0, 0],
    ]


def test_scores_are_those_worked_out_by_hand() -> None:
    confusion = count_confusion(SAID, TRUE, 4)
    assert per_class_iou(confusion) == [3 / 4, 3 / 4, 2 / 3, None]
    assert mean_iou(confusion) == pytest.approx((3 / 4 + 3 / 4 + 2 / 3) / 3)
    assert pixel_accuracy(confusion) == pytest.approx(8 / 10)


def test_scores_agree_with_plain_loops_over_random_maps() -> None:
    stream = np.random.default_rng(0)
    true = stream.integers(0, 5, (7, 6, 5))
    true[stream.random(true.shape) < 0.2] = VOID
    said = np.where(stream.random(true.shape) < 0.5, true % 5, stream.integers(0, 5, true.shape))
    confusion = count_confusion(torch.from_numpy(said), torch.from_numpy(true), 5)
    for label, iou in enumerate(per_class_iou(confusion)):
        known = true != VOID
        both = ((true == label) & (said == label) & known).sum()
        either = (((true == label) | (said == label)) & known).sum()
        assert iou == pytest.approx(both / either, abs=1e-12)


class Echo(nn.Module):
    """Predicts what the image holds."""

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.one_hot(images[:, 0].long(), 4).permute(0, 3, 1, 2).float()


def test_a_confusion_matrix_is_the_sum_over_batches_whatever_their_sizes() -> None:
    images = SAID[:, None].float()
    parts = [(images[:1], TRUE[:1]), (images[1:], TRUE[1:])]
    whole = confusion_matrix(Echo(), [(images, TRUE)], 4)
    assert torch.equal(confusion_matrix(Echo(), parts, 4), whole)
    assert torch.equal(whole, count_confusion(SAID, TRUE, 4))


def test_shares_are_those_of_predicted_pixels() -> None:
    images = torch.tensor([[[[0, 0, 0, 2]]], [[[2, 0, 1, 0]]]]).float()
    assert predicted_shares(Echo(), images, 4) == [5 / 8, 1 / 8, 2 / 8, 0.0]


def test_a_constant_prediction_scores_what_chance_says() -> None:
    labels = torch.tensor([[[0, 0, 0, 1]], [[0, 2, VOID, VOID]]])
    best = max(
        mean_iou(count_confusion(torch.full_like(labels, label), labels, 4)) for label in range(4)
    )
    assert constant_miou(labels, 4) == pytest.approx(best)
    assert best == pytest.approx(4 / 6 / 3)


def test_the_collapse_threshold_adds_two_standard_errors_over_images() -> None:
    labels = torch.tensor([[[0, 0, 0, 1]], [[0, 2, VOID, VOID]], [[0, 0, 1, 1]]])
    shares = np.array([3 / 4, 1 / 2, 1 / 2])
    error = shares.std(ddof=1) / np.sqrt(3)
    expected = (6 / 10 + 2 * error) / 3
    assert collapse_threshold(labels, 4) == pytest.approx(expected)


def test_one_image_and_maps_of_void_alone_have_a_threshold() -> None:
    one = torch.tensor([[[0, 0, 1, VOID]]])
    assert collapse_threshold(one, 2) == pytest.approx(2 / 3 / 2)
    with_empty = torch.cat([one, torch.full_like(one, VOID)])
    assert collapse_threshold(with_empty, 2) == pytest.approx(2 / 3 / 2)
