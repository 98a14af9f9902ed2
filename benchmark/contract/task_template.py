"""The file that ``dfkd new-task`` writes: a task that runs as it is."""

from __future__ import annotations

TEMPLATE = '''"""{title}: one sentence on the data and the pair."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from benchmark.tasks.data.base import Dataset, Split
from benchmark.tasks.base import Task, TeacherRecipe
from methods.base.problem import Normalization
from methods.settings.budget import Budget


class Network(nn.Module):
    """Two convolutions and a linear layer, with the three names that methods expect of timm."""

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.features = nn.Sequential(
            nn.Conv2d(1, width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(2 * width * 16, num_classes)

    def forward_features(self, images: Tensor) -> Tensor:
        """B×1×16×16 to the last feature map, B×2w×4×4."""
        return self.features(images)

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """A feature map to logits, B×K, or to what the classifier sees with ``pre_logits``."""
        flat = features.flatten(1)
        return flat if pre_logits else self.classifier(flat)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, B×K."""
        return self.forward_head(self.forward_features(images))


class {cls}(Task):
    """Drawn stripes: the class is their direction."""

    name = "{name}"
    title = "{title}, 16×16"
    version = 1  # raise it when data, networks or recipe change
    family = ""  # "mnist", "cifar10", ...: the family whose published settings methods use here
    pair = "Network-16 → Network-8"
    image_shape = (1, 16, 16)
    num_classes = 4
    normalization = Normalization((0.47,), (0.3,))
    teacher_recipe = TeacherRecipe(epochs=5, batch=64, learning_rate=3e-3)
    budgets = {{
        "smoke": Budget(
            name="smoke",
            synthesis_steps=4,
            synthesis_batch=16,
            epoch_steps=2,
            images=64,
            validation_images=16,
            inversion_images=64,
            inversion_steps=4,
            student_steps=8,
            student_batch=16,
            student_optimizer="adam",
            student_lr=2e-3,
            evaluations=2,
        ),
        "cpu": Budget(
            name="cpu",
            synthesis_steps=100,
            synthesis_batch=128,
            epoch_steps=20,
            images=4096,
            validation_images=512,
            inversion_images=1024,
            inversion_steps=60,
            student_steps=600,
            student_batch=128,
            student_optimizer="adam",
            student_lr=4e-3,
            evaluations=4,
        ),
    }}

    def load(self, data_dir: Path | None) -> Dataset:
        """Replace this by reading your files: uint8, N×C×h×w, and labels 0 to K−1, N.

        Say so with `benchmark.tasks.data.base.missing` when they are not there.
        """
        stream = torch.Generator().manual_seed(0)
        return Dataset(train=self._draw(1024, stream), test=self._draw(256, stream))

    def _draw(self, count: int, stream: torch.Generator) -> Split:
        labels = torch.arange(count) % self.num_classes
        row, column = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
        directions = torch.stack([row, column, row + column, row - column])
        shift = torch.randint(0, 8, (count, 1, 1), generator=stream)
        stripes = (directions[labels] + shift) % 8 < 4
        noise = torch.randint(0, 100, (count, 16, 16), generator=stream)
        images = (140 * stripes + noise)[:, None]
        return Split(images.to(torch.uint8), labels)

    def make_teacher(self) -> nn.Module:
        """An untrained teacher."""
        return Network(16, self.num_classes)

    def make_student(self) -> nn.Module:
        """An untrained student."""
        return Network(8, self.num_classes)
'''
