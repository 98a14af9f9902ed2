"""The problem as a method may see it: the teacher, and of the data what the method declared."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from benchmark.runs.job import Context
from benchmark.tasks.base import Task
from benchmark.tasks.data.class_text import class_text
from benchmark.teachers.metadata import obtain_metadata
from methods.base.method import Method
from methods.base.problem import Access, Problem
from methods.base.run import derive_seed
from methods.base.teacher import Teacher
from methods.networks.calls import untold


def pose(task: Task, method: Method, teacher: Teacher, seed: int, context: Context) -> Problem:
    """The problem as the method may see it; data that it did not declare are not even loaded."""
    granted: dict[Access, Any] = {}
    if method.access & (Access.TRAIN_IMAGES | Access.TRAIN_LABELS):
        train = context.dataset(task.name).learnable
        if Access.TRAIN_IMAGES in method.access:
            granted[Access.TRAIN_IMAGES] = task.preprocess(train.images)
        if Access.TRAIN_LABELS in method.access:
            granted[Access.TRAIN_LABELS] = train.labels.long()
    if Access.METADATA in method.access:
        handed = context.handed and context.handed.metadata
        # Damage is said where a grid or a replay is prepared, not from within a worker.
        with untold():
            granted[Access.METADATA] = handed or obtain_metadata(
                task,
                context.dataset(task.name),
                teacher.network,
                context.teacher_folders,
                lambda message: None,
            )
    if Access.CLASS_TEXT in method.access and task.class_text:
        granted[Access.CLASS_TEXT] = class_text(task.class_text)
    if Access.PROXY_IMAGES in method.access:
        proxy = context.proxy(task.name)
        granted[Access.PROXY_IMAGES] = task.preprocess(proxy.images)

    def make_student() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, "student-initialisation"))
            return task.make_student()

    return Problem(
        teacher=teacher,
        make_student=make_student,
        image_shape=task.image_shape,
        num_classes=task.num_classes,
        normalization=task.normalization,
        task_type=task.task_type,
        access=method.access,
        method=method.name,
        granted=granted,
    )
