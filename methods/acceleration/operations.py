"""Counting the floating-point operations of what torch computes.

Matrix products, convolutions and attention are counted as torch counts them: two operations for a
multiplication and an addition. Elementwise operations, such as activations, BatchNorm and the
arithmetic of optimisers, are a small part of a network's work and are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

P = ParamSpec("P")
Result = TypeVar("Result")

_active: list[OperationCounter] = []


class OperationCounter(TorchDispatchMode):
    """While it is on, adds up the operations of everything that torch computes."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        operations = flop_registry.get(func._overloadpacket)
        if operations is not None:
            self.operations += int(operations(*args, **kwargs, out_val=out))
        return out

    def __enter__(self) -> OperationCounter:
        super().__enter__()  # type: ignore[no-untyped-call]
        _active.append(self)
        return self

    def __exit__(self, *error: Any) -> None:
        _active.remove(self)
        super().__exit__(*error)  # type: ignore[no-untyped-call]


def add_operations(count: int) -> None:
    """Add operations that no counter can see, such as those of a replayed recording."""
    for counter in _active:
        counter.operations += count


def counts_as(operations: Callable[P, int]) -> Callable[[Callable[P, Result]], Callable[P, Result]]:
    """Count a function as the operations that it stands for, whatever it takes to compute them.

    So the work of a run is the same on machines that compute a layer in different ways.

    Args:
        operations: the operations as written, of the function's arguments.
    """

    def decorated(function: Callable[P, Result]) -> Callable[P, Result]:
        @wraps(function)
        def counted(*args: P.args, **kwargs: P.kwargs) -> Result:
            before = [counter.operations for counter in _active]
            result = function(*args, **kwargs)
            if _active:
                written = operations(*args, **kwargs)
                for counter, so_far in zip(_active, before, strict=True):
                    counter.operations = so_far + written
            return result

        return counted

    return decorated


def of_convolution(
    weight: torch.Size, positions: int, needs_input_grad: tuple[bool, ...] = (True, False)
) -> int:
    """The operations of a convolution, or of the gradients of its input and its weights.

    Args:
        weight: O×C×k×k.
        positions: places where the kernel is applied, B·H'·W'.
        needs_input_grad: backwards, which of the two gradients are computed; one of them is as much
            work as the convolution itself.
    """
    return 2 * weight.numel() * positions * sum(needs_input_grad[:2])
