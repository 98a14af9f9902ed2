"""PASCAL VOC 2012: a large torchvision teacher and a U-Net, two unlike architectures."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from benchmark.tasks.base import Task
from benchmark.tasks.data.base import Dataset
from benchmark.tasks.data.voc import CLASSES, read_voc, voc_palette
from benchmark.tasks.models.unet import UNet
from benchmark.tasks.segmentation_schedules import (
    CPU_RECIPE,
    GPU,
    PAPER,
    PAPER_RECIPE,
    SMOKE,
    SMOKE_RECIPE,
)
from methods.base.problem import Normalization


class VOC2012(Task):
    """torchvision's DeepLabV3 on ResNet-101 teaches a U-Net of half the usual width.

    Middle squares of 256 pixels, twenty classes and background; void pixels count nowhere. The
    challenge scores whole images, so these numbers compare with each other only. From scratch the
    1,464 images teach little; `voc2012-imagenet` starts the teacher's backbone from ImageNet.
    """

    name = "voc2012"
    title = "PASCAL VOC 2012, 256×256"
    family = "voc2012"
    pair = "DeepLabV3 ResNet-101 OS 8 → U-Net-32"
    image_shape = (3, 256, 256)
    num_classes = len(CLASSES)
    task_type = "segmentation"
    classes = CLASSES
    palette = voc_palette()
    normalization = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    teacher_recipe = CPU_RECIPE.model_copy(update={"epochs": 1})
    teacher_recipes = {"smoke": SMOKE_RECIPE, "gpu": PAPER_RECIPE, "paper": PAPER_RECIPE}
    # A CPU shows that these networks train, and no more.
    budgets = {
        "smoke": SMOKE.model_copy(update={"images": 4, "validation_images": 2}),
        "cpu": SMOKE.model_copy(
            update={"name": "cpu", "synthesis_steps": 10, "images": 32, "student_steps": 10}
        ),
        "gpu": GPU,
        "paper": PAPER,
    }

    def load(self, data_dir: Path | None) -> Dataset:
        return read_voc(data_dir, self.image_shape[1])

    def make_teacher(self) -> nn.Module:
        from benchmark.tasks.models.deeplab import torchvision_deeplab_resnet101

        return torchvision_deeplab_resnet101(self.num_classes)

    def make_student(self) -> nn.Module:
        return UNet(self.num_classes, width=32, depth=4)


class VOC2012ImageNet(VOC2012):
    """PASCAL VOC 2012 with a teacher whose backbone starts from ImageNet; needs a network once."""

    name = "voc2012-imagenet"
    title = "PASCAL VOC 2012, 256×256, ImageNet-pretrained teacher"
    teacher_recipe = VOC2012.teacher_recipe.model_copy(update={"pretrained": "imagenet"})
    teacher_recipes = {
        preset: recipe.model_copy(update={"pretrained": "imagenet"})
        for preset, recipe in VOC2012.teacher_recipes.items()
    }
