"""How a loop ends early, and what it takes to go on from any of its steps with the same bits.

A loop names its parts to `methods.base.run.Run.steps`: everything that its steps change and read
again.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch


class Stateful(Protocol):
    """Networks, optimisers and schedules have these two; so may anything else."""

    def state_dict(self) -> Any:
        """Tensors, numbers and texts, in dicts, lists and tuples."""

    def load_state_dict(self, state: Any, /) -> Any:
        """Be as when ``state`` was taken."""


Part = Stateful | torch.Generator
"""A part of a loop; random streams are parts too."""


class Keeper(Protocol):
    """Where the states of a run's loops are kept; the caller of a method may have one."""

    def due(self) -> bool:
        """Whether enough time has passed since the last one."""

    def save(self, loop: str, step: int, state: dict[str, Any]) -> None:
        """Keep the state of ``loop`` after ``step`` steps."""

    def load(self, loop: str) -> tuple[int, dict[str, Any]] | None:
        """Steps done and state of ``loop``, if there is one."""


class Diverged(RuntimeError):
    """A logged scalar is NaN or infinite; the run is stopped at once."""


class Stopped(KeyboardInterrupt):
    """Somebody asked the run to stop, and it has come to a place where it can."""


def state_of(part: Part) -> Any:
    """A part's state."""
    return part.get_state() if isinstance(part, torch.Generator) else part.state_dict()


def restore(part: Part, state: Any) -> None:
    """Put a part into a state that `state_of` found it in."""
    if isinstance(part, torch.Generator):
        part.set_state(state)
    else:
        part.load_state_dict(state)
