"""The embedded segmentation task: drawn street scenes, which take seconds on any machine."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from benchmark.tasks.base import Task, TeacherRecipe
from benchmark.tasks.data import scenes
from benchmark.tasks.data.base import Dataset
from benchmark.tasks.models.unet import UNet
from methods.base.problem import Normalization
from methods.settings.budget import Budget


class Scenes(Task):
    """Drawn scenes in nine of CamVid's classes, sky and road large, poles and signs rare.

    Its proxy data are scenes of another place: the same kinds of things in other colours and other
    numbers. A U-Net whose decoder ends at half size teaches a smaller one.
    """

    name = "scenes"
    title = "Drawn street scenes, 32×32"
    family = "camvid"
    pair = "U-Net-16 → U-Net-8"
    image_shape = (3, scenes.SIDE, scenes.SIDE)
    num_classes = len(scenes.CLASSES)
    task_type = "segmentation"
    classes = scenes.CLASSES
    palette = scenes.PALETTE
    normalization = Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    proxy = "drawn"
    teacher_recipe = TeacherRecipe(epochs=16, batch=20, learning_rate=1e-2, schedule="one-cycle")
    budgets = {
        "smoke": Budget(
            name="smoke",
            synthesis_steps=2,
            synthesis_batch=4,
            epoch_steps=2,
            images=16,
            validation_images=4,
            inversion_images=8,
            inversion_steps=2,
            student_steps=4,
            student_batch=4,
            student_optimizer="adam",
            student_lr=4e-3,
            evaluations=2,
        ),
        "cpu": Budget(
            name="cpu",
            synthesis_steps=150,
            synthesis_batch=16,
            epoch_steps=25,
            images=512,
            validation_images=64,
            inversion_images=128,
            inversion_steps=60,
            student_steps=400,
            student_batch=16,
            student_optimizer="adam",
            student_lr=4e-3,
            evaluations=4,
        ),
    }

    def load(self, data_dir: Path | None) -> Dataset:
        return scenes.read_scenes()

    def load_proxy(self, data_dir: Path | None, proxy_dir: Path | None) -> Tensor:
        """Drawn scenes of the country, or the images of a folder if one is given."""
        if proxy_dir is not None:
            return super().load_proxy(data_dir, proxy_dir)
        return scenes.draw_scenes(400, seed=2, place=scenes.COUNTRY).images

    def make_teacher(self) -> nn.Module:
        return UNet(self.num_classes, width=16, depth=3, output_stride=2)

    def make_student(self) -> nn.Module:
        return UNet(self.num_classes, width=8, depth=2, output_stride=2)
