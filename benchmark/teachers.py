"""Teachers: trained once per task, kept by content, verified whenever they are used."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.artifacts import Corrupted, cache_dir, checksum, load_tensors, save_tensors
from benchmark.data.base import Dataset, Split
from benchmark.metrics.classification import accuracy, constant_share
from benchmark.records import TeacherInfo, digest
from benchmark.tasks.base import Task
from methods.base import derive_seed

SHIPPED_LIMIT = 1 << 20
"""Weights up to this many bytes are kept beside the records they belong to."""

Say = Callable[[str], None]
TeacherProgress = Callable[[str, int, int, float], None]


@dataclass(frozen=True)
class TrainedTeacher:
    """Weights of a trained teacher and what is known of them."""

    weights: dict[str, Tensor]
    info: TeacherInfo

    def build(self, task: Task) -> nn.Module:
        """A fresh network with these weights."""
        network = task.make_teacher()
        network.load_state_dict(self.weights)
        return network


def teacher_file(task: Task, data_checksum: str) -> str:
    """File name of the teacher: task, and a hash of everything it is made from."""
    made_from = {
        "task": task.name,
        "version": task.version,
        "data": data_checksum,
        "recipe": task.teacher_recipe.model_dump(mode="json"),
    }
    return f"{task.name}-{digest(made_from)}.safetensors"


def teacher_folders(results: Path) -> tuple[Path, ...]:
    """Where teachers are looked for: beside the records, then in the cache.

    In this order, because a record's teacher is part of its identity: with another one of the same
    recipe, trained on this machine, every committed record would seem to be missing.
    """
    return (results / "teachers", cache_dir() / "teachers")


def find_teacher(
    task: Task, data_checksum: str, folders: Sequence[Path], say: Say = print
) -> TrainedTeacher | None:
    """The teacher from the first folder that holds it undamaged; damage is said."""
    for folder in folders:
        path = folder / teacher_file(task, data_checksum)
        try:
            weights, header = load_tensors(path)
            info = TeacherInfo.model_validate_json(header["teacher"])
            if info.checksum != header["checksum"]:
                raise Corrupted(f"'{path}' is damaged (it describes another teacher)")
        except FileNotFoundError:
            continue
        except (Corrupted, KeyError, ValueError) as error:
            say(f"cached teacher ignored: {error}; looking further, then training it again")
            continue
        return TrainedTeacher(weights, info)
    return None


def obtain_teacher(
    task: Task,
    dataset: Dataset,
    folders: Sequence[Path],
    say: Say = print,
    progress: TeacherProgress = lambda phase, step, total, loss: None,
) -> TrainedTeacher:
    """The task's teacher, from a folder or freshly trained and saved in the last one."""
    data_checksum = dataset.checksum()
    found = find_teacher(task, data_checksum, folders, say)
    if found is not None:
        return found
    teacher = train_teacher(task, dataset, progress)
    keep_teacher(teacher, folders[-1] / teacher_file(task, data_checksum))
    return teacher


def keep_teacher(teacher: TrainedTeacher, path: Path) -> None:
    """Write a teacher's weights with what is known of them."""
    save_tensors(path, teacher.weights, {"teacher": teacher.info.model_dump_json()})


def weight_bytes(teacher: TrainedTeacher) -> int:
    """Size of the weights."""
    return sum(tensor.numel() * tensor.element_size() for tensor in teacher.weights.values())


def train_teacher(task: Task, dataset: Dataset, progress: TeacherProgress) -> TrainedTeacher:
    """Train by the task's recipe; the weights after the last epoch are the teacher."""
    recipe = task.teacher_recipe
    images, labels = task.preprocess(dataset.train.images), dataset.train.labels
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(recipe.seed, "teacher-initialisation"))
        network = task.make_teacher()
    stream = torch.Generator().manual_seed(derive_seed(recipe.seed, "teacher-batches"))
    steps_per_epoch = len(images) // recipe.batch
    total = recipe.epochs * steps_per_epoch
    optimizer = torch.optim.Adam(network.parameters(), lr=recipe.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
    network.train()
    for epoch in range(recipe.epochs):
        order = torch.randperm(len(images), generator=stream)
        for i in range(steps_per_epoch):
            chosen = order[i * recipe.batch : (i + 1) * recipe.batch]
            loss = F.cross_entropy(network(images[chosen]), labels[chosen])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            progress("teacher", epoch * steps_per_epoch + i + 1, total, loss.item())
    network.eval()
    weights = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    info = TeacherInfo(
        checksum=checksum(weights),
        accuracy=accuracy(network, *_prepared(task, dataset.test)),
        chance=constant_share(dataset.test.labels),
        recipe=json.loads(recipe.model_dump_json()),
    )
    return TrainedTeacher(weights, info)


def _prepared(task: Task, split: Split) -> tuple[Tensor, Tensor]:
    return task.preprocess(split.images), split.labels
