"""One steady line of progress for a run, also where its generator and its student take turns."""

from __future__ import annotations

from typing import NamedTuple

ROUNDS = "synthesis"
"""The phase whose steps are the rounds."""

WHOSE = {ROUNDS: "generator", "distillation": "student"}
"""Whose loss is that of a phase, where both are shown."""


ROUND = "round"
"""The name of the line then."""


class Line(NamedTuple):
    """What is shown of a run in progress.

    Attributes:
        name: its phase, or ``round`` where two phases take turns.
        step: steps of the phase, or rounds, that are done.
        total: how many there are.
        losses: the present loss, or those of both players.
    """

    name: str
    step: int
    total: int
    losses: str


class Turns:
    """Makes the line from a run's reports.

    A phase that reports again after another one shows that they alternate. From then on the line
    counts rounds, and has the losses of both.
    """

    def __init__(self) -> None:
        self._present = ""
        self._latest: dict[str, Line] = {}
        self._alternate = False

    def line(self, phase: str, step: int, total: int, loss: float) -> Line:
        """The line after a report."""
        self._alternate |= phase != self._present and phase in self._latest
        self._present = phase
        self._latest[phase] = Line(phase, step, total, f"loss {loss:.4g}" if step else "")
        if not self._alternate:
            return self._latest[phase]
        rounds = self._latest.get(ROUNDS, self._latest[phase])
        losses = (
            f"{WHOSE.get(name, name)} {line.losses}"
            for name, line in self._latest.items()
            if line.losses
        )
        return Line(ROUND, rounds.step, rounds.total, " · ".join(losses))
