from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmark.models.lenet import lenet5, lenet5_half
from benchmark.models.small_cnn import SmallCNN
from benchmark.tasks.registry import all_tasks, get_task


@pytest.mark.parametrize(
    ("network", "count"), [(lenet5(), 61_706), (lenet5_half(), 15_738)], ids=["LeNet-5", "half"]
)
def test_lenets_have_the_published_number_of_parameters(network: nn.Module, count: int) -> None:
    assert sum(p.numel() for p in network.parameters()) == count


@pytest.mark.parametrize("name", all_tasks())
def test_networks_follow_timms_convention(name: str) -> None:
    task = get_task(name)
    images = torch.randn(3, *task.image_shape)
    for network in (task.make_teacher().eval(), task.make_student().eval()):
        features = network.forward_features(images)
        pooled = network.forward_head(features, pre_logits=True)
        assert features.dim() == 4
        assert pooled.dim() == 2
        assert network.num_classes == task.num_classes
        assert network(images).shape == (3, task.num_classes)
        torch.testing.assert_close(network(images), network.forward_head(features))


def test_the_student_is_smaller_than_its_teacher() -> None:
    for name in all_tasks():
        task = get_task(name)
        teacher, student = (
            sum(p.numel() for p in network.parameters())
            for network in (task.make_teacher(), task.make_student())
        )
        assert student < teacher


def test_small_cnn_takes_any_size_divisible_by_four() -> None:
    network = SmallCNN(5, (3, 8, 12), width=2)
    assert network(torch.randn(2, 3, 8, 12)).shape == (2, 5)
