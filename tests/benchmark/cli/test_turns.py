"""What is shown of a run while generator and student take turns."""

from __future__ import annotations

import io

from rich.console import Console

from benchmark.cli.display import PhaseDisplay
from benchmark.cli.turns import Line, Turns


def play(turns: Turns, rounds: int, steps: int) -> list[Line]:
    """The lines of a game in which the student takes so many steps in every round."""
    lines = []
    for number in range(1, rounds + 1):
        lines.append(turns.line("synthesis", number, rounds, 0.5))
        for step in range(1, steps + 1):
            done = (number - 1) * steps + step
            lines.append(turns.line("distillation", done, rounds * steps, 2.0))
    return lines


def test_rounds_are_one_line_with_both_losses_and_never_jump() -> None:
    lines = play(Turns(), rounds=4, steps=3)[4:]  # the second round shows that they alternate
    assert {line.name for line in lines} == {"round"}
    assert {line.losses for line in lines} == {"generator loss 0.5 · student loss 2"}
    assert [line.step for line in lines] == [2] * 4 + [3] * 4 + [4] * 4
    assert {line.total for line in lines} == {4}


def test_phases_one_after_the_other_stay_what_they_are() -> None:
    turns = Turns()
    assert turns.line("starting", 0, 0, 0.0) == Line("starting", 0, 0, "")
    for step in range(1, 4):  # the last report may be lost on its way from another process
        assert turns.line("synthesis", step, 5, 0.5) == Line("synthesis", step, 5, "loss 0.5")
    for step in range(1, 4):
        line = turns.line("distillation", step, 9, 2.0)
        assert line == Line("distillation", step, 9, "loss 2")


def test_a_display_has_one_bar_for_all_rounds() -> None:
    out = io.StringIO()
    display = PhaseDisplay(Console(file=out, force_terminal=False, width=200))
    for number in range(1, 4):
        display.report("synthesis", number, 3, 0.5)
        for step in range(1, 3):
            display.report("distillation", 2 * (number - 1) + step, 6, 2.0)
    (bar,) = (task for task in display.bars.tasks if task.visible)
    assert (bar.description, bar.completed, bar.total) == ("round", 3, 3)
    assert bar.fields["loss"] == "generator loss 0.5 · student loss 2"
    assert out.getvalue().splitlines() == [
        "synthesis: 3 steps, last loss 0.5",
        "distillation: 6 steps, last loss 2",
    ]
