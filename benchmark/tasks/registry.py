"""Finding tasks: this folder, installed packages (``dfkd.tasks``), and folders by name."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType

import benchmark.tasks as package
from benchmark.errors import UserError
from benchmark.tasks.base import Task
from methods.base.registry import NAME, RegistryError, load_entry_points, load_file, python_files
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

    Kept for the process, since a task is looked up by name in many places that know nothing of
    the command line; worker processes are told by `benchmark.runs.job.Context`. The code of every
    file runs in this process: name only what you trust.
    """
    global _folders
    _folders = tuple(dict.fromkeys([*_folders, *(folder.resolve() for folder in folders)]))


def all_tasks() -> Mapping[str, type[Task]]:
    """Every task by name.

    Raises:
        methods.base.registry.RegistryError: naming a file that does not import, a class that
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
    found: dict[str, type[Task]] = {}
    for cls in _classes(folders):
        _check(cls)
        other = found.setdefault(cls.name, cls)
        if other is not cls:
            raise RegistryError(
                f"two tasks are called '{cls.name}': {other.__qualname__} in '{_file(other)}' and "
                f"{cls.__qualname__} in '{_file(cls)}'; rename one"
            )
    return found


def _classes(folders: tuple[Path, ...]) -> Iterator[type[Task]]:
    for info in pkgutil.iter_modules(package.__path__):
        yield from tasks_in(importlib.import_module(f"{package.__name__}.{info.name}"))
    for loaded in load_entry_points(ENTRY_POINT_GROUP, "task"):
        if isinstance(loaded, ModuleType):
            yield from tasks_in(loaded)
        elif inspect.isclass(loaded) and issubclass(loaded, Task):
            yield loaded
        else:
            raise RegistryError(
                f"an installed package offers {loaded!r} as a task, which it is not"
            )
    for folder in folders:
        for path in python_files(folder, "task"):
            yield from tasks_in(load_file(path, "task"))


def tasks_in(module: ModuleType) -> list[type[Task]]:
    """The concrete tasks a module defines itself."""
    return [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, Task)
        and value.__module__ == module.__name__
        and not inspect.isabstract(value)
        and "name" in vars(value)
    ]


def _check(cls: type[Task]) -> None:
    if not NAME.fullmatch(cls.name):
        raise RegistryError(
            f"{cls.__qualname__} in '{_file(cls)}' is called {cls.name!r}; write it like my-task"
        )
    missing = [name for name in DECLARATIONS if not hasattr(cls, name)]
    if missing:
        raise RegistryError(
            f"task '{cls.name}' in '{_file(cls)}' does not say its {', '.join(missing)}"
        )


def _file(cls: type) -> str:
    return Path(inspect.getfile(cls)).name
