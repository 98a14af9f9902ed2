"""The optimisers: torch's own numbers, and no compiler loaded for them."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from methods.acceleration.optimizers import SGD, Adam

PAIRS: list[tuple[Callable[..., Any], Callable[..., Any], dict[str, Any]]] = [
    (Adam, torch.optim.Adam, {"lr": 0.01, "weight_decay": 0.1, "fused": True}),
    (Adam, torch.optim.Adam, {"lr": 0.01, "betas": (0.5, 0.999)}),
    (SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1, "fused": True}),
    (SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
]


def train(
    make: Callable[..., Any], arguments: dict[str, Any], interrupt: bool = False
) -> list[Tensor]:
    torch.manual_seed(3)
    network = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))
    optimizer = make(network.parameters(), **arguments)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 12)
    for step in range(12):
        if interrupt and step == 6:
            state = copy.deepcopy(optimizer.state_dict())
            optimizer = make(network.parameters(), **arguments)
            optimizer.load_state_dict(state)
            schedule.optimizer = optimizer
        optimizer.zero_grad()
        network(torch.randn(8, 4)).square().sum().backward()
        optimizer.step()
        schedule.step()
    return [parameter.detach() for parameter in network.parameters()]


@pytest.mark.parametrize(("ours", "torchs", "arguments"), PAIRS)
def test_training_is_torchs_to_the_bit(
    ours: Callable[..., Any], torchs: Callable[..., Any], arguments: dict[str, Any]
) -> None:
    for mine, theirs in zip(train(ours, arguments), train(torchs, arguments), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize(("ours", "arguments"), [(ours, rest) for ours, _, rest in PAIRS])
def test_training_goes_on_from_a_saved_state(
    ours: Callable[..., Any], arguments: dict[str, Any]
) -> None:
    for mine, theirs in zip(train(ours, arguments), train(ours, arguments, True), strict=True):
        assert torch.equal(mine, theirs)


def test_a_step_leaves_the_gradients_recorded_outside_it_alone() -> None:
    weight = nn.Parameter(torch.ones(3))
    optimizer = Adam([weight], lr=0.1)
    weight.square().sum().backward()
    optimizer.step()
    assert torch.is_grad_enabled()
    assert weight.is_leaf
    assert weight.grad_fn is None


def test_the_first_step_loads_no_compiler() -> None:
    """A second run of a suite is training within seconds; the compiler takes one of them."""
    program = """
import sys
import torch
from methods.acceleration.optimizers import SGD, Adam

for make in (Adam, SGD):
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = make([weight], lr=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    optimizer.zero_grad()
    weight.sum().backward()
    optimizer.step()
    schedule.step()
    optimizer.load_state_dict(optimizer.state_dict())
print("torch._dynamo" in sys.modules)
"""
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "False"
