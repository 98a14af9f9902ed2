"""``dfkd doctor``: what this machine has, and where it was looked for."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmark.cli.tables import plain_table
from benchmark.machine.cache import CACHE_VARIABLE, cache_dir
from benchmark.machine.code import code_version
from benchmark.machine.device import pick_device, pick_precision
from benchmark.metrics.weights import ALEXNET, INCEPTION, weight_places
from benchmark.records.store import DEFAULT_RESULTS
from benchmark.tasks.data.base import DATA_VARIABLE, DataError, search_paths
from benchmark.tasks.data.proxy import SOURCES, find_proxy
from benchmark.tasks.registry import all_tasks, get_task, look_in
from benchmark.teachers.imported import imported_teachers
from benchmark.teachers.teacher import find_teacher, teacher_folders
from methods.base.errors import RegistryError
from methods.base.registry import discover

PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "pandas",
    "scipy",
    "torch-fidelity",
    "lpips",
    "rich",
    "ray",
)


def report(
    console: Console,
    data_dir: Path | None,
    method_folders: Sequence[Path],
    task_folders: Sequence[Path] = (),
) -> None:
    """Print device, packages, methods, datasets and teachers; nothing is fetched or trained."""
    look_in(task_folders)
    device = pick_device()
    machine = plain_table("Machine", "what", "found")
    machine.add_row("python", platform.python_version())
    machine.add_row("device", _device_name(device))
    machine.add_row("precision", pick_precision(device))
    machine.add_row("threads", f"{torch.get_num_threads()} of {os.cpu_count()} processors")
    machine.add_row("code", code_version())
    machine.add_row("cache", f"{cache_dir()} (set {CACHE_VARIABLE} to move it)")
    for name in PACKAGES:
        machine.add_row(name, _version(name))
    try:
        machine.add_row("methods", ", ".join(sorted(discover(method_folders))))
    except RegistryError as error:
        machine.add_row("methods", f"[red]{escape(str(error))}[/red]")
    console.print(machine)

    folders = teacher_folders(DEFAULT_RESULTS)
    tasks = plain_table("Tasks", "task", "dataset", "teacher")
    for name in sorted(all_tasks()):
        task = get_task(name)
        try:
            data = task.load(data_dir)
        except DataError as error:
            tasks.add_row(name, f"[red]{escape(str(error))}[/red]", "–")
            continue
        counts = f"{len(data.train.labels):,} + {len(data.test.labels):,} images"
        note = f" {data.note}" if data.note else ""
        teachers = [
            (recipe, find_teacher(task, data.checksum(), folders, console.print, presets[0]))
            for recipe, presets in task.recipes().items()
        ]
        imported = imported_teachers(task, folders, console.print).values()
        tasks.add_row(
            name,
            f"{counts}, {data.checksum()}{note}",
            "; ".join(
                (f"{recipe.name}: " if recipe.name else "")
                + (
                    f"{found.info.metric} {found.info.score:.4f}"
                    if found
                    else "trained at the first run"
                )
                for recipe, found in teachers
            )
            + "".join(
                f"; imported {found.info.checksum}: {found.info.metric} {found.info.score:.4f}"
                for found in imported
            ),
        )
    console.print(tasks)
    console.print(_proxies(data_dir))
    places = ", ".join(str(path) for path in search_paths(data_dir))
    console.print(
        f"Datasets were looked for in: {escape(places)} (--data-dir or {DATA_VARIABLE})",
        soft_wrap=True,
    )
    searched = ", ".join(str(folder) for folder in folders)
    console.print(f"Teachers were looked for in: {escape(searched)}", soft_wrap=True)
    console.print(_weights())
    console.print(
        "Pretrained weights for teachers were not looked for: only the tasks named -imagenet need "
        "them, and fetch them when their teacher is trained.",
        soft_wrap=True,
    )


def _proxies(data_dir: Path | None) -> Table:
    """The proxy datasets that tasks name; their files are looked for and not decoded."""
    table = plain_table("Proxy data", "dataset", "for tasks", "found")
    for name in sorted(SOURCES):
        users = sorted(task for task, cls in all_tasks().items() if cls.proxy == name)
        try:
            files = find_proxy(name, data_dir)
            here = escape(f"{files[0].parent}: {len(files)} files")
        except DataError as error:
            here = f"[red]{escape(str(error))}[/red]"
        table.add_row(name, ", ".join(users) or "–", here)
    return table


def _weights() -> Table:
    """The published weights, which only ``dfkd measure --extractor inception`` needs."""
    table = plain_table("Weights for dfkd measure --extractor inception", "file", "found")
    places = weight_places(None)
    for file in (INCEPTION, ALEXNET):
        found = [place for place in places if (place / file.name).is_file()]
        searched = ", ".join(map(str, places))
        table.add_row(
            file.name,
            escape(str(found[0])) if found else f"[dim]not in {escape(searched)}[/dim]",
        )
    return table


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"cuda: {torch.cuda.get_device_name(device)}"
    return f"cpu: {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "[dim]not installed[/dim]"
