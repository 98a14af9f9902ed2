"""Measuring the images of one run: they are found again and judged, and the record is amended."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

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

from benchmark.errors import UserError
from benchmark.machine.cache import cache_dir
from benchmark.metrics.image_quality import judge, obtain_reference
from benchmark.metrics.images import Unmeasurable
from benchmark.records.record import FEW_IMAGES, SCORED, Record
from benchmark.runs.images.contact_sheet import keep_sheet, sheet_of_run
from benchmark.runs.images.extractors import Judges
from benchmark.runs.images.recovered import Recovered
from benchmark.runs.job import Context, Job
from benchmark.runs.replay import revive
from benchmark.tasks.data.base import ImageProgress
from benchmark.tasks.loaded import dataset
from benchmark.tasks.registry import get_task

IMAGES = {"gpu": 10_000, "paper": 10_000}
USUAL_IMAGES = 5_000
NO_CRITIC = (
    "there is no critic of '{}': a critic is a classifier, and the task's labels are maps; measure "
    "its images with --extractor inception"
)


@dataclass(frozen=True)
class MeasureRequest:
    """The arguments of ``dfkd measure`` as typed."""

    target: str
    extractors: tuple[str, ...]
    results: Path
    images: int | None = None
    weights_dir: Path | None = None
    data_dir: Path | None = None
    proxy_dir: Path | None = None
    method_folders: tuple[Path, ...] = ()
    task_folders: tuple[Path, ...] = ()
    synthesize: bool = False
    overwrite: str = "never"
    device: str = "auto"


class Measuring:
    """The extractors and reference sets of one command, each made once.

    Args:
        request: arguments of the command.
        console: console for bars and sentences.
        shown: ids of the runs whose contact sheet is kept.
    """

    def __init__(
        self, request: MeasureRequest, console: Console, shown: Container[str] = ()
    ) -> None:
        self.request = request
        self.shown = shown
        self.failed = False
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self.judges = Judges(
            request.results,
            request.weights_dir,
            request.data_dir,
            request.device,
            self.say,
            self._bar,
        )

    def say(self, message: str) -> None:
        """Print a sentence that stays on the screen."""
        self.bars.console.print(escape(message), highlight=False, soft_wrap=True)

    def fail(self, record: Record, why: str) -> None:
        """Print why a run is not measured; it is a failure if images it made are missing."""
        # Runs on real images and failed runs have nothing to measure, so they are no failures.
        self.failed |= record.ledger.synthetic_images > 0 and record.status in SCORED
        self.say(f"{_name(record)}: not measured: {why}")

    def measure(self, record: Record) -> Record:
        """The record with the numbers of the extractors that it lacked.

        Raises:
            Unmeasurable: when its images cannot be had, or what they are made from.
            UserError: when an extractor's weights are not here.
        """
        with _no_more_than_the_run():
            wanted = self._lacking(record, self.request.extractors, self.request.images)
            task = get_task(record.spec.task)
            if "task" in wanted and task.task_type == "segmentation":
                self.fail(record, NO_CRITIC.format(task.name))
                wanted.remove("task")
            if not wanted:
                return record
            job, context = self._revive(record)
        with self._bar(f"images of {_name(record)}") as step:
            recovered = Recovered(
                record,
                job,
                context,
                self.request.synthesize,
                lambda phase, done, total, loss: step(done, total),
            )
        count = self.request.images or IMAGES.get(record.spec.budget.name, USUAL_IMAGES)
        images = recovered.draw(count)
        there = len(images.pixels)
        # A bank may hold fewer images than were asked for, all of them measured before.
        wanted = self._lacking(record, wanted, self.request.images and there)
        if wanted and there < (self.request.images or 0):
            self.say(
                f"{_name(record)}: its {there:,} images are measured; --images asks for "
                f"{self.request.images:,}"
            )
        if wanted and there < FEW_IMAGES:
            self.say(
                f"{_name(record)}: {there} images are few; below {FEW_IMAGES:,} FID depends more "
                "on their number than on what they show"
            )
        data = dataset(task.name, self.request.data_dir)
        if record.run_id in self.shown:
            keep_sheet(record.run_id, sheet_of_run(record, images, task, data.test))
        quality = dict(record.quality)
        for name in wanted:
            extractor = self.judges.get(name, task)
            with self._bar(f"{name}: reference") as step:
                reference = obtain_reference(
                    task,
                    data,
                    recovered.teacher,
                    record.teacher,
                    extractor,
                    there,
                    cache_dir(),
                    step,
                )
            with self._bar(f"{name}: {_name(record)}") as step:
                quality[name] = judge(images, reference, extractor, step)
        metrics = recovered.statistics() | record.metrics
        return record.model_copy(update={"quality": quality, "metrics": metrics})

    def _lacking(self, record: Record, names: Iterable[str], images: int | None) -> list[str]:
        again = self.request.overwrite == "always"
        return [name for name in names if again or self.judges.lacking(record, name, images)]

    def _revive(self, record: Record) -> tuple[Job, Context]:
        asked = self.request
        return revive(
            record,
            asked.results,
            asked.data_dir,
            asked.proxy_dir,
            asked.method_folders,
            self.say,
            reuse_samples=True,
            task_folders=asked.task_folders,
        )

    @contextmanager
    def _bar(self, what: str) -> Iterator[ImageProgress]:
        """A bar that appears with the first step."""
        shown: list[TaskID] = []

        def step(done: int, total: int) -> None:
            if not shown:
                shown.append(self.bars.add_task(escape(what), total=total))
            self.bars.update(shown[0], completed=done, total=total)

        try:
            yield step
        finally:
            for bar in shown:
                self.bars.remove_task(bar)


@contextmanager
def _no_more_than_the_run() -> Iterator[None]:
    """Turn an error of one run into a reason, so that the other runs are still measured."""
    try:
        yield
    except UserError as error:
        raise Unmeasurable(str(error)) from None


def _name(record: Record) -> str:
    return f"{record.run_id} {record.spec.task} {record.spec.method} seed {record.spec.seed}"
