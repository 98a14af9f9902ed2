"""``dfkd import-teacher``: a file of weights in, a teacher that runs can name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from benchmark.analysis.frame import METRIC_NAMES
from benchmark.cli.distill import parse_numbers
from benchmark.errors import UserError
from benchmark.machine.cache import cache_dir
from benchmark.machine.device import available_device
from benchmark.records.files import check_cache
from benchmark.tasks.base import Task
from benchmark.tasks.loaded import dataset
from benchmark.tasks.registry import get_task, look_in
from benchmark.teachers.imported import Source, import_teacher, keep_imported
from benchmark.teachers.teacher import TrainedTeacher
from methods.base.problem import Normalization


@dataclass(frozen=True)
class Request:
    """The arguments of ``dfkd import-teacher`` as typed."""

    task: str
    weights: Path
    renames: tuple[str, ...] = ()
    mean: str | None = None
    std: str | None = None
    data_dir: Path | None = None
    task_folders: tuple[Path, ...] = ()
    device: str = "auto"


def run(request: Request, console: Console) -> None:
    """Import a teacher, keep it in the cache, and say what it is worth.

    Raises:
        UserError: when an argument is no good, the file does not fit the task's teacher, or the
            cache cannot be written.
    """
    look_in(request.task_folders)
    task = get_task(request.task)
    source = Source(
        request.weights,
        tuple(_pair(text) for text in request.renames),
        _normalization(request, task),
    )
    device = available_device(request.device)
    check_cache(cache_dir())
    data = dataset(task.name, request.data_dir)
    console.print(f"scoring the teacher on {len(data.test.labels):,} test images", highlight=False)
    teacher = import_teacher(task, data, source, str(device))
    path = keep_imported(task, teacher, cache_dir() / "teachers")
    _say(teacher, task, path, console)


def _pair(text: str) -> tuple[str, str]:
    part, equals, other = text.partition("=")
    if not part or not equals:
        raise UserError(f"--rename is '{text}'; write a part of a name and another, like linear=fc")
    return part, other


def _normalization(request: Request, task: Task) -> Normalization | None:
    if request.mean is None and request.std is None:
        return None
    if request.mean is None or request.std is None:
        given, absent = ("mean", "std") if request.std is None else ("std", "mean")
        raise UserError(f"--{given} is given without --{absent}; give both, or neither")
    return Normalization(parse_numbers(request.mean, "--mean"), parse_numbers(request.std, "--std"))


def _say(teacher: TrainedTeacher, task: Task, path: Path, console: Console) -> None:
    info = teacher.info
    console.print(
        f"teacher {info.checksum} of {escape(task.name)}: {METRIC_NAMES[info.metric]} "
        f"{100 * info.score:.2f} % on the test images, {escape(info.origin)}",
        highlight=False,
        soft_wrap=True,
    )
    if info.score < 2 * info.chance:
        console.print(
            f"[yellow]that is close to chance ({100 * info.chance:.2f} %):[/yellow] does the file "
            "need another --mean and --std, or has it the classes in another order?",
            highlight=False,
            soft_wrap=True,
        )
    console.print(
        f"kept: {escape(str(path))}\n"
        f"run:  dfkd run --task {escape(task.name)} --method dafl --teacher {info.checksum[:6]}",
        highlight=False,
        soft_wrap=True,
    )
