"""The development split: training images that no student learns from."""

from __future__ import annotations

import pytest
import torch

from benchmark.tasks.data.base import Dataset, Split


def dataset(count: int) -> Dataset:
    images = torch.arange(count).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    train = Split(images, torch.arange(count))
    return Dataset(train, Split(images[:3], torch.arange(3)))


@pytest.mark.parametrize(("count", "held_out"), [(5, 1), (100, 10), (1437, 143), (60_000, 5000)])
def test_every_training_image_is_in_one_of_the_two_splits(count: int, held_out: int) -> None:
    data = dataset(count)
    development, learnable = data.development.labels, data.learnable.labels
    assert len(development) == held_out
    assert torch.equal(torch.cat([development, learnable]).sort().values, torch.arange(count))
    assert torch.equal(learnable, learnable.sort().values), "students see the images in their order"
    assert torch.equal(data.development.images[:, 0, 0, 0], development)


def test_the_split_is_the_same_everywhere_and_follows_no_order() -> None:
    chosen = dataset(1000).development.labels
    assert torch.equal(chosen, dataset(1000).development.labels)
    assert not torch.equal(chosen, chosen.sort().values)
    assert chosen.max() > 800
    assert chosen.min() < 200
