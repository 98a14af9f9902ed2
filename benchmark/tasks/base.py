"""What a task is: data, a teacher-student pair, the teacher's recipe and the budgets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from benchmark.data.base import Dataset
from methods.base import Normalization
from methods.budget import Budget


class TeacherRecipe(BaseModel):
    """How the teacher is trained; part of its identity."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(ge=1)
    batch: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    optimizer: Literal["adam"] = "adam"
    schedule: Literal["cosine"] = "cosine"
    augmentation: Literal["none"] = "none"
    seed: int = 0


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
        teacher_recipe: how the teacher is trained.
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
    teacher_recipe: ClassVar[TeacherRecipe]
    budgets: ClassVar[Mapping[str, Budget]]

    @abstractmethod
    def load(self, data_dir: Path | None) -> Dataset:
        """Read the dataset.

        Raises:
            DataError: when it is missing or damaged.
        """

    @abstractmethod
    def preprocess(self, images: Tensor) -> Tensor:
        """Stored images (uint8, N×C×h×w) to the networks' input (float32, normalised)."""

    @abstractmethod
    def make_teacher(self) -> nn.Module:
        """An untrained teacher."""

    @abstractmethod
    def make_student(self) -> nn.Module:
        """An untrained student."""
