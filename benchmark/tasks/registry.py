"""Finding tasks: every `Task` subclass in this folder."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from functools import cache

import benchmark.tasks as package
from benchmark.errors import UserError
from benchmark.tasks.base import Task
from methods.params import nearest


@cache
def all_tasks() -> Mapping[str, type[Task]]:
    """Every task by name."""
    found: dict[str, type[Task]] = {}
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        for value in vars(module).values():
            if (
                inspect.isclass(value)
                and issubclass(value, Task)
                and value.__module__ == module.__name__
                and not inspect.isabstract(value)
            ):
                found[value.name] = value
    return found


def get_task(name: str) -> Task:
    """The task of this name.

    Raises:
        UserError: with the nearest valid name.
    """
    tasks = all_tasks()
    if name not in tasks:
        raise UserError(f"there is no task '{name}'; {nearest(name, list(tasks))}")
    return tasks[name]()
