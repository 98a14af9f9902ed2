"""Critics: networks that judge synthetic images, trained once per task on its real training data.

A critic is not the teacher and has another seed: a generator was trained to please the teacher, so
the teacher's opinion of its images says nothing. A critic is trained, cached and verified exactly
as a teacher is; only its network and its recipe are its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from torch import nn

from benchmark.machine.device import Precision
from benchmark.tasks.base import Task, TeacherRecipe
from benchmark.tasks.data.base import Dataset
from benchmark.tasks.models.critic import Critic
from benchmark.teachers.teacher import (
    SHIPPED_LIMIT,
    Say,
    TrainedTeacher,
    keep_teacher,
    teacher_file,
    teacher_folders,
    weight_bytes,
)
from benchmark.teachers.training import obtain_teacher
from methods.base.run import Progress


def critic_task(task: Task) -> Task:
    """The same task with its critic in the teacher's place."""

    class CriticTask(type(task)):  # type: ignore[misc]  # mypy wants a class known before the program runs
        name = f"{task.name}-critic"
        teacher_recipe = task.critic_recipe
        teacher_recipes: ClassVar[dict[str, TeacherRecipe]] = {}

        def make_teacher(self) -> nn.Module:
            return Critic(self.num_classes, self.image_shape[0])

    return CriticTask()


def obtain_critic(
    task: Task,
    dataset: Dataset,
    results: Path,
    say: Say = print,
    progress: Progress = lambda phase, step, total, loss: None,
    device: str = "cpu",
    precision: Precision = "fp32",
) -> TrainedTeacher:
    """A task's critic, found or freshly trained.

    A small critic is kept with the records, so that everybody who has them measures with the same
    one.
    """
    posed = critic_task(task)
    folders = teacher_folders(results)
    critic = obtain_teacher(
        posed, dataset, folders, say, progress, device=device, precision=precision
    )
    shipped = folders[0] / teacher_file(posed, dataset.checksum())
    if weight_bytes(critic) <= SHIPPED_LIMIT and not shipped.exists():
        keep_teacher(critic, shipped)
    return critic
