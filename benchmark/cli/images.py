"""``dfkd images``: the contact sheet of a run's images, which are found or made again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from benchmark.errors import UserError
from benchmark.metrics.images import Unmeasurable
from benchmark.records.files import write_atomic
from benchmark.records.store import Store
from benchmark.runs.images.contact_sheet import LOOKED_AT, keep_sheet, sheet_of_run
from benchmark.runs.images.recovered import Recovered
from benchmark.runs.replay import revive
from benchmark.tasks.loaded import dataset
from benchmark.tasks.registry import get_task, look_in


@dataclass(frozen=True)
class SheetRequest:
    """The arguments of ``dfkd images`` as typed."""

    run_id: str
    results: Path
    output: Path | None
    per_class: int
    data_dir: Path | None
    proxy_dir: Path | None
    method_folders: tuple[Path, ...]
    task_folders: tuple[Path, ...]
    synthesize: bool


def write_sheet(request: SheetRequest, console: Console) -> None:
    """Write the contact sheet of a run.

    Raises:
        UserError: when there is no such run, its images cannot be had, or the file is no PNG.
    """
    if request.output is not None and request.output.suffix.lower() != ".png":
        raise UserError(f"--output '{request.output}' must end in .png; the sheet is a PNG file")
    look_in(request.task_folders)
    record = Store(request.results).find(request.run_id)
    job, context = revive(
        record,
        request.results,
        request.data_dir,
        request.proxy_dir,
        request.method_folders,
        console.print,
        reuse_samples=True,
        task_folders=request.task_folders,
    )
    try:
        recovered = Recovered(record, job, context, request.synthesize)
        made = recovered.draw(LOOKED_AT)
    except Unmeasurable as error:
        raise UserError(f"no images of run {record.run_id}: {error}") from None
    task = get_task(record.spec.task)
    test = dataset(task.name, request.data_dir).test
    content = sheet_of_run(record, made, task, test, request.per_class)
    path = request.output or Path(f"{record.run_id}.png")
    write_atomic(path, content)
    keep_sheet(record.run_id, content)
    counts = torch.bincount(made.labels, minlength=task.num_classes)
    absent = [str(label) for label in range(task.num_classes) if not counts[label]]
    note = f"; none of class {', '.join(absent)} among {len(made.pixels):,}" if absent else ""
    console.print(f"{path}: {record.spec.method} seed {record.spec.seed}{note}", highlight=False)
