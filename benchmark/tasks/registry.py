"""Finding tasks: this folder, installed packages (``dfkd.tasks``), and folders by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from benchmark.errors import UserError
from benchmark.tasks.base import Task
from methods.base.errors import RegistryError
from methods.base.finder import file_name, find_classes
from methods.settings.params import nearest

ENTRY_POINT_GROUP = "dfkd.tasks"
DECLARATIONS = (
    "title",
    "family",
    "pair",
    "image_shape",
    "num_classes",
    "normalization",
    "teacher_recipe",
    "budgets",
)

_folders: tuple[Path, ...] = ()


def look_in(folders: Iterable[Path]) -> None:
    """From now on, find the tasks of these folders (or single files) as well.

    The folders are kept for the whole process, since a task is looked up by name in many places
    that know nothing of the command line. `benchmark.runs.job.Context` tells worker processes.
    The code of every file runs in this process: name only what you trust.
    """
    global _folders
    _folders = tuple(dict.fromkeys([*_folders, *(folder.resolve() for folder in folders)]))


def all_tasks() -> Mapping[str, type[Task]]:
    """Every task by name.

    Raises:
        methods.base.errors.RegistryError: naming a file that does not import, a class that
            declares too little, or two tasks of one name.
    """
    return _tasks(_folders)


def get_task(name: str) -> Task:
    """The task of this name.

    Raises:
        UserError: with the nearest valid name.
    """
    tasks = all_tasks()
    if name not in tasks:
        raise UserError(f"there is no task '{name}'; {nearest(name, list(tasks))}")
    return tasks[name]()


@cache
def _tasks(folders: tuple[Path, ...]) -> Mapping[str, type[Task]]:
    found = find_classes(Task, "task", "benchmark.tasks", ENTRY_POINT_GROUP, folders)
    for cls in found.values():
        lacking = [name for name in DECLARATIONS if not hasattr(cls, name)]
        if lacking:
            raise RegistryError(
                f"task '{cls.name}' in '{file_name(cls)}' does not say its {', '.join(lacking)}"
            )
    return found
