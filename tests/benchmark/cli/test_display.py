"""What is said of long work where no bar can move."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from benchmark.cli.display import TeacherDisplay


@pytest.mark.parametrize(("total", "lines"), [(400, 5), (2, 2)])
def test_a_teacher_s_training_is_told_in_quarters_off_a_terminal(total: int, lines: int) -> None:
    out = io.StringIO()
    display = TeacherDisplay(Console(file=out, force_terminal=False, width=200))
    for _ in range(2):  # two tasks, two teachers
        for step in range(1, total + 1):
            display.report("teacher", step, total, 0.25)
    said = out.getvalue().splitlines()
    assert len(said) == 2 * lines
    assert said[0] == f"training the teacher (once): step 1 of {total}, loss 0.25"
    assert said[-1] == f"teacher trained: {total} steps, last loss 0.25"
