"""torch's Adam and SGD, without the compiler they would load with their first step.

torch marks parts of every optimiser as not to be compiled, and the first call of such a part
imports the whole of ``torch._dynamo``, at the start of every process that trains anything. Nothing
here compiles an optimiser, so the marks are taken off; the arithmetic is torch's, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


def _unmarked(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function under the mark; the function itself where this version of torch has no mark."""
    return getattr(function, "__wrapped__", function)


class _Unmarked(Optimizer):
    """The parts that all optimisers share, without their marks."""

    add_param_group = _unmarked(Optimizer.add_param_group)
    zero_grad = _unmarked(Optimizer.zero_grad)
    state_dict = _unmarked(Optimizer.state_dict)
    load_state_dict = _unmarked(Optimizer.load_state_dict)


class Adam(_Unmarked, torch.optim.Adam):
    """`torch.optim.Adam`, with its arguments."""

    step = torch.no_grad()(_unmarked(torch.optim.Adam.step))


class SGD(_Unmarked, torch.optim.SGD):
    """`torch.optim.SGD`, with its arguments."""

    step = torch.no_grad()(_unmarked(torch.optim.SGD.step))


def improve(optimizer: Optimizer, loss: Tensor) -> None:
    """Take one step of the optimiser on the gradient of ``loss``, a scalar."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
