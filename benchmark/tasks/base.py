"""The contract of a task: data, a teacher-student pair, the teacher's recipe and the budgets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.records.record import Metric
from benchmark.tasks.data.base import DataError, Dataset
from benchmark.tasks.data.proxy import files_in, find_proxy, prepared_images
from methods.base.problem import Normalization
from methods.settings.budget import Budget

PIECE = 4096
"""Images that are prepared at once, so that each step uses the memory of the last one again."""


class TeacherRecipe(BaseModel):
    """The settings of a teacher's training, which are part of its identity."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(ge=1)
    batch: int = Field(ge=1)
    learning_rate: float = Field(gt=0, description="highest learning rate")
    optimizer: Literal["adam", "sgd"] = Field("adam", description="sgd has Nesterov's momentum")
    schedule: Literal["cosine", "one-cycle"] = Field(
        "cosine", description="from the highest rate to zero, with a warm-up in one-cycle"
    )
    augmentation: Literal["none", "crop-flip", "scale-crop-flip"] = Field(
        "none", description="the last is for segmentation: it changes images and labels alike"
    )
    seed: int = 0
    name: str = Field("", description="smoke, cpu, gpu or paper, where a task has several recipes")
    momentum: float = Field(0.0, ge=0, lt=1, description="of sgd")
    weight_decay: float = Field(0.0, ge=0)
    mixed_precision: bool = Field(
        False, description="train in bfloat16 where the device multiplies it natively"
    )
    class_balanced: bool = Field(
        False, description="segmentation: weigh rare classes up by median frequency balancing"
    )
    pretrained: Literal["", "imagenet"] = Field(
        "", description="segmentation: weights the backbone starts from; fetched where it is used"
    )
    images: int | None = Field(
        None, ge=1, description="train on so many, the first of the split; all by default"
    )

    def identity(self) -> dict[str, Any]:
        """The numbers that identify a teacher.

        Numbers that later versions added are left out while they have their default, so that
        teachers trained before keep their names.
        """
        added = {
            "name",
            "momentum",
            "weight_decay",
            "mixed_precision",
            "class_balanced",
            "pretrained",
            "images",
        }
        unused = {n for n in added if getattr(self, n) == type(self).model_fields[n].default}
        return self.model_dump(mode="json", exclude=unused)


class Task(ABC):
    """One benchmark task. Subclasses are found by scanning this folder.

    Class attributes:
        name: identifier in commands and records.
        title: name above the task's tables.
        version: raise it when the same data or networks start to mean something else.
        family: dataset whose published settings the methods use here (``mnist``, ``cifar10``, ...).
        pair: teacher → student, in words.
        image_shape: (C, H, W) of the networks' input.
        num_classes: K.
        task_type: whether the networks classify images or segment them.
        classes: names of the classes; needed where they are segmented.
        class_text: name of the table of embeddings of its classes' names
            (`benchmark.tasks.data.class_text`); empty where there is none.
        palette: colour of each class in pictures, RGB in 0-255; void is black.
        normalization: mean and standard deviation that the networks' input is normalised by.
        proxy: dataset that stands in for the task's own where a method may see proxy images
            (``usps``, ...); empty when only the user can give some.
        teacher_recipe: recipe of the teacher.
        teacher_recipes: recipes by budget preset, for presets whose teacher is trained otherwise.
        critic_recipe: recipe of the network that judges synthetic images; its seed differs from
            the teacher's.
        budgets: the numbers of each budget preset.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    version: ClassVar[int] = 1
    family: ClassVar[str]
    pair: ClassVar[str]
    image_shape: ClassVar[tuple[int, int, int]]
    num_classes: ClassVar[int]
    task_type: ClassVar[Literal["classification", "segmentation"]] = "classification"
    classes: ClassVar[tuple[str, ...]] = ()
    class_text: ClassVar[str] = ""
    palette: ClassVar[tuple[tuple[int, int, int], ...]] = ()
    normalization: ClassVar[Normalization]
    proxy: ClassVar[str] = ""
    teacher_recipe: ClassVar[TeacherRecipe]
    teacher_recipes: ClassVar[Mapping[str, TeacherRecipe]] = {}
    critic_recipe: ClassVar[TeacherRecipe] = TeacherRecipe(
        epochs=5,
        batch=128,
        learning_rate=5e-3,
        schedule="one-cycle",
        mixed_precision=True,
        seed=1,
    )
    budgets: ClassVar[Mapping[str, Budget]]

    @property
    def metric(self) -> Metric:
        """The metric by which teachers and students are scored."""
        return "accuracy" if self.task_type == "classification" else "miou"

    def recipe(self, preset: str = "") -> TeacherRecipe:
        """The recipe of the teacher of a budget preset."""
        return self.teacher_recipes.get(preset, self.teacher_recipe)

    def recipes(self) -> dict[TeacherRecipe, list[str]]:
        """Every recipe with the budget presets that use it."""
        presets: dict[TeacherRecipe, list[str]] = {}
        for preset in self.budgets:
            presets.setdefault(self.recipe(preset), []).append(preset)
        return presets

    @abstractmethod
    def load(self, data_dir: Path | None) -> Dataset:
        """Read the dataset.

        Raises:
            DataError: when it is missing or damaged.
        """

    def load_proxy(self, data_dir: Path | None, proxy_dir: Path | None) -> Tensor:
        """Proxy images for `preprocess`, uint8, N×C×H×W, from ``proxy_dir`` or the dataset `proxy`.

        Raises:
            DataError: when they are missing or damaged, or the task has none.
        """
        if proxy_dir is not None:
            return prepared_images(files_in(proxy_dir), self.image_shape)
        if not self.proxy:
            raise DataError(
                f"task '{self.name}' has no proxy data of its own; give a folder of images with "
                "--proxy-dir"
            )
        return prepared_images(find_proxy(self.proxy, data_dir), self.image_shape)

    def preprocess(self, images: Tensor) -> Tensor:
        """Stored images (uint8, N×C×h×w) to the networks' input (float32, N×C×H×W, normalised)."""
        prepared = torch.empty(len(images), *self.image_shape)
        for start in range(0, len(images), PIECE):
            pixels = images[start : start + PIECE].float() / 255
            if pixels.shape[2:] != self.image_shape[1:]:
                pixels = F.interpolate(
                    pixels, size=self.image_shape[1:], mode="bilinear", align_corners=False
                )
            prepared[start : start + PIECE] = self.normalization.normalize(pixels)
        return prepared

    @abstractmethod
    def make_teacher(self) -> nn.Module:
        """An untrained teacher."""

    def load_pretrained(self, teacher: nn.Module) -> None:
        """Give an untrained teacher's backbone the weights that ``pretrained`` names.

        Raises:
            UserError: when they are not here and cannot be fetched, or there are none.
        """
        # timm takes a second to import, which most tasks need not wait for.
        from benchmark.tasks.models.deeplab import DeepLabV3, load_imagenet_backbone

        if not isinstance(teacher, DeepLabV3):
            raise UserError(
                f"task '{self.name}' has no pretrained backbone; leave `pretrained` empty"
            )
        load_imagenet_backbone(teacher)

    @abstractmethod
    def make_student(self) -> nn.Module:
        """An untrained student."""
