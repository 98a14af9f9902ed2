"""The embedded default task: scikit-learn's digits, which take seconds on any machine."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from benchmark.tasks.base import Task, TeacherRecipe
from benchmark.tasks.budgets import DIGIT_SMOKE
from benchmark.tasks.data.base import Dataset
from benchmark.tasks.data.digits import read_digits
from benchmark.tasks.models.small_cnn import SmallCNN
from methods.base.problem import Normalization
from methods.settings.budget import Budget


class Digits(Task):
    """Digits doubled to 16×16; a CNN with BatchNorm teaches one of half its width."""

    name = "digits"
    title = "scikit-learn digits, 16×16"
    family = "mnist"
    pair = "SmallCNN-16 → SmallCNN-8"
    image_shape = (1, 16, 16)
    num_classes = 10
    class_text = "digits"
    normalization = Normalization((0.3053,), (0.3189,))
    proxy = "usps"
    teacher_recipe = TeacherRecipe(epochs=30, batch=64, learning_rate=3e-3)
    critic_recipe = TeacherRecipe(
        epochs=40, batch=64, learning_rate=5e-3, schedule="one-cycle", seed=1
    )
    budgets = {
        "smoke": DIGIT_SMOKE,
        "cpu": Budget(
            name="cpu",
            synthesis_steps=100,
            synthesis_batch=128,
            epoch_steps=20,
            images=4096,
            validation_images=512,
            inversion_images=2048,
            inversion_steps=60,
            student_steps=800,
            student_batch=128,
            student_optimizer="adam",
            student_lr=4e-3,
            evaluations=8,
        ),
    }

    def load(self, data_dir: Path | None) -> Dataset:
        return read_digits()

    def make_teacher(self) -> nn.Module:
        return SmallCNN(self.num_classes, self.image_shape, width=16)

    def make_student(self) -> nn.Module:
        return SmallCNN(self.num_classes, self.image_shape, width=8)
