"""``dfkd measure``: image metrics of finished runs, without training a student."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from benchmark.analysis.leaderboard.tables import tables
from benchmark.analysis.leaderboard.terminal import print_quality
from benchmark.cli.checkout import check_checkout
from benchmark.errors import UserError
from benchmark.metrics.extractors import ExtractorName
from benchmark.metrics.images import Unmeasurable
from benchmark.records.locks import Locks
from benchmark.records.record import SCORED, Record
from benchmark.records.store import Scan, Store
from benchmark.runs.images.measure import MeasureRequest, Measuring
from benchmark.tasks.data.base import ImageProgress
from benchmark.tasks.registry import look_in
from methods.settings.params import nearest


def measure_runs(request: MeasureRequest, console: Console) -> int:
    """Measure the images that are not measured yet, or were measured differently.

    Returns:
        The exit code: 0 when every run that makes images has its numbers, 1 otherwise.

    Raises:
        UserError: for an unknown run, suite, extractor or word of ``--overwrite``, weights that are
            not here, or uncommitted code that would write into committed results.
    """
    for name in request.extractors:
        if name not in get_args(ExtractorName):
            raise UserError(
                f"there is no extractor '{name}'; {nearest(name, list(get_args(ExtractorName)))}"
            )
    if request.overwrite not in ("never", "always"):
        raise UserError(f"--overwrite is '{request.overwrite}'; choose never or always")
    store = Store(request.results)
    chosen, damaged = records_of(request.target, store)
    if uncommitted := check_checkout(request.results, request.allow_dirty):
        console.print(escape(uncommitted), highlight=False, soft_wrap=True)
    for path in damaged:
        console.print(
            f"skipped '{path}': it is not a readable record", highlight=False, markup=False
        )
    look_in(request.task_folders)
    bars = MeasureBars(console)
    measuring = Measuring(request, bars.say, bars.bar, _shown(chosen))
    locks = Locks(store.root)
    done = []
    with bars.progress:
        runs = bars.progress.add_task("runs", total=len(chosen))
        for record in chosen:
            # All suites' records of a run get the numbers, since a table may take any of them.
            same = [record, *(store.copies(record) if record.status in SCORED else [])]
            known = {name: q for copy in reversed(same) for name, q in copy.quality.items()}
            try:
                measured = measuring.measure(record.model_copy(update={"quality": known}))
            except Unmeasurable as error:
                measuring.fail(record, str(error))
            else:
                for copy in same:
                    with locks.holding("quality"):
                        _add(measured, copy, request.extractors, store)
                done.append(measured)
            bars.progress.advance(runs)
    for table in tables(Scan(records=done)):
        print_quality(table, console)
    return int(measuring.failed or bool(damaged))


class MeasureBars:
    """The bars and sentences of ``dfkd measure`` on a console."""

    def __init__(self, console: Console) -> None:
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )

    def say(self, message: str) -> None:
        """Print a sentence that stays on the screen."""
        self.progress.console.print(escape(message), highlight=False, soft_wrap=True)

    @contextmanager
    def bar(self, text: str) -> Iterator[ImageProgress]:
        """A bar that appears with the first step and goes when the context is left."""
        shown: list[TaskID] = []

        def step(done: int, total: int) -> None:
            if not shown:
                shown.append(self.progress.add_task(escape(text), total=total))
            self.progress.update(shown[0], completed=done, total=total)

        try:
            yield step
        finally:
            for bar in shown:
                self.progress.remove_task(bar)


def _add(measured: Record, copy: Record, extractors: Sequence[str], store: Store) -> None:
    """Write the numbers into a record of the run as it is now: other commands may measure too."""
    try:
        latest = store.read(store.path(copy.spec, copy.run_id))
    except (OSError, ValueError):
        latest = copy
    new = {name: q for name, q in measured.quality.items() if name in extractors}
    quality = measured.quality | latest.quality | new
    metrics = measured.metrics | latest.metrics
    full = latest.model_copy(update={"quality": quality, "metrics": metrics})
    if full != latest:
        store.put(full)


def _shown(records: list[Record]) -> set[str]:
    """The runs whose images a report shows: the lowest seed of every row."""
    rows = [row.scored for table in tables(Scan(records=records)) for row in table.rows]
    return {min(row, key=lambda record: record.spec.seed).run_id for row in rows if row}


def records_of(target: str, store: Store) -> tuple[list[Record], list[Path]]:
    """The records of a suite, or the one whose id starts with ``target``, and damaged files.

    Raises:
        UserError: when there is neither.
    """
    scan = store.scan()
    of_suite = [record for record in scan.records if record.spec.suite == target]
    if of_suite:
        suite = store.root / target
        return of_suite, [u.path for u in scan.unreadable if u.path.is_relative_to(suite)]
    if len(target) >= 4 and all(digit in "0123456789abcdef" for digit in target):
        return [store.find(target)], []
    suites = sorted({record.spec.suite for record in scan.records})
    raise UserError(
        f"'{store.root}' has no suite '{target}' and no such run; {nearest(target, suites)}"
    )
