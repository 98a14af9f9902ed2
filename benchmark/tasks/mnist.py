"""MNIST at 32×32, the first task of DAFL and RDSKD."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from benchmark.tasks.base import Task, TeacherRecipe
from benchmark.tasks.budgets import DIGIT_SMOKE
from benchmark.tasks.data.base import Dataset
from benchmark.tasks.data.mnist import read_mnist
from benchmark.tasks.models.lenet import lenet5, lenet5_half
from methods.base.problem import Normalization
from methods.settings.budget import Budget


class MNIST(Task):
    """LeNet-5 (61,706 parameters) teaches LeNet-5-Half (15,738)."""

    name = "mnist"
    title = "MNIST, 32×32"
    family = "mnist"
    pair = "LeNet-5 → LeNet-5-Half"
    image_shape = (1, 32, 32)
    num_classes = 10
    class_text = "digits"
    normalization = Normalization((0.1307,), (0.3081,))
    proxy = "usps"
    teacher_recipe = TeacherRecipe(epochs=12, batch=256, learning_rate=2e-3)
    budgets = {
        "smoke": DIGIT_SMOKE,
        "cpu": Budget(
            name="cpu",
            synthesis_steps=400,
            synthesis_batch=128,
            epoch_steps=20,
            images=20480,
            validation_images=2048,
            inversion_images=8192,
            inversion_steps=100,
            student_steps=4000,
            student_batch=256,
            student_optimizer="adam",
            student_lr=4e-3,
            evaluations=10,
        ),
        "gpu": Budget(
            name="gpu",
            synthesis_steps=2400,
            synthesis_batch=512,
            epoch_steps=120,
            images=122880,
            validation_images=5120,
            inversion_images=24576,
            inversion_steps=1000,
            student_steps=24000,
            student_batch=512,
            student_optimizer="adam",
            student_lr=4e-3,
            evaluations=10,
        ),
        # RDSKD's schedule: 20 × 120 generator steps, 1000 × 120 student steps on fresh images.
        "paper": Budget(
            name="paper",
            schedule="RDSKD",
            synthesis_steps=2400,
            synthesis_batch=512,
            epoch_steps=120,
            images=0,
            validation_images=5120,
            inversion_images=24000,
            inversion_steps=1500,
            student_steps=120000,
            student_batch=512,
            student_optimizer="adam",
            student_lr=2e-3,
            student_schedule="constant",
            evaluations=100,
        ),
    }

    def load(self, data_dir: Path | None) -> Dataset:
        return read_mnist(data_dir)

    def make_teacher(self) -> nn.Module:
        return lenet5(self.num_classes)

    def make_student(self) -> nn.Module:
        return lenet5_half(self.num_classes)
