"""Measuring the images of a run: they are found again and judged, and their numbers recorded."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import UserError
from benchmark.machine.cache import cache_dir
from benchmark.metrics.image_quality import judge, obtain_reference
from benchmark.metrics.images import Unmeasurable
from benchmark.records.record import FEW_IMAGES, SCORED, Record
from benchmark.runs.images.contact_sheet import keep_sheet, sheet_of_run
from benchmark.runs.images.extractors import Bar, Judges
from benchmark.runs.images.recovered import Recovered
from benchmark.runs.job import Context, Job
from benchmark.runs.replay import revive
from benchmark.tasks.loaded import dataset
from benchmark.tasks.registry import get_task
from benchmark.teachers.teacher import Say

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
    allow_dirty: bool = False


class Measuring:
    """The extractors and reference sets of one command, each made once.

    Args:
        request: arguments of the command.
        say: called with sentences that stay on the screen.
        bar: shows the progress of a step of the work.
        shown: ids of the runs whose contact sheet is kept.
    """

    def __init__(
        self, request: MeasureRequest, say: Say, bar: Bar, shown: Container[str] = ()
    ) -> None:
        self.request = request
        self.say = say
        self.bar = bar
        self.shown = shown
        self.failed = False
        self.judges = Judges(
            request.results,
            request.weights_dir,
            request.data_dir,
            request.device,
            say,
            bar,
        )

    def fail(self, record: Record, why: str) -> None:
        """Say why a run is not measured; this is a failure if the run made images."""
        # Runs on real images and failed runs have nothing to measure, so they are no failures.
        self.failed |= record.ledger.synthetic_images > 0 and record.status in SCORED
        self.say(f"{_name(record)}: not measured: {why}")

    def measure(self, record: Record) -> Record:
        """The record with the numbers that it lacked.

        Raises:
            Unmeasurable: when its images cannot be had, or its teacher and data are missing.
            UserError: when an extractor's weights are not here.
        """
        with _errors_as_reasons():
            wanted = self._lacking(record, self.request.extractors, self.request.images)
            task = get_task(record.spec.task)
            if "task" in wanted and task.task_type == "segmentation":
                self.fail(record, NO_CRITIC.format(task.name))
                wanted.remove("task")
            if not wanted:
                return record
            job, context = self._revive(record)
        with self.bar(f"images of {_name(record)}") as step:
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
            with self.bar(f"{name}: reference") as step:
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
            with self.bar(f"{name}: {_name(record)}") as step:
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
def _errors_as_reasons() -> Iterator[None]:
    """Turn an error of one run into a reason, so that the other runs are still measured."""
    try:
        yield
    except UserError as error:
        raise Unmeasurable(str(error)) from None


def _name(record: Record) -> str:
    return f"{record.run_id} {record.spec.task} {record.spec.method} seed {record.spec.seed}"
