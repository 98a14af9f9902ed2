from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.tasks.models.banded import conv2d, conv_max_pool2, max_pool2
from benchmark.tasks.models.lenet import lenet5, lenet5_half
from methods.acceleration.batch_last import to_batch_first, to_batch_last

Layer = Callable[[Tensor, Tensor, Tensor], Tensor]


def pooled(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.relu(F.max_pool2d(F.conv2d(images, weight, bias), 2))


@pytest.mark.parametrize(("banded", "reference"), [(conv_max_pool2, pooled), (conv2d, F.conv2d)])
@pytest.mark.parametrize(
    ("channels", "outputs", "size", "height", "width"),
    [(1, 3, 5, 32, 32), (3, 8, 5, 14, 14), (2, 4, 3, 8, 6), (2, 2, 1, 4, 8), (2, 2, 1, 4, 6)],
)
def test_one_product_is_a_convolution(
    banded: Layer,
    reference: Layer,
    channels: int,
    outputs: int,
    size: int,
    height: int,
    width: int,
) -> None:
    torch.manual_seed(0)
    images = torch.randn(3, channels, height, width, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(outputs, channels, size, size, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(outputs, dtype=torch.float64, requires_grad=True)
    ours = to_batch_first(banded(to_batch_last(images), weight, bias))
    plain = reference(images, weight, bias)
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-12)
    gradient = torch.randn_like(plain)
    inputs = (images, weight, bias)
    for mine, theirs in zip(
        torch.autograd.grad(ours, inputs, gradient),
        torch.autograd.grad(plain, inputs, gradient),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-11)


def test_pooling_alone() -> None:
    torch.manual_seed(0)
    images = torch.randn(3, 2, 4, 6, dtype=torch.float64, requires_grad=True)
    ours, plain = to_batch_first(max_pool2(to_batch_last(images))), F.max_pool2d(images, 2)
    assert torch.equal(ours, plain)
    gradient = torch.randn_like(plain)
    (mine,) = torch.autograd.grad(ours, images, gradient)
    (theirs,) = torch.autograd.grad(plain, images, gradient)
    assert torch.equal(mine, theirs)


def test_of_equal_outputs_the_first_gets_the_gradient() -> None:
    images = torch.ones(1, 1, 2, 2, requires_grad=True)
    ones, zero = torch.ones(1, 1, 1, 1), torch.zeros(1)
    conv_max_pool2(to_batch_last(images), ones, zero).sum().backward()
    assert images.grad is not None
    assert images.grad.flatten().tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize(("side", "size"), [(9, 5), (8, 4), (7, 3)])
def test_what_cannot_be_pooled_in_pairs_is_refused(side: int, size: int) -> None:
    with pytest.raises(ValueError, match="even sides"):
        conv_max_pool2(torch.ones(1, side, side, 1), torch.ones(1, 1, size, size), torch.zeros(1))


@pytest.mark.parametrize("form", ["banded", "banded_layers"])
@pytest.mark.parametrize("build", [lenet5, lenet5_half])
def test_the_forms_of_lenet_are_one_function(build: type, form: str) -> None:
    torch.manual_seed(0)
    network = build().double()
    images = torch.randn(4, 1, 32, 32, dtype=torch.float64, requires_grad=True)
    ours, plain = getattr(network, form)(images), network.plain(images)
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-12)
    inputs = [images, *list(network.parameters())[:6]]
    gradient = torch.randn_like(plain)
    for mine, theirs in zip(
        torch.autograd.grad(ours, inputs, gradient),
        torch.autograd.grad(plain, inputs, gradient),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-11)


def test_lenet_calls_its_layers_when_somebody_listens() -> None:
    network = lenet5()
    heard: list[tuple[int, ...]] = []
    network.conv2.register_forward_hook(lambda m, i, out: heard.append(tuple(out.shape)))
    network(torch.randn(2, 1, 32, 32))
    assert heard == [(2, 16, 10, 10)]


def test_lenet_calls_its_layers_when_somebody_listens_to_gradients() -> None:
    network = lenet5()
    heard: list[tuple[int, ...]] = []
    network.conv2.register_full_backward_hook(lambda m, i, grads: heard.append(grads[0].shape))
    network(torch.randn(2, 1, 32, 32)).sum().backward()
    assert heard == [(2, 16, 10, 10)]


def test_an_exported_lenet_takes_any_batch_and_leaves_the_network_as_it_was() -> None:
    network, images = lenet5().eval(), torch.randn(7, 1, 32, 32)
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(network, (images[:2],), dynamic_shapes=(batch,))
    with torch.no_grad():
        torch.testing.assert_close(program.module()(images), network(images), rtol=0, atol=1e-6)


def test_a_hook_may_change_what_a_layer_gives() -> None:
    network, images = lenet5(), torch.randn(2, 1, 32, 32)
    network.conv1.register_forward_hook(lambda m, i, out: out * 0)
    with torch.no_grad():
        assert torch.equal(network(images)[0], network(images)[1])
