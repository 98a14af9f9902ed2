"""Work is counted as written, whatever form of a layer computes it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from benchmark.tasks.models.lenet import LeNet5
from methods.acceleration.operations import OperationCounter
from methods.networks.generators import UpsamplingGenerator


def work(compute: Callable[[], Tensor], backward: bool) -> int:
    with OperationCounter() as counter:
        out = compute()
        if backward:
            out.sum().backward()
    return counter.operations


@pytest.mark.parametrize("backward", [False, True])
def test_a_generators_fast_form_has_the_work_of_its_plain_form(backward: bool) -> None:
    generator, latents = UpsamplingGenerator(10, (1, 16, 16), 8), torch.randn(6, 10)
    written = work(lambda: generator.plain(latents), backward)
    assert work(lambda: generator.batch_last(latents), backward) == written
    # The second of its convolutions, for instance: 3×3 from 8 to 4 channels at 16×16.
    assert written > (3 if backward else 1) * 2 * 6 * 16 * 16 * 8 * 4 * 9


@pytest.mark.parametrize("form", ["banded", "banded_layers"])
@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("of_images", [False, True])
def test_lenets_fast_forms_have_the_work_of_its_plain_form(
    form: str, backward: bool, of_images: bool
) -> None:
    network, images = LeNet5(), torch.randn(6, 1, 32, 32, requires_grad=of_images)
    written = work(lambda: network.plain(images), backward)
    assert work(lambda: getattr(network, form)(images), backward) == written
