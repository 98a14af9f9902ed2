from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from benchmark.tasks.models.lenet import lenet5, lenet5_half
from benchmark.tasks.models.resnet import resnet18, resnet34
from benchmark.tasks.models.small_cnn import SmallCNN
from benchmark.tasks.models.wide_resnet import WideResNet, wide_resnet
from benchmark.tasks.registry import all_tasks, get_task


@pytest.mark.parametrize(
    ("network", "count"), [(lenet5(), 61_706), (lenet5_half(), 15_738)], ids=["LeNet-5", "half"]
)
def test_lenets_have_the_published_number_of_parameters(network: nn.Module, count: int) -> None:
    assert sum(p.numel() for p in network.parameters()) == count


CLASSIFICATION = [name for name, cls in all_tasks().items() if cls.task_type == "classification"]
SEGMENTATION = ["scenes", "camvid", "camvid-void", "camvid-lite", "voc2012"]


@pytest.mark.parametrize("name", CLASSIFICATION)
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


@torch.no_grad()
@pytest.mark.parametrize("name", SEGMENTATION)
def test_segmentation_networks_follow_the_same_convention(name: str) -> None:
    task = get_task(name)
    images = torch.randn(2, 3, 32, 48)
    strides = {"scenes": (2, 2), "camvid-lite": (16, 16), "voc2012": (8, 1)}.get(name, (8, 16))
    networks = (task.make_teacher().eval(), task.make_student().eval())
    assert tuple(network.output_stride for network in networks) == strides
    for network in networks:
        stride = network.output_stride
        features = network.forward_features(images)
        assert features.shape == (2, network.num_features, 32 // stride, 48 // stride)
        classified = network.forward_head(features, pre_logits=True)
        assert classified.shape[-2:] == features.shape[-2:]
        assert network.num_classes == task.num_classes
        logits = network(images)
        assert logits.shape == (2, task.num_classes, 32, 48)
        torch.testing.assert_close(logits, network.forward_head(features))
        small = network.classifier(classified)
        if stride > 1:
            small = torch.nn.functional.interpolate(
                small, (32, 48), mode="bilinear", align_corners=False
            )
        torch.testing.assert_close(logits, small)


def test_dropout_is_the_teachers_alone() -> None:
    # A student that drew from torch's global generator would not repeat.
    for name in SEGMENTATION:
        with torch.device("meta"):
            student = get_task(name).make_student()
        assert not any(isinstance(module, nn.Dropout) for module in student.modules())


def test_a_network_dilated_like_torchvision_s_gives_its_logits() -> None:
    from torchvision.models.segmentation import deeplabv3_resnet101

    from benchmark.tasks.models.deeplab import torchvision_deeplab_resnet101

    theirs = deeplabv3_resnet101(weights=None, weights_backbone=None, num_classes=5).eval()
    ours = torchvision_deeplab_resnet101(5).eval()
    renamed = {}
    for key, value in theirs.state_dict().items():
        for old, new in (
            ("backbone.", "backbone.stages."),
            ("classifier.0.", "pyramid."),
            ("classifier.1.", "fuse.0."),
            ("classifier.2.", "fuse.1."),
            ("classifier.4.", "classifier."),
        ):
            if key.startswith(old):
                renamed[new + key.removeprefix(old)] = value
                break
    ours.load_state_dict(renamed)
    # In float32 a hundred layers of roundings differ where the same sums have another order.
    images = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(ours.double()(images), theirs.double()(images)["out"])


def test_the_student_is_smaller_than_its_teacher() -> None:
    for name in all_tasks():
        task = get_task(name)
        with torch.device("meta"):
            networks = (task.make_teacher(), task.make_student())
        teacher, student = (sum(p.numel() for p in network.parameters()) for network in networks)
        assert student < teacher


def test_small_cnn_takes_any_size_divisible_by_four() -> None:
    network = SmallCNN(5, (3, 8, 12), width=2)
    assert network(torch.randn(2, 3, 8, 12)).shape == (2, 5)


@pytest.mark.parametrize(
    ("network", "count"),
    [
        (wide_resnet(40, 2), 2_248_954),
        (wide_resnet(16, 1), 175_994),
        (resnet34(), 21_299_146),
        (resnet18(), 11_183_562),
    ],
    ids=["WRN-40-2", "WRN-16-1", "ResNet-34", "ResNet-18"],
)
def test_colour_networks_have_the_published_size(network: nn.Module, count: int) -> None:
    """RDSKD counts parameters and BatchNorm's running statistics."""
    state = network.state_dict()
    counted = (v.numel() for name, v in state.items() if not name.endswith("num_batches_tracked"))
    assert sum(counted) == count


@pytest.mark.parametrize(
    "build", [lambda: wide_resnet(10, 1, 7), lambda: resnet18(7)], ids=["wrn", "resnet"]
)
def test_channels_last_is_a_layout_not_another_function(build: Callable[[], nn.Module]) -> None:
    network = build().eval()
    convs = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    spatial = [conv for conv in convs if conv.kernel_size != (1, 1) and conv.in_channels > 1]
    assert all(c.weight.is_contiguous(memory_format=torch.channels_last) for c in spatial)
    assert network.get_classifier().out_features == 7

    # In float32 a ReLU whose input is rounded to the other side of zero makes gradients differ.
    network.double()
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    logits = network(images)
    gradient = torch.autograd.grad(logits.sum(), spatial[0].weight)[0]
    network.to(memory_format=torch.contiguous_format)
    again = network(images)
    plain = torch.autograd.grad(again.sum(), spatial[0].weight)[0]
    assert logits.shape == (2, 7)
    torch.testing.assert_close(again, logits)
    torch.testing.assert_close(plain, gradient)


def test_resnets_keep_the_resolution_in_the_stem() -> None:
    assert resnet18().forward_features(torch.zeros(1, 3, 32, 32)).shape == (1, 512, 4, 4)


def test_wide_resnets_have_the_groups_of_the_paper() -> None:
    network = WideResNet(22, 3).eval()
    assert len(network.groups) == 3 * 3
    assert network.forward_features(torch.zeros(1, 3, 32, 32)).shape == (1, 192, 8, 8)
    block = network.groups[0]
    x = torch.randn(2, 16, 8, 8)
    activated = torch.relu(x / (1 + block.norm1.eps) ** 0.5)  # BatchNorm at initialisation
    inner = torch.relu(block.conv1(activated) / (1 + block.norm2.eps) ** 0.5)
    torch.testing.assert_close(block(x), block.conv2(inner) + block.shortcut(activated))


@pytest.mark.parametrize("depth", [4, 18, 41])
def test_a_depth_that_no_wide_resnet_has_is_refused(depth: int) -> None:
    with pytest.raises(ValueError, match=f"no wide ResNet of depth {depth}.*such as"):
        WideResNet(depth, 1)
