"""Progress bars and lines on the terminal while teachers, grids and students are trained."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from benchmark.cli.turns import ROUND, Turns
from benchmark.records.record import SCORED, UNSUCCESSFUL, Record
from benchmark.runs.job import Job
from methods.settings.budget import Budget

STARTING = "starting"
"""The phase that an executor reports before a run reports any of its own."""

WINDOW_SECONDS = 3600.0
"""So far back the time that a training has left is judged by; a step may take minutes."""

STYLES = {"ok": "green", "collapsed": "yellow", "skipped": "dim", "interrupted": "yellow"}


def label(task: str, method: str, changed: Mapping[str, object], budget: Budget, seed: int) -> str:
    """``mnist dafl(generator_lr=0.005) seed 3``; numbers off the preset are shown."""
    settings = [f"{name}={value}" for name, value in changed.items()]
    settings += [budget.variant] if budget.variant else []
    shown = f"({', '.join(settings)})" if settings else ""
    return f"{task} {method}{shown} seed {seed}"


def duration(seconds: float) -> str:
    """``42 s``, ``3 min 20 s`` or ``1 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def job_label(job: Job) -> str:
    """`label` of a job."""
    spec = job.spec
    return label(spec.task, spec.method, job.changed, spec.budget, spec.seed)


def outcome(record: Record) -> str:
    """``0.9712 (teacher 0.9927)``, ``mIoU 0.31 (teacher 0.56)``, or the status with its reason.

    Of a trial it says nothing that was measured on test data, and so not that a student collapsed.
    """
    if record.spec.purpose == "tune" and record.status in SCORED:
        dev = record.metrics.get(f"{record.teacher.metric}_dev")
        parts = [f"agreement {record.metrics.get('agreement', math.nan):.4f}"]
        return ", ".join(parts + ([] if dev is None else [f"development {dev:.4f}"]))
    if record.status == "ok":
        name = "mIoU " if record.teacher.metric == "miou" else ""
        return f"{name}{record.score:.4f} (teacher {record.teacher.score:.4f})"
    return f"{record.status}: {record.reason}"


