"""Counting the floating-point operations of what torch computes.

Matrix products, convolutions and attention are counted as torch counts them: two operations for a
multiplication and an addition. Elementwise operations, such as activations, BatchNorm and the
arithmetic of optimisers, are a small part of a network's work and are left out.
"""

from __future__ import annotations

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

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
