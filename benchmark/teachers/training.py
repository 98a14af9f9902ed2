"""Training a teacher: once per task, or once per recipe where budgets have their own.

It may take hours, so it goes on where it was interrupted, with the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.machine import stopping
from benchmark.machine.checkpoints import LoopKeeper, forget, teacher_keeper
from benchmark.machine.device import Precision, what_bits_depend_on
from benchmark.machine.fingerprint import fingerprint, sources
from benchmark.machine.tensors import checksum
from benchmark.metrics.classification import constant_share
from benchmark.metrics.exam import exam_of
from benchmark.metrics.segmentation import constant_miou
from benchmark.records.record import TeacherInfo
from benchmark.tasks.base import Task, TeacherRecipe
from benchmark.tasks.data.base import Dataset
from benchmark.teachers.teacher import (
    Say,
    TrainedTeacher,
    find_teacher,
    keep_teacher,
    teacher_file,
)
from methods.acceleration.optimizers import SGD, Adam
from methods.base.batch_order import RandomOrder
from methods.base.run import Progress, Run, derive_seed
from methods.losses.predictions import IGNORE_INDEX, median_frequency_weights
from methods.synthesis.augmentation import crop_flip, scale_crop_flip


def obtain_teacher(
    task: Task,
    dataset: Dataset,
    folders: Sequence[Path],
    say: Say = print,
    progress: Progress = lambda phase, step, total, loss: None,
    preset: str = "",
    device: str = "cpu",
    precision: Precision = "fp32",
    checkpoint_seconds: float | None = None,
) -> TrainedTeacher:
    """The teacher of a budget preset, from a folder or freshly trained and saved in the last.

    Args:
        task: gives the network and the recipe.
        dataset: dataset whose training split trains the teacher, and whose test split scores it.
        folders: folders in which teachers are looked for; the last is the cache's.
        say: called with one sentence when a kept teacher is damaged.
        progress: called with ``"teacher"``, step, total and loss.
        preset: name of the budget whose recipe is followed.
        device: device to train on.
        precision: ``bf16`` is used by recipes of mixed precision.
        checkpoint_seconds: seconds after which the state of its training is kept in the cache
            again; None for never.

    Raises:
        KeyboardInterrupt: when a stop was requested; training that is kept goes on from there the
            next time.
    """
    data_checksum = dataset.checksum()
    found = find_teacher(task, data_checksum, folders, say, preset)
    if found is not None:
        return found
    path = folders[-1] / teacher_file(task, data_checksum, preset)
    cache, keeper = folders[-1].parent, None
    if checkpoint_seconds is not None:
        code = fingerprint(Path(__file__), *sources(type(task)))
        bits = [code, *what_bits_depend_on(device, precision)]
        keeper = teacher_keeper(cache, path.stem, checkpoint_seconds, bits)
    with stopping.patiently():
        teacher = train_teacher(task, dataset, progress, preset, device, precision, keeper)
    keep_teacher(teacher, path)
    forget(cache, path.stem)
    return teacher


def train_teacher(
    task: Task,
    dataset: Dataset,
    progress: Progress,
    preset: str = "",
    device: str = "cpu",
    precision: Precision = "fp32",
    keeper: LoopKeeper | None = None,
) -> TrainedTeacher:
    """Train by the task's recipe; the weights after the last epoch are the teacher.

    Args:
        task: gives the network and the recipe.
        dataset: dataset whose training split trains the teacher, and whose test split scores it.
        progress: called with ``"teacher"``, step, total and loss.
        preset: name of the budget whose recipe is followed.
        device: device to train on.
        precision: ``bf16`` is used by recipes of mixed precision.
        keeper: keeps the state of the training, so that it can go on after an interruption.

    Raises:
        KeyboardInterrupt: after a step, when a stop was requested.
    """
    # Dropout draws from the global generators, of which the GPU has its own.
    forked = [torch.device(device)] if torch.device(device).type == "cuda" else []
    with torch.random.fork_rng(devices=forked):
        network = _trained(task, dataset, progress, preset, device, precision, keeper)
    return examined(task, dataset, network, task.recipe(preset).identity(), device)


def examined(
    task: Task, dataset: Dataset, network: nn.Module, recipe: Mapping[str, Any], device: str
) -> TrainedTeacher:
    """A network in eval mode as a teacher, scored on the test data."""
    weights = {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}
    info = TeacherInfo(
        checksum=checksum(weights),
        chance=_chance(task, dataset.test.labels),
        recipe=dict(recipe),
        **exam_of(task, dataset.test, device).measure(network).metrics,
    )
    return TrainedTeacher(weights, info)


def _trained(
    task: Task,
    dataset: Dataset,
    progress: Progress,
    preset: str,
    device: str,
    precision: Precision,
    keeper: LoopKeeper | None,
) -> nn.Module:
    recipe = task.recipe(preset)
    images = dataset.train.images[: recipe.images].to(device)
    labels = dataset.train.labels[: recipe.images].to(device)
    torch.manual_seed(derive_seed(recipe.seed, "teacher-initialisation"))
    network = task.make_teacher()
    if recipe.pretrained:
        task.load_pretrained(network)
    network.to(device)
    class_weights = (
        median_frequency_weights(labels, task.num_classes) if recipe.class_balanced else None
    )
    order = torch.Generator().manual_seed(derive_seed(recipe.seed, "teacher-batches"))
    batches = RandomOrder(len(images), recipe.batch, order)
    crops = torch.Generator().manual_seed(derive_seed(recipe.seed, "teacher-augmentation"))
    total = recipe.epochs * batches.batches_per_epoch
    optimizer, schedule = _optimization(recipe, network, total)
    reduced = recipe.mixed_precision and precision == "bf16"
    network.train()
    # The loop of a `Run` goes on after an interruption, as a method's does. Any budget will do,
    # because none limits a teacher.
    run = Run(
        next(iter(task.budgets.values())),
        device=device,
        stopping=stopping.requested,
        keeper=keeper,
    )
    for step in run.steps(
        "teacher",
        total,
        network=network,
        optimizer=optimizer,
        schedule=schedule,
        batches=batches,
        crops=crops,
    ):
        chosen = batches.next().to(device)
        batch, wanted = images[chosen], labels[chosen]
        if recipe.augmentation == "crop-flip":
            batch = crop_flip(batch, crops)
        elif recipe.augmentation == "scale-crop-flip":
            batch, wanted = scale_crop_flip(batch, wanted, crops)
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=reduced):
            logits = network(task.preprocess(batch))
        loss = teacher_loss(logits.float(), wanted.long(), class_weights)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        done = step + 1
        # Reading a loss from an accelerator waits for it.
        if device == "cpu" or done % 50 == 0 or done == total:
            progress("teacher", done, total, loss.item())
    return network.eval()


def teacher_loss(logits: Tensor, labels: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Cross-entropy with the true labels, averaged over samples; void pixels do not count.

    Args:
        logits: B×K or B×K×H×W.
        labels: B, or B×H×W with `IGNORE_INDEX` where a pixel is of no class.
        class_weights: K, or None for equal ones.

    Returns:
        A scalar in [0, ∞); 0 when every pixel is void.
    """
    if labels.ndim == 1:  # labels of images, of which 255 is a class like any other
        return F.cross_entropy(logits, labels, class_weights)
    if (labels == IGNORE_INDEX).all():
        return 0.0 * logits.sum()
    return F.cross_entropy(logits, labels, class_weights, ignore_index=IGNORE_INDEX)


def _chance(task: Task, labels: Tensor) -> float:
    if task.task_type == "segmentation":
        return constant_miou(labels, task.num_classes)
    return constant_share(labels)


def _optimization(
    recipe: TeacherRecipe, network: nn.Module, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    rate, decay = recipe.learning_rate, recipe.weight_decay
    optimizer: torch.optim.Optimizer
    if recipe.optimizer == "adam":
        optimizer = Adam(network.parameters(), lr=rate, weight_decay=decay, fused=True)
    else:
        optimizer = SGD(
            network.parameters(),
            lr=rate,
            momentum=recipe.momentum,
            weight_decay=decay,
            nesterov=recipe.momentum > 0,
            fused=True,
        )
    if recipe.schedule == "cosine":
        return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, steps, cycle_momentum=False
    )
