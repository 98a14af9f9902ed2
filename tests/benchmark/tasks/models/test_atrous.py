"""Dilated and depthwise convolutions are torch's own, in fewer operations."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark.tasks.models import deeplab
from benchmark.tasks.models.atrous import AtrousConv2d, with_atrous_convolutions

LAYERS: dict[str, dict[str, Any]] = {
    "dead": {"groups": 1, "dilation": 6, "padding": 6},
    "alive": {"groups": 1, "dilation": 3, "padding": 3},
    "edge": {"groups": 1, "dilation": 4, "padding": 4},
    "rows": {"groups": 1, "dilation": (6, 2), "padding": (6, 2)},
    "bias": {"groups": 1, "dilation": 9, "padding": 9, "bias": True},
    "unpadded": {"groups": 1, "dilation": 1, "padding": 0},
    "phases": {"groups": 6, "dilation": 2, "padding": 2},
    "oblong": {"groups": 6, "dilation": (2, 3), "padding": (2, 3), "bias": True},
    "indivisible": {"groups": 6, "dilation": 3, "padding": 3},
    "stride": {"groups": 6, "stride": 2, "padding": 1},
    "both": {"groups": 6, "stride": 2, "dilation": 2, "padding": 2},
    "multiplied": {"groups": 6, "dilation": 2, "padding": 2, "out_channels": 12},
    "even": {"groups": 1, "kernel_size": 2, "dilation": 6, "padding": 6},
}


@pytest.fixture(autouse=True)
def equal_numbers_every_time() -> None:
    torch.manual_seed(0)


def layers(name: str, dtype: torch.dtype = torch.float64) -> tuple[AtrousConv2d, nn.Conv2d]:
    """One of the layers above and torch's own with the same parameters."""
    given = {"in_channels": 6, "out_channels": 6, "kernel_size": 3, "bias": False} | LAYERS[name]
    ours = AtrousConv2d(**given, dtype=dtype)
    torchs = nn.Conv2d(**given, dtype=dtype)
    torchs.load_state_dict(ours.state_dict())
    return ours, torchs


def gradients(layer: nn.Conv2d, images: Tensor) -> list[Tensor]:
    """Output, and gradients of the images and the parameters."""
    images = images.clone(memory_format=torch.preserve_format).requires_grad_()
    out = layer(images)
    weights = torch.linspace(-1, 1, out.numel(), dtype=torch.float64).view(out.shape)
    (out.double() * weights).sum().backward()
    grads = [x.grad for x in (images, *layer.parameters())]
    return [out.detach(), *(grad for grad in grads if grad is not None)]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", LAYERS)
def test_it_is_torchs_convolution_forward_and_backward(
    name: str, layout: torch.memory_format
) -> None:
    images = torch.randn(3, 6, 4, 6, dtype=torch.float64).to(memory_format=layout)
    ours, torchs = (gradients(layer, images) for layer in layers(name))
    assert len(ours) == len(torchs) == 3 + ("bias" in LAYERS[name])
    for mine, theirs in zip(ours, torchs, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["phases", "stride", "dead"])
def test_under_autocast_the_result_is_as_exact_as_torchs(name: str) -> None:
    images = torch.randn(8, 6, 4, 6).to(memory_format=torch.channels_last)
    ours, torchs = layers(name, torch.float32)
    exact = gradients(copy.deepcopy(torchs).double(), images.double())
    with torch.autocast("cpu", torch.bfloat16):
        mine, theirs = gradients(ours, images), gradients(torchs, images)
    assert mine[0].dtype == theirs[0].dtype == torch.bfloat16
    for a, b, c in zip(mine, theirs, exact, strict=True):
        assert a.dtype == b.dtype
        assert (a - c).abs().max() <= 1.5 * (b - c).abs().max()


def multiplications(network: nn.Module, side: int) -> int:
    """Of the convolutions of one image, as torch counts them."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), FlopCounterMode(display=False) as counted:
        network.to("meta")(torch.empty(1, 3, side, side))
    return counted.get_total_flops() // 2


def test_the_pyramid_of_a_small_map_costs_what_its_middle_taps_do() -> None:
    network = deeplab.timm_deeplab("mobilenetv2_050", 11, 16, width=64).eval()
    pyramid = [layer for layer in network.pyramid.modules() if isinstance(layer, AtrousConv2d)]
    assert [layer.dilation[0] for layer in pyramid] == [6, 12, 18]
    lean = multiplications(copy.deepcopy(network), side=64)
    plain = copy.deepcopy(network)
    for layer in plain.modules():
        if isinstance(layer, AtrousConv2d):
            layer.__class__ = nn.Conv2d
    positions, weights = 4 * 4, sum(layer.weight.numel() for layer in pyramid)
    assert multiplications(plain, side=64) - lean == positions * weights * 8 // 9


def test_only_layers_that_gain_are_changed_and_keep_their_parameters() -> None:
    network = nn.Sequential(
        nn.Conv2d(4, 4, 3, padding=1, groups=4),
        nn.Conv2d(4, 4, 3, padding=1, stride=2),
        nn.Conv2d(4, 4, 3, padding=1, stride=2, groups=4),
        nn.Conv2d(4, 4, 3, padding=2, dilation=2),
        nn.Conv2d(4, 4, 3, padding=2, dilation=2, padding_mode="reflect"),
        nn.Conv2d(4, 4, 3, padding="same", dilation=2),
    )
    before = dict(network.named_parameters())
    with_atrous_convolutions(network)
    assert [type(layer) is AtrousConv2d for layer in network] == [False] * 2 + [True] * 2 + [
        False
    ] * 2
    for name, parameter in network.named_parameters():
        assert parameter is before[name]


def test_the_plain_layer_shares_its_parameters_and_leaves_ours_alone() -> None:
    ours, _ = layers("phases")
    plain = ours.as_plain()
    assert type(plain) is nn.Conv2d
    assert plain.weight is ours.weight
    images = torch.randn(2, 6, 4, 6, dtype=torch.float64)
    torch.testing.assert_close(plain(images), ours(images))
    plain.weight = nn.Parameter(torch.zeros(6, 1, 3, 3))
    assert ours.weight.any()


def test_a_student_is_exported_as_torchs_convolutions() -> None:
    network = deeplab.timm_deeplab("mobilenetv2_050", 3, 16, width=8).eval()
    images = torch.randn(2, 3, 64, 64)
    program = torch.export.export(network, (images,))
    torch.testing.assert_close(program.module()(images), network(images), rtol=1e-4, atol=1e-4)
    kinds = {str(node.target) for node in program.graph.nodes}
    assert "aten.permute.default" not in kinds
