"""What is said of long work where no bar can move."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from benchmark.cli.display import GridDisplay, PhaseDisplay, TeacherDisplay, time_left
from benchmark.runs.job import Job
from tests.helpers import failed_record, make_record


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


def jobs(count: int) -> list[Job]:
    records = [make_record(seed=seed) for seed in range(count)]
    return [Job(r.spec, r.run_id, {"loss": "[/red]"}, None) for r in records]  # type: ignore[arg-type]


def grid_of(count: int, terminal: bool = False) -> tuple[GridDisplay, io.StringIO]:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=160)
    return GridDisplay(jobs(count), 0, console), out


def test_a_run_that_was_stopped_is_neither_done_nor_left_nor_failed() -> None:
    display, _ = grid_of(21)
    for seed in range(7):
        display.finished(make_record(seed=seed))
    for seed in (7, 8):
        display.finished(failed_record("interrupted", seed=seed))
    assert display.grid.tasks[0].completed == 7
    assert display.grid.tasks[0].fields["tally"] == "7 done, 0 failed, 2 stopped, 12 left"


@pytest.mark.parametrize("phase", ["[/x]", "[bold]", "a\\", "[link=x]", "{task.fields}"])
def test_what_a_method_calls_its_phases_is_shown_as_it_is(phase: str) -> None:
    display, out = grid_of(1, terminal=True)
    with display:
        display.report(next(iter(display.labels)), phase, 1, 2, 0.5)
        display.live.refresh()
        assert phase in out.getvalue()
        assert "loss=[/red]" in out.getvalue()
    out = io.StringIO()
    with PhaseDisplay(Console(file=out, force_terminal=True, width=160)) as phases:
        phases.report(phase, 1, 2, 0.5)
        phases.bars.refresh()
    assert phase in out.getvalue()
    out = io.StringIO()
    with PhaseDisplay(Console(file=out, force_terminal=False, width=160)) as phases:
        phases.report(phase, 2, 2, 0.5)
    assert phase in out.getvalue()


def test_a_run_that_starts_again_shows_its_own_phases() -> None:
    display, _ = grid_of(1)
    run = next(iter(display.labels))
    for phase in ("starting", "synthesis", "distillation", "starting", "synthesis"):
        display.report(run, phase, 1, 2, 0.5)
    assert display.runs.tasks[0].fields["phase"] == "synthesis"


@pytest.mark.parametrize(
    ("done", "total", "elapsed", "left"),
    [(0, 20, 900.0, None), (1, 20, 90.0, 1710.0), (10, 20, 3600.0, 3600.0), (20, 20, 5.0, 0.0)],
)
def test_the_time_left_is_by_all_runs_so_far(
    done: int, total: int, elapsed: float, left: float | None
) -> None:
    """Also where a run takes longer than half a minute, after which rich forgets."""
    assert time_left(done, total, elapsed) == left
    assert time_left(done, None, elapsed) is None
