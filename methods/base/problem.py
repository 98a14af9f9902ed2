"""What a method is given: the teacher, a student factory, and only the data that it declared."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from methods.base.counting import watch
from methods.base.teacher import Teacher


class Access(enum.Flag):
    """What a method may see beyond the teacher. No flag at all means data-free."""

    METADATA = enum.auto()
    PROXY_IMAGES = enum.auto()
    TRAIN_IMAGES = enum.auto()
    TRAIN_LABELS = enum.auto()
    CLASS_TEXT = enum.auto()

    def describe(self) -> str:
        """The name of this access class in tables."""
        names = [flag.name.lower().replace("_", " ") for flag in self if flag.name]
        return " + ".join(names) or "data-free"


DATA_FREE = Access(0)


class AccessError(RuntimeError):
    """A method reached for data it did not declare."""


@dataclass(frozen=True)
class Normalization:
    """Per-channel mean and standard deviation of the teacher's input, in [0, 1] pixel units."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def _column(self, values: tuple[float, ...], like: Tensor) -> Tensor:
        # Made on the device: a recorded step could not repeat a copy from the host.
        return torch.stack([like.new_full((), value) for value in values]).view(1, -1, 1, 1)

    def normalize(self, pixels: Tensor) -> Tensor:
        """Map pixels in [0, 1], B×C×H×W, to the teacher's input space."""
        return (pixels - self._column(self.mean, pixels)) / self._column(self.std, pixels)

    def denormalize(self, images: Tensor) -> Tensor:
        """Map the teacher's input space to pixels; synthetic ones may lie outside [0, 1]."""
        return images * self._column(self.std, images) + self._column(self.mean, images)


class Problem:
    """What a method may see. Asking for data that it did not declare raises `AccessError`.

    Args:
        teacher: frozen network.
        make_student: builds the student; its initialisation depends on the seed, not on the method.
            The steps and images of every student are counted in the teacher's ledger.
        image_shape: (C, H, W) of the teacher's input.
        num_classes: K.
        normalization: that of the teacher's input.
        task_type: what the logits are.
        access: what the method declared.
        method: the method's name, for messages.
        granted: the data by flag; entries that the method did not declare are dropped.
    """

    def __init__(
        self,
        *,
        teacher: Teacher,
        make_student: Callable[[], nn.Module],
        image_shape: tuple[int, int, int],
        num_classes: int,
        normalization: Normalization,
        task_type: Literal["classification", "segmentation"] = "classification",
        access: Access = DATA_FREE,
        method: str = "method",
        granted: Mapping[Access, Any] | None = None,
    ) -> None:
        self.teacher = teacher
        self._make_student = make_student
        self.image_shape = image_shape
        self.num_classes = num_classes
        self.normalization = normalization
        self.task_type = task_type
        self.access = access
        self._method = method
        self._granted = {flag: data for flag, data in (granted or {}).items() if flag in access}

    def make_student(self) -> nn.Module:
        """A student at its initialisation, whose steps and images are counted."""
        return watch(self._make_student(), self.teacher.ledger)

    @property
    def images_given(self) -> int:
        """How many real images the method was given."""
        kinds = (Access.TRAIN_IMAGES, Access.PROXY_IMAGES)
        return sum(len(self._granted[kind]) for kind in kinds if kind in self._granted)

    def has(self, flag: Access) -> bool:
        """Whether the method was given the data of a flag, for `Method.supports`."""
        return flag in self._granted

    def _get(self, flag: Access, what: str) -> Any:
        if flag not in self.access:
            raise AccessError(
                f"method '{self._method}' asked for {what} but does not declare "
                f"Access.{flag.name}; add it to the class's `access` (the table will say so)"
            )
        if flag not in self._granted:
            raise AccessError(
                f"method '{self._method}' needs {what}, which this task does not have"
            )
        return self._granted[flag]

    @property
    def train_images(self) -> Tensor:
        """Real training images, N×C×H×W, normalised. Needs ``Access.TRAIN_IMAGES``."""
        images: Tensor = self._get(Access.TRAIN_IMAGES, "the training images")
        return images

    @property
    def train_labels(self) -> Tensor:
        """Labels of `train_images`, N. Needs ``Access.TRAIN_LABELS``."""
        labels: Tensor = self._get(Access.TRAIN_LABELS, "the training labels")
        return labels

    @property
    def proxy_images(self) -> Tensor:
        """Unlabelled images of another dataset, normalised. Needs ``Access.PROXY_IMAGES``."""
        images: Tensor = self._get(Access.PROXY_IMAGES, "the proxy images")
        return images

    @property
    def metadata(self) -> Any:
        """Activation records shipped with the teacher. Needs ``Access.METADATA``."""
        return self._get(Access.METADATA, "the teacher's metadata")

    @property
    def class_text(self) -> Tensor:
        """Embeddings of the classes' names by a text model, K×D. Needs ``Access.CLASS_TEXT``."""
        embeddings: Tensor = self._get(Access.CLASS_TEXT, "the embeddings of the class names")
        return embeddings
