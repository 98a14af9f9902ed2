"""What a task is: data, a teacher-student pair, the teacher's recipe and the budgets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from benchmark.data.base import DataError, Dataset
from benchmark.data.proxy import files_in, find_proxy, read_images
from methods.base import Normalization
from methods.budget import Budget


class TeacherRecipe(BaseModel):
    """How the teacher is trained; part of its identity."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(ge=1)
    batch: int = Field(ge=1)
    learning_rate: float = Field(gt=0, description="highest learning rate")
    optimizer: Literal["adam", "sgd"] = Field("adam", description="sgd has Nesterov's momentum")
    schedule: Literal["cosine", "one-cycle"] = Field(
        "cosine", description="from the highest rate to zero, with a warm-up in one-cycle"
    )
    augmentation: Literal["none", "crop-flip"] = "none"
    seed: int = 0
    name: str = Field("", description="cpu or paper, where a task has recipes of both kinds")
    momentum: float = Field(0.0, ge=0, lt=1, description="of sgd")
    weight_decay: float = Field(0.0, ge=0)
    mixed_precision: bool = Field(
        False, description="train in bfloat16 where the device multiplies it natively"
    )

    def identity(self) -> dict[str, Any]:
        """The numbers that identify a teacher.

        Those that later versions added are left out while they change nothing, so that teachers
        trained before keep their names.
        """
        added = {"name", "momentum", "weight_decay", "mixed_precision"}
        unused = {n for n in added if getattr(self, n) == type(self).model_fields[n].default}
        return self.model_dump(mode="json", exclude=unused)


class Task(ABC):
    """One benchmark task. Subclasses are found by scanning this folder.

    Class attributes:
        name: identifier in commands and records.
        title: as printed above tables.
        version: raise it when the same data or networks start to mean something else.
        family: whose published settings methods use here (``mnist``, ``cifar10``, ...).
        pair: teacher → student, in words.
        image_shape: (C, H, W) of the networks' input.
        num_classes: K.
        normalization: of the input.
        proxy: dataset that stands in for the task's own where a method may see proxy images
            (``usps``, ...); empty when there is none but what the user gives.
        teacher_recipe: how the teacher is trained.
        teacher_recipes: by budget preset, where a preset's teacher is trained otherwise.
        critic_recipe: how the network is trained that judges synthetic images; its seed is not
            the teacher's.
        budgets: preset name to numbers.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    version: ClassVar[int] = 1
    family: ClassVar[str]
    pair: ClassVar[str]
    image_shape: ClassVar[tuple[int, int, int]]
    num_classes: ClassVar[int]
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

    def recipe(self, preset: str = "") -> TeacherRecipe:
        """How the teacher of a budget preset is trained."""
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
        """Proxy images for `preprocess`, uint8, N×C×H×W: of ``proxy_dir``, or of `proxy`.

        Raises:
            DataError: when they are missing or damaged, or the task has none.
        """
        if proxy_dir is not None:
            return read_images(files_in(proxy_dir), self.image_shape)
        if not self.proxy:
            raise DataError(
                f"task '{self.name}' has no proxy data of its own; give a folder of images with "
                "--proxy-dir"
            )
        return read_images(find_proxy(self.proxy, data_dir), self.image_shape)

    @abstractmethod
    def preprocess(self, images: Tensor) -> Tensor:
        """Stored images (uint8, N×C×h×w) to the networks' input (float32, normalised)."""

    @abstractmethod
    def make_teacher(self) -> nn.Module:
        """An untrained teacher."""

    @abstractmethod
    def make_student(self) -> nn.Module:
        """An untrained student."""