def _loss_bars(console: Console, transient: bool = False) -> Progress:
    """Bars of trainings: their steps, the present loss, and the time that is left."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}", markup=False),
        TimeRemainingColumn(),
        console=console,
        transient=transient,
        speed_estimate_period=WINDOW_SECONDS,
    )


class TimeLeft(ProgressColumn):
    """The time that is left if the rest goes on at the mean pace so far.

    Rich's own column looks half a minute back, and runs take longer than that.
    """

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        """``1 h 5 min``, or dashes until something is done."""
        seconds = time_left(task.completed, task.total, task.elapsed)
        return Text("--" if seconds is None else duration(seconds), style="progress.remaining")


def time_left(done: float, total: float | None, elapsed: float | None) -> float | None:
    """Seconds until ``total`` things are done, by the mean of those that are; or None.


    Args:
        done: how many things are done.
        total: how many there are, if that is known.
        elapsed: the seconds that those took which are done.
    """
    if not done or total is None or elapsed is None:
        return None
    return max(0.0, elapsed / done * (total - done))


class GridDisplay:
    """One bar for the grid (done, failed, stopped, time left) and one for every run in progress.

    The bars move on a terminal only; every finished run prints one line anywhere.

    Args:
        jobs: what will run.
        kept: how many records are there already.
        console: where to draw.
    """

    def __init__(self, jobs: list[Job], kept: int, console: Console) -> None:
        self.console = console
        self.labels = {job.run_id: job_label(job) for job in jobs}
        self.failed = self.stopped = 0
        self.kept = kept
        self.grid = Progress(
            TextColumn("[bold]grid"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[tally]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeLeft(),
            console=console,
        )
        self.runs = Progress(
            # Names of phases and losses are a method's, and settings a user's: no markup.
            TextColumn("  {task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[phase]}", markup=False),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}", markup=False),
            console=console,
        )
        self.total = self.grid.add_task("grid", total=len(jobs), tally=self._tally(0))
        self.bars: dict[str, TaskID] = {}
        self.turns: defaultdict[str, Turns] = defaultdict(Turns)
        self.live = Live(Group(self.grid, self.runs), console=console, refresh_per_second=4)

    def __enter__(self) -> GridDisplay:
        if self.console.is_terminal:
            self.live.start()
        self.started = time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.console.is_terminal:
            self.live.stop()

    def _tally(self, done: int) -> str:
        left = len(self.labels) - done - self.stopped
        parts = [f"{done} done", f"{self.failed} failed"]
        parts += [f"{self.stopped} stopped"] if self.stopped else []
        parts += [f"{left} left"]
        return ", ".join(parts + ([f"{self.kept} already there"] if self.kept else []))

    def say(self, message: str) -> None:
        """Print a sentence that stays on the screen."""
        self.console.print(escape(message))

    def report(self, run_id: str, phase: str, step: int, total: int, loss: float) -> None:
        """Move the line of one run."""
        if run_id not in self.bars:
            self.bars[run_id] = self.runs.add_task(
                self.labels[run_id], total=None, phase="", loss=""
            )
        if phase == STARTING:  # perhaps once more, in the place of a worker that was ended
            self.turns.pop(run_id, None)
        line = self.turns[run_id].line(phase, step, total, loss)
        self.runs.update(
            self.bars[run_id],
            phase=line.name,
            completed=line.step,
            total=line.total or None,
            loss=line.losses,
        )

    def finished(self, record: Record) -> None:
        """Count a run that ended and print its line; an interrupted one is still to be done."""
        self.failed += record.status in UNSUCCESSFUL
        if record.run_id in self.bars:
            self.runs.remove_task(self.bars.pop(record.run_id))
        self.turns.pop(record.run_id, None)
        if record.status == "interrupted":
            self.stopped += 1
        else:
            self.grid.advance(self.total)
        done = int(self.grid.tasks[0].completed)
        self.grid.update(self.total, tally=self._tally(done))
        trial = record.spec.purpose == "tune" and record.status in SCORED
        style = "green" if trial else STYLES.get(record.status, "red")
        name = self.labels[record.run_id]
        seconds = sum(record.ledger.seconds.values())
        count = f"[dim]{done}/{len(self.labels)}[/dim]"
        self.console.print(
            f"{count} {escape(name)}  [{style}]{escape(outcome(record))}[/{style}]  "
            f"[dim]{seconds:.0f} s[/dim]",
            highlight=False,
            soft_wrap=True,
        )


class TeacherDisplay:
    """One bar while a teacher is trained, which happens once per task; a few lines off a terminal.

    Args:
        console: where to draw.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bar = _loss_bars(console, transient=True)
        self.task = self.bar.add_task(
            "training the teacher (once)", total=None, loss="", start=False
        )
        self.drawn = 0.0
        self.quarters = -1

    def say(self, message: str) -> None:
        """Print a sentence that stays on the screen."""
        self.console.print(escape(message))

    def report(self, phase: str, step: int, total: int, loss: float) -> None:
        """Move the bar, at most ten times a second; elsewhere, print a line every quarter."""
        if not self.console.is_terminal and step < total and 4 * step // total > self.quarters:
            self.quarters = 4 * step // total
            self.say(f"training the teacher (once): step {step} of {total}, loss {loss:.4g}")
        now = time.monotonic()
        if now - self.drawn < 0.1 and step < total:
            return
        self.drawn = now
        if step < total and not self.bar.live.is_started and self.console.is_terminal:
            self.bar.start()
        self.bar.start_task(self.task)
        self.bar.update(self.task, completed=step, total=total, loss=f"loss {loss:.4g}")
        if step == total:
            if self.bar.live.is_started:
                self.bar.stop()
            self.quarters = -1
            self.say(f"teacher trained: {total} steps, last loss {loss:.4g}")


class PhaseDisplay:
    """One bar for every phase, or for all rounds; off a terminal, a line when one is over.

    Args:
        console: where to draw.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bars = _loss_bars(console)
        self.turns = Turns()

    def __enter__(self) -> PhaseDisplay:
        if self.console.is_terminal:
            self.bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.console.is_terminal:
            self.bars.stop()

    def report(self, phase: str, step: int, total: int, loss: float) -> None:
        """Move the bar of one phase, or of the rounds."""
        line = self.turns.line(phase, step, total, loss)
        bars = {task.description: task for task in self.bars.tasks}
        if line.name in bars:
            bar = bars[line.name].id
        else:
            if line.name == ROUND:  # in the place of the phases that turned out to take turns
                for task in bars.values():
                    if not task.finished:
                        self.bars.remove_task(task.id)
            bar = self.bars.add_task(line.name, loss="")
        self.bars.update(bar, completed=line.step, total=line.total, loss=line.losses)
        if step == total and not self.console.is_terminal:
            text = f"{phase}: {total} steps, last loss {loss:.4g}"
            self.console.print(escape(text), highlight=False)
