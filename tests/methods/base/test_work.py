"""Work: floating-point operations as written, counted in some steps and right for all."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from methods.acceleration.operations import OperationCounter, add_operations
from methods.base.ledger import Ledger
from methods.base.run import Run
from methods.base.work import _weight
from tests.helpers import tiny_budget


def of_linear(batch: int, inputs: int, outputs: int) -> int:
    """Two operations for each multiplication and addition."""
    return 2 * batch * inputs * outputs


def run_of() -> Run:
    return Run(tiny_budget(), ledger=Ledger())


def test_a_step_of_a_linear_layer_has_the_work_of_its_products() -> None:
    layer, images = nn.Linear(7, 3), torch.ones(5, 7, requires_grad=True)
    with OperationCounter() as counter:
        layer(images).sum().backward()
    # Forward; the gradient of the weights; the gradient of the input.
    assert counter.operations == 3 * of_linear(5, 7, 3)


def test_a_convolution_has_the_work_of_its_products() -> None:
    with OperationCounter() as counter:
        nn.Conv2d(2, 4, 3, padding=1)(torch.ones(5, 2, 8, 8))
    assert counter.operations == 2 * 5 * 4 * 8 * 8 * (2 * 3 * 3)


@pytest.mark.parametrize("total", [1, 2, 63, 64, 65, 127, 400, 4001])
def test_the_counted_steps_stand_for_all(total: int) -> None:
    weights = [_weight("a-loop", step, total) for step in range(total)]
    assert sum(weights) == total
    assert sum(weight > 0 for weight in weights) == min(64, total)


@pytest.mark.parametrize("total", [3, 64, 500])
def test_a_loop_of_equal_steps_is_counted_exactly(total: int) -> None:
    run, layer = run_of(), nn.Linear(7, 3)
    with run.phase("distillation"):
        layer(torch.ones(2, 7))
        for _ in run.steps("a-loop", total):
            layer(torch.ones(5, 7))
        layer(torch.ones(2, 7))
    assert run.ledger.work == {"distillation": total * of_linear(5, 7, 3) + 2 * of_linear(2, 7, 3)}


def test_a_loop_within_a_loop_is_counted_too() -> None:
    run, layer = run_of(), nn.Linear(7, 3)
    with run.phase("joint"):
        for _ in run.steps("outer", 3):
            for _ in run.steps("inner", 5):
                layer(torch.ones(5, 7))
    assert run.ledger.work == {"joint": 15 * of_linear(5, 7, 3)}


def test_phases_keep_their_work_apart_and_evaluation_has_none() -> None:
    run, layer = run_of(), nn.Linear(7, 3)
    with run.phase("rest"):
        with run.phase("synthesis"):
            layer(torch.ones(1, 7))
            with run.phase("evaluation"):
                layer(torch.ones(100, 7))
        layer(torch.ones(2, 7))
    one = of_linear(1, 7, 3)
    assert run.ledger.work == {"synthesis": one, "rest": 2 * one}


def test_a_loop_that_an_error_ends_leaves_nothing_switched() -> None:
    run, layer = run_of(), nn.Linear(7, 3)
    steps = run.steps("a-loop", 1000)

    def fail() -> None:
        with run.phase("synthesis"):
            for _ in steps:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with run.phase("distillation"):
        layer(torch.ones(1, 7))
    steps.close()  # type: ignore[attr-defined]
    with OperationCounter() as counter:
        layer(torch.ones(1, 7))
    assert run.ledger.work == {"distillation": counter.operations}


def test_counting_changes_no_bit() -> None:
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    images = torch.randn(4, 1, 8, 8)
    plain = layer(images)
    with OperationCounter():
        counted = layer(images)
    assert torch.equal(plain, counted)


def test_work_out_of_sight_can_be_added() -> None:
    with OperationCounter() as counter:
        add_operations(5)
    add_operations(7)
    assert counter.operations == 5
