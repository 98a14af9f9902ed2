"""SVHN, the second task of RDSKD."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from benchmark.data.base import Dataset
from benchmark.data.svhn import read_svhn
from benchmark.models.wide_resnet import wide_resnet
from benchmark.tasks.base import Task, TeacherRecipe
from methods.base import Normalization
from methods.budget import Budget

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


class SVHN(Task):
    """WRN-40-2 teaches WRN-16-1; the ``extra`` images are not used."""

    name = "svhn"
    title = "SVHN, 32×32"
    family = "svhn"
    pair = "WRN-40-2 → WRN-16-1"
    image_shape = (3, 32, 32)
    num_classes = 10
    normalization = Normalization((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970))
    teacher_recipe = PAPER_RECIPE.model_copy(
        update={"name": "cpu", "epochs": 4, "schedule": "one-cycle"}
    )
    teacher_recipes = {"gpu": PAPER_RECIPE, "paper": PAPER_RECIPE}
    budgets = {
        "smoke": Budget(
            name="smoke",
            synthesis_steps=2,
            synthesis_batch=8,
            epoch_steps=2,
            images=32,
            validation_images=8,
            inversion_images=16,
            inversion_steps=2,
            student_steps=4,
            student_batch=8,
            student_optimizer="adam",
            student_lr=2e-3,
            evaluations=1,
        ),
        # A large teacher on a CPU: enough to see a method work, not to rank methods.
        "cpu": Budget(
            name="cpu",
            synthesis_steps=80,
            synthesis_batch=64,
            epoch_steps=10,
            images=2048,
            validation_images=256,
            inversion_images=128,
            inversion_steps=40,
            student_steps=400,
            student_batch=64,
            student_optimizer="adam",
            student_lr=2e-3,
            evaluations=2,
        ),
        "gpu": Budget(
            name="gpu",
            synthesis_steps=2400,
            synthesis_batch=512,
            epoch_steps=120,
            images=122880,
            validation_images=5120,
            inversion_images=10240,
            inversion_steps=1000,
            student_steps=48000,
            student_batch=256,
            student_optimizer="adam",
            student_lr=2e-3,
            evaluations=10,
        ),
        # RDSKD's schedule: 20 × 120 generator steps, 1000 × 120 student steps on fresh images.
        "paper": Budget(
            name="paper",
            synthesis_steps=2400,
            synthesis_batch=512,
            epoch_steps=120,
            images=0,
            validation_images=5120,
            inversion_images=10240,
            inversion_steps=1000,
            student_steps=120000,
            student_batch=512,
            student_optimizer="adam",
            student_lr=2e-3,
            student_schedule="constant",
            evaluations=100,
        ),
    }

    def load(self, data_dir: Path | None) -> Dataset:
        return read_svhn(data_dir)

    def preprocess(self, images: Tensor) -> Tensor:
        return self.normalization.normalize(images.float() / 255)

    def make_teacher(self) -> nn.Module:
        return wide_resnet(40, 2, self.num_classes)

    def make_student(self) -> nn.Module:
        return wide_resnet(16, 1, self.num_classes)
