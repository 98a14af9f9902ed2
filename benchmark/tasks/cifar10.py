"""CIFAR-10: the pair of DAFL and RDSKD, the field's harder pair, and one for a CPU."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from benchmark.tasks.base import Task, TeacherRecipe
from benchmark.tasks.budgets import CPU_SAMPLE, GPU, RDSKD_SCHEDULE, SMOKE
from benchmark.tasks.data.base import Dataset
from benchmark.tasks.data.cifar import read_cifar10
from benchmark.tasks.models.wide_resnet import wide_resnet
from methods.base.problem import Normalization
from methods.settings.budget import PRESETS

RESNETS_SAMPLE = CPU_SAMPLE.model_copy(update={"synthesis_steps": 40, "student_steps": 80})

# A tenth of the rate after epoch 800. DeepInversion makes 10,240 images in 1000 steps each.
PAPER = RDSKD_SCHEDULE.model_copy(update={"student_schedule": "step"})

# RDSKD has 500 epochs; this schedule is the common one and ends as high in fewer.
PAPER_RECIPE = TeacherRecipe(
    name="paper",
    epochs=200,
    batch=128,
    learning_rate=0.1,
    optimizer="sgd",
    momentum=0.9,
    weight_decay=5e-4,
    augmentation="crop-flip",
    mixed_precision=True,
)

# A high rate that warms up and then falls to zero makes the most of few epochs.
CPU_RECIPE = PAPER_RECIPE.model_copy(
    update={"name": "cpu", "epochs": 2, "schedule": "one-cycle", "learning_rate": 0.1}
)

# CPU_RECIPE with more epochs, for a GPU.
GPU_RECIPE = PAPER_RECIPE.model_copy(
    update={
        "name": "gpu",
        "epochs": 30,
        "batch": 512,
        "schedule": "one-cycle",
        "learning_rate": 0.4,
    }
)

# The smoke budget needs any teacher, and soon.
SMOKE_RECIPE = CPU_RECIPE.model_copy(update={"name": "smoke", "epochs": 1, "images": 512})


class CIFAR10(Task):
    """ResNet-34 teaches ResNet-18, as in DAFL, RDSKD and most papers since.

    Their weights start by timm's rule, not by torch's default as in the released codes.
    """

    name = "cifar10"
    title = "CIFAR-10, 32×32"
    family = "cifar10"
    proxy = "tiny-imagenet-32"
    pair = "ResNet-34 → ResNet-18"
    image_shape = (3, 32, 32)
    num_classes = 10
    class_text = "cifar10"
    normalization = Normalization((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
    teacher_recipe = CPU_RECIPE
    teacher_recipes = {"smoke": SMOKE_RECIPE, "gpu": GPU_RECIPE, "paper": PAPER_RECIPE}
    critic_recipe = TeacherRecipe(
        epochs=15,
        batch=128,
        learning_rate=5e-3,
        schedule="one-cycle",
        augmentation="crop-flip",
        mixed_precision=True,
        seed=1,
    )
    budgets = {"smoke": SMOKE, "cpu": RESNETS_SAMPLE, "gpu": GPU, "paper": PAPER}

    def load(self, data_dir: Path | None) -> Dataset:
        return read_cifar10(data_dir)

    # timm takes a second to import, which no other task should wait for.

    def make_teacher(self) -> nn.Module:
        from benchmark.tasks.models.resnet import resnet34

        return resnet34(self.num_classes)

    def make_student(self) -> nn.Module:
        from benchmark.tasks.models.resnet import resnet18

        return resnet18(self.num_classes)


class CIFAR10WideResNets(CIFAR10):
    """WRN-40-2 teaches WRN-16-1, on which methods differ far more than on the ResNets."""

    name = "cifar10-wrn"
    pair = "WRN-40-2 → WRN-16-1"
    teacher_recipe = CPU_RECIPE.model_copy(update={"epochs": 8})
    budgets = {
        "smoke": SMOKE,
        "cpu": CPU_SAMPLE,
        "gpu": GPU,
        "paper": PAPER,
    }

    def make_teacher(self) -> nn.Module:
        return wide_resnet(40, 2, self.num_classes)

    def make_student(self) -> nn.Module:
        return wide_resnet(16, 1, self.num_classes)


class CIFAR10Lite(CIFAR10):
    """WRN-16-2 teaches WRN-16-1: a colour task for a CPU."""

    name = "cifar10-lite"
    pair = "WRN-16-2 → WRN-16-1"
    teacher_recipe = CPU_RECIPE.model_copy(
        update={"epochs": 20, "batch": 256, "learning_rate": 0.2}
    )
    budgets = {
        "smoke": SMOKE,
        "cpu": PRESETS["cpu"],
        "gpu": GPU,
        "paper": PAPER,
    }

    def make_teacher(self) -> nn.Module:
        return wide_resnet(16, 2, self.num_classes)

    def make_student(self) -> nn.Module:
        return wide_resnet(16, 1, self.num_classes)
