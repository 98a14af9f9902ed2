"""What ``dfkd measure`` does: image metrics for finished runs, without training a student."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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

from benchmark.analysis.beside import print_quality
from benchmark.analysis.tables import tables
from benchmark.artifacts import cache_dir
from benchmark.critics import obtain_critic
from benchmark.device import pick_device, pick_precision
from benchmark.errors import UserError
from benchmark.metrics.extractors import (
    Extractor,
    ExtractorName,
    inception_extractor,
    task_extractor,
)
from benchmark.metrics.image_quality import FEW_IMAGES, judge, obtain_reference
from benchmark.metrics.images import ImageProgress, Unmeasurable
from benchmark.records import Record
from benchmark.recover import Recovered
from benchmark.revive import revive
from benchmark.run import Context, Job, dataset
from benchmark.store import Scan, Store
from benchmark.tasks.base import Task
from benchmark.tasks.registry import get_task, look_in
from methods.params import nearest

IMAGES = {"gpu": 10_000, "paper": 10_000}
USUAL_IMAGES = 5_000


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


def measure_runs(request: MeasureRequest, console: Console) -> int:
    """Measure what is not measured yet; 0 when every run that makes images has its numbers.

    Raises:
        UserError: for an unknown run, suite, extractor or policy, or weights that are not here.
    """
    for name in request.extractors:
        if name not in get_args(ExtractorName):
            raise UserError(
                f"there is no extractor '{name}'; {nearest(name, list(get_args(ExtractorName)))}"
            )
    if request.overwrite not in ("never", "always"):
        raise UserError(f"--overwrite is '{request.overwrite}'; choose from: always, never")
    store = Store(request.results)
    chosen = records_of(request.target, store)
    look_in(request.task_folders)
    measuring = Measuring(request, console)
    done, failed = [], 0
    with measuring.bars:
        runs = measuring.bars.add_task("runs", total=len(chosen))
        for record in chosen:
            try:
                measured = measuring.measure(record)
                if measured != record:
                    store.put(measured)
                done.append(measured)
            except Unmeasurable as error:
                # Runs on real images and failed runs are nothing to be measured; the rest is.
                failed += record.ledger.synthetic_images > 0 and record.status == "ok"
                measuring.say(f"{_name(record)}: not measured: {error}")
            measuring.bars.advance(runs)
    for table in tables(Scan(records=done)):
        print_quality(table, console)
    return int(failed > 0)


def _name(record: Record) -> str:
    return f"{record.run_id} {record.spec.task} {record.spec.method} seed {record.spec.seed}"


def records_of(target: str, store: Store) -> list[Record]:
    """The records of a suite, or the one whose id starts with ``target``.

    Raises:
        UserError: when there is neither.
    """
    scan = store.scan()
    of_suite = [record for record in scan.records if record.spec.suite == target]
    if of_suite:
        return of_suite
    if len(target) >= 4 and all(digit in "0123456789abcdef" for digit in target):
        return [store.find(target)]
    suites = sorted({record.spec.suite for record in scan.records})
    raise UserError(
        f"'{store.root}' has no suite '{target}' and no such run; {nearest(target, suites)}"
    )


class Measuring:
    """One command's extractors and references, each made once.

    Args:
        request: the arguments.
        console: where bars and sentences go.
    """

    def __init__(self, request: MeasureRequest, console: Console) -> None:
        self.request = request
        self.device = pick_device(request.device)
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._extractors: dict[tuple[str, str], Extractor] = {}

    def say(self, message: str) -> None:
        """A sentence worth keeping."""
        self.bars.console.print(escape(message), highlight=False, soft_wrap=True)

    def measure(self, record: Record) -> Record:
        """The record with what it lacked of the extractors' numbers.

        Raises:
            Unmeasurable: when its images cannot be had.
        """
        wanted = [
            name
            for name in self.request.extractors
            if self.request.overwrite == "always" or name not in record.quality
        ]
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
        if len(images.pixels) < FEW_IMAGES:
            self.say(
                f"{_name(record)}: {len(images.pixels)} images are few; below {FEW_IMAGES:,} FID "
                "says more of their number than of them"
            )
        task = get_task(record.spec.task)
        data = dataset(task.name, self.request.data_dir)
        quality = dict(record.quality)
        for name in wanted:
            extractor = self._extractor(name, task)
            with self._bar(f"{name}: reference") as step:
                reference = obtain_reference(
                    task,
                    data,
                    recovered.teacher,
                    record.teacher,
                    extractor,
                    len(images.pixels),
                    cache_dir(),
                    step,
                )
            with self._bar(f"{name}: {_name(record)}") as step:
                quality[name] = judge(images, reference, extractor, step)
        metrics = recovered.statistics() | record.metrics
        return record.model_copy(update={"quality": quality, "metrics": metrics})

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

    def _extractor(self, name: str, task: Task) -> Extractor:
        key = (name, task.name if name == "task" else "")
        if key not in self._extractors:
            self._extractors[key] = (
                inception_extractor(self.request.weights_dir, str(self.device))
                if name == "inception"
                else self._critic(task)
            )
        return self._extractors[key]

    def _critic(self, task: Task) -> Extractor:
        if task.task_type == "segmentation":
            raise UserError(
                f"there is no critic of '{task.name}': a critic is a classifier, and the task's "
                "labels are maps; measure its images with --extractor inception"
            )
        with self._bar(f"training the critic of {task.name} (once)") as step:
            trained = obtain_critic(
                task,
                dataset(task.name, self.request.data_dir),
                self.request.results,
                self.say,
                lambda phase, done, total, loss: step(done, total),
                str(self.device),
                pick_precision(self.device),
            )
        return task_extractor(task, trained, str(self.device))

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
