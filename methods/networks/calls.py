"""Telling somebody with how many images a network is called, whatever calls it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

Tell = Callable[[nn.Module, Tensor], Tensor]
"""Told of the network and the images of a call; returns the images for the network."""

ENTRANCES = ("forward", "forward_features")
"""The methods that images enter a network by; a head takes features."""

_not_told: list[None] = []


@contextmanager
def untold() -> Iterator[None]:
    """Within the block nobody is told of calls: those of the harness, and looks at shapes."""
    _not_told.append(None)
    try:
        yield
    finally:
        _not_told.pop()


def tell_of_calls(network: nn.Module, tell: Tell) -> None:
    """From now on tell of every call of the network; copies of it tell as well.

    A call within a call is not told of: ``forward`` may call ``forward_features``.
    """
    stop_telling(network)
    inside: list[None] = []
    for name in ENTRANCES:
        if callable(getattr(network, name, None)):
            setattr(network, name, _ToldCall(network, name, tell, inside))


def stop_telling(network: nn.Module) -> None:
    """Undo `tell_of_calls`."""
    for name in ENTRANCES:
        own = network.__dict__.get(name)
        if isinstance(own, _ToldCall):
            delattr(network, name)
            if own.inner is not None:
                setattr(network, name, own.inner)


class _ToldCall:
    """Stands in a network's own attributes, in the place of one of its class's methods.

    No hook, because a network may compute faster where nobody looks at its layers, and calls of
    ``forward_features`` go past hooks.
    """

    def __init__(self, network: nn.Module, name: str, tell: Tell, inside: list[None]) -> None:
        self.network, self.name, self.tell, self.inside = network, name, tell, inside
        self.inner = network.__dict__.get(name)

    def __call__(self, images: Any, *args: Any, **options: Any) -> Any:
        method = self.inner or getattr(type(self.network), self.name).__get__(self.network)
        if self.inside or _not_told or not isinstance(images, Tensor):
            return method(images, *args, **options)
        self.inside.append(None)
        try:
            return method(self.tell(self.network, images), *args, **options)
        finally:
            self.inside.clear()

    def __deepcopy__(self, memo: dict[int, Any]) -> _ToldCall:
        copied = memo[id(self.network)]  # it is copied as a part of its network
        inside = memo.setdefault(id(self.inside), [])
        return _ToldCall(copied, self.name, self.tell, inside)
