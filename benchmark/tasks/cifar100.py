"""CIFAR-100: the pair of the field's newest tables."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from benchmark.tasks.cifar10 import CPU_RECIPE, CIFAR10WideResNets
from benchmark.tasks.data.base import Dataset
from benchmark.tasks.data.cifar import read_cifar100
from benchmark.tasks.models.wide_resnet import wide_resnet
from methods.base.problem import Normalization


class CIFAR100WideResNets(CIFAR10WideResNets):
    """WRN-40-2 teaches WRN-16-2.

    Budgets, recipes and proxy images are those of CIFAR-10; the recipe for minutes has twice the
    epochs, because every class has a tenth of the images.
    """

    name = "cifar100-wrn"
    title = "CIFAR-100, 32×32"
    family = "cifar100"
    pair = "WRN-40-2 → WRN-16-2"
    num_classes = 100
    normalization = Normalization((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761))
    teacher_recipe = CPU_RECIPE.model_copy(update={"epochs": 16})

    def load(self, data_dir: Path | None) -> Dataset:
        return read_cifar100(data_dir)

    def make_student(self) -> nn.Module:
        return wide_resnet(16, 2, self.num_classes)
