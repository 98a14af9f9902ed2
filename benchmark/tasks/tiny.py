"""The contract suite's task: drawn 8×8 patterns, four classes, a teacher in a blink."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from benchmark.tasks.base import Task, TeacherRecipe
from benchmark.tasks.data.base import Dataset, Split
from benchmark.tasks.models.small_cnn import SmallCNN
from methods.base.problem import Normalization
from methods.settings.budget import Budget


class Tiny(Task):
    """A bright quadrant on a noisy ground; the class says which."""

    name = "tiny"
    title = "Drawn quadrants, 8×8 (for the contract suite)"
    family = "mnist"
    pair = "SmallCNN-4 → SmallCNN-2"
    image_shape = (1, 8, 8)
    num_classes = 4
    class_text = "quadrants"
    normalization = Normalization((0.4,), (0.25,))
    proxy = "drawn"
    teacher_recipe = TeacherRecipe(epochs=8, batch=32, learning_rate=1e-2)
    critic_recipe = TeacherRecipe(
        epochs=20, batch=32, learning_rate=5e-3, schedule="one-cycle", seed=1
    )
    budgets = {
        "smoke": Budget(
            name="smoke",
            synthesis_steps=5,
            synthesis_batch=8,
            epoch_steps=2,
            images=32,
            validation_images=8,
            inversion_images=32,
            inversion_steps=4,
            student_steps=6,
            student_batch=8,
            student_optimizer="adam",
            student_lr=2e-3,
            evaluations=3,
        ),
    }

    def load(self, data_dir: Path | None) -> Dataset:
        stream = torch.Generator().manual_seed(0)
        return Dataset(self._draw(256, stream), self._draw(64, stream))

    def _draw(self, count: int, stream: torch.Generator) -> Split:
        labels = torch.arange(count) % self.num_classes
        images = torch.randint(0, 140, (count, 1, 8, 8), generator=stream)
        for image, label in zip(images, labels.tolist(), strict=True):
            row, column = divmod(label, 2)
            image[0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 110
        return Split(images.to(torch.uint8), labels)

    def load_proxy(self, data_dir: Path | None, proxy_dir: Path | None) -> Tensor:
        """Half-bright images, which no class has, or the images of a folder if one is given."""
        if proxy_dir is not None:
            return super().load_proxy(data_dir, proxy_dir)
        stream = torch.Generator().manual_seed(1)
        images = torch.randint(0, 140, (64, *self.image_shape), generator=stream)
        images[:32, :, :4] += 110
        images[32:, :, :, :4] += 110
        return images.to(torch.uint8)

    def make_teacher(self) -> nn.Module:
        return SmallCNN(self.num_classes, self.image_shape, width=4)

    def make_student(self) -> nn.Module:
        return SmallCNN(self.num_classes, self.image_shape, width=2)
