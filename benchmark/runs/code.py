"""The code that makes a run and its scores, as a fingerprint.

What goes on around them does not count: a harness that survives more, or says it better, makes no
record stale.
"""

from __future__ import annotations

from pathlib import Path

from benchmark.machine.fingerprint import fingerprint, sources
from benchmark.records.spec import Spec
from benchmark.tasks.registry import get_task
from methods.base.method import Method
from methods.objectives.registry import discover_objectives

HARNESS = Path(__file__).resolve().parents[1]
SCORING = tuple(
    HARNESS / file
    for file in (
        "runs/posing.py",
        "runs/returned.py",
        "runs/evaluation.py",
        "metrics/exam.py",
        "metrics/classification.py",
        "metrics/segmentation.py",
        "tasks/data/base.py",
    )
)
"""Of the harness, the files that decide what a method sees and what its student's score is."""


def code_of(spec: Spec, method: type[Method]) -> str:
    """The fingerprint of all that makes a run and its scores.

    These are its method, its networks and its objective, and of the harness what is trained on, who
    sees what, and how a student is scored.
    """
    classes: list[type] = [method, type(get_task(spec.task))]
    if spec.objective is not None:
        classes.append(discover_objectives()[spec.objective.name])
    return fingerprint(*sources(*classes), *SCORING)
