"""Finding objectives: the concrete `TransferObjective`s in the files of this folder."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Mapping

import methods.objectives
from methods.base.objective import TransferObjective

OWN = "kd"
"""The name of a method's own objective: Hinton's KD, or cross-entropy with the labels."""


def discover_objectives() -> Mapping[str, type[TransferObjective]]:
    """Every objective that can be put on a method, by name; `OWN` is not among them."""
    found: dict[str, type[TransferObjective]] = {}
    for info in pkgutil.iter_modules(methods.objectives.__path__):
        module = importlib.import_module(f"methods.objectives.{info.name}")
        for value in vars(module).values():
            if (
                inspect.isclass(value)
                and issubclass(value, TransferObjective)
                and value.__module__ == module.__name__
                and not inspect.isabstract(value)
                and "name" in vars(value)
            ):
                found[value.name] = value
    return found
