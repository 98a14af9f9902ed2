"""Finding objectives: the concrete `TransferObjective`s in the files of this folder."""

from __future__ import annotations

from collections.abc import Mapping

from methods.base.finder import find_classes
from methods.base.objective import TransferObjective

OWN = "kd"
"""The name of a method's own objective: Hinton's KD, or cross-entropy with the labels."""


def discover_objectives() -> Mapping[str, type[TransferObjective]]:
    """Every objective that can be put on a method, by name; `OWN` is not among them."""
    return find_classes(TransferObjective, "objective", "methods.objectives")
