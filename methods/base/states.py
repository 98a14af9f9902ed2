"""How a loop ends early, and what it takes to go on from any of its steps with the same bits.

A loop names its parts to `methods.base.run.Run.steps`: everything that its steps change and read
again.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch


class Stateful(Protocol):
    """Anything whose state can be saved and restored, such as networks, optimisers, schedules."""

    def state_dict(self) -> Any:
        """The state: tensors, numbers and texts, in dicts, lists and tuples."""

    def load_state_dict(self, state: Any, /) -> Any:
        """Restore ``state``."""


Part = Stateful | torch.Generator
"""One thing that a loop changes and reads again; random streams are parts too."""


class Keeper(Protocol):
    """Where the states of a run's loops are kept; the caller of a method may provide one."""

    def due(self) -> bool:
        """Whether enough time has passed since the last state was kept."""

    def save(self, loop: str, step: int, state: dict[str, Any]) -> None:
        """Keep the state of ``loop`` after ``step`` steps."""

    def load(self, loop: str) -> tuple[int, dict[str, Any]] | None:
        """The number of steps done and the state of ``loop``; None where none is kept."""


class Diverged(RuntimeError):
    """A logged scalar is NaN or infinite; the run is stopped at once."""


class Stopped(KeyboardInterrupt):
    """Somebody asked the run to stop, and it has reached a point where it can go on later."""


def state_of(part: Part) -> Any:
    """The state of a part."""
    return part.get_state() if isinstance(part, torch.Generator) else part.state_dict()


def restore(part: Part, state: Any) -> None:
    """Restore a state that `state_of` returned."""
    if isinstance(part, torch.Generator):
        part.set_state(state)
    else:
        part.load_state_dict(state)
