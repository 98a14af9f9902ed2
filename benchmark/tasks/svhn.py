"""SVHN, the second task of RDSKD."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from benchmark.tasks.base import Task, TeacherRecipe
from benchmark.tasks.budgets import CPU_SAMPLE, GPU, RDSKD_SCHEDULE, SMOKE
from benchmark.tasks.data.base import Dataset
from benchmark.tasks.data.svhn import read_svhn
from benchmark.tasks.models.wide_resnet import wide_resnet
from methods.base.problem import Normalization

# House numbers are not mirrored, and RDSKD trains its teacher without augmentation.
PAPER_RECIPE = TeacherRecipe(
    name="paper",
    epochs=100,
    batch=128,
    learning_rate=0.05,
    optimizer="sgd",
    momentum=0.9,
    weight_decay=5e-4,
    mixed_precision=True,
)

CPU_RECIPE = PAPER_RECIPE.model_copy(update={"name": "cpu", "epochs": 4, "schedule": "one-cycle"})


class SVHN(Task):
    """WRN-40-2 teaches WRN-16-1; the ``extra`` images are not used."""

    name = "svhn"
    title = "SVHN, 32×32"
    family = "svhn"
    proxy = "tiny-imagenet-32"
    pair = "WRN-40-2 → WRN-16-1"
    image_shape = (3, 32, 32)
    num_classes = 10
    class_text = "digits"
    normalization = Normalization((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970))
    teacher_recipe = CPU_RECIPE
    teacher_recipes = {
        "smoke": CPU_RECIPE.model_copy(update={"name": "smoke", "epochs": 1, "images": 512}),
        "gpu": PAPER_RECIPE,
        "paper": PAPER_RECIPE,
    }
    budgets = {"smoke": SMOKE, "cpu": CPU_SAMPLE, "gpu": GPU, "paper": RDSKD_SCHEDULE}

    def load(self, data_dir: Path | None) -> Dataset:
        return read_svhn(data_dir)

    def make_teacher(self) -> nn.Module:
        return wide_resnet(40, 2, self.num_classes)

    def make_student(self) -> nn.Module:
        return wide_resnet(16, 1, self.num_classes)
