"""CamVid: the task of the segmentation form of DeGAN, and one for a CPU."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from benchmark.tasks.base import Task
from benchmark.tasks.data import camvid
from benchmark.tasks.data.base import Dataset
from benchmark.tasks.segmentation_schedules import (
    CPU_RECIPE,
    GPU,
    PAPER,
    PAPER_RECIPE,
    SMOKE,
    SMOKE_RECIPE,
)
from methods.base.problem import Normalization
from methods.settings.budget import Budget


class CamVid(Task):
    """DeepLabV3 on ResNet-50 (output stride 8) teaches one on MobileNetV2 (16), as in the paper.

    Middle squares of 128 pixels, eleven classes; void pixels count nowhere. Backbones start from
    scratch; `camvid-imagenet` is the same with an ImageNet-pretrained teacher. The paper names no
    optimiser for the student; the budget `paper` has Adam with the paper's rates, the released code
    SGD (momentum 0.9, rate 0.05 or 0.1, a tenth after every 100 of 300 epochs).
    """

    name = "camvid"
    title = "CamVid, 128×128"
    family = "camvid"
    pair = "DeepLabV3 ResNet-50 OS 8 → MobileNetV2 OS 16"
    image_shape = (3, 128, 128)
    num_classes = len(camvid.CLASSES)
    task_type = "segmentation"
    classes = camvid.CLASSES
    palette = camvid.PALETTE
    normalization = Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    proxy = "cityscapes"
    teacher_recipe = CPU_RECIPE.model_copy(update={"epochs": 4})
    teacher_recipes = {"smoke": SMOKE_RECIPE, "gpu": PAPER_RECIPE, "paper": PAPER_RECIPE}
    # A CPU shows that these networks train, and no more.
    budgets = {
        "smoke": SMOKE,
        "cpu": SMOKE.model_copy(
            update={
                "name": "cpu",
                "synthesis_steps": 40,
                "synthesis_batch": 16,
                "epoch_steps": 10,
                "images": 256,
                "validation_images": 32,
                "inversion_images": 32,
                "inversion_steps": 20,
                "student_steps": 60,
                "student_batch": 16,
                "evaluations": 2,
            }
        ),
        "gpu": GPU,
        "paper": PAPER,
    }

    def load(self, data_dir: Path | None) -> Dataset:
        return camvid.read_camvid(data_dir, self.image_shape[1])

    # timm takes a second to import, which no other task should wait for. Dropout is for networks
    # that learn from labels, which are few.

    def make_teacher(self) -> nn.Module:
        from benchmark.tasks.models.deeplab import timm_deeplab

        return timm_deeplab("resnet50", self.num_classes, 8, dropout=0.5)

    def make_student(self) -> nn.Module:
        from benchmark.tasks.models.deeplab import timm_deeplab

        return timm_deeplab("mobilenetv2_100", self.num_classes, 16)


class CamVidImageNet(CamVid):
    """CamVid with a teacher whose backbone starts from ImageNet; needs a network once."""

    name = "camvid-imagenet"
    title = "CamVid, 128×128, ImageNet-pretrained teacher"
    teacher_recipe = CamVid.teacher_recipe.model_copy(update={"pretrained": "imagenet"})
    teacher_recipes = {
        preset: recipe.model_copy(update={"pretrained": "imagenet"})
        for preset, recipe in CamVid.teacher_recipes.items()
    }


class CamVidWithVoid(CamVid):
    """CamVid with void as the twelfth class, as the paper's text (not its code) counts."""

    name = "camvid-void"
    title = "CamVid, 128×128, void as a class"
    num_classes = len(camvid.CLASSES) + 1
    classes = (*camvid.CLASSES, "void")
    palette = (*camvid.PALETTE, (0, 0, 0))

    def load(self, data_dir: Path | None) -> Dataset:
        return camvid.read_camvid(data_dir, self.image_shape[1], void_is_a_class=True)


class CamVidLite(CamVid):
    """CamVid at 64×64 with small networks, for a CPU."""

    name = "camvid-lite"
    title = "CamVid, 64×64"
    pair = "DeepLabV3 ResNet-18 OS 16 → MobileNetV2-0.5 OS 16"
    image_shape = (3, 64, 64)
    teacher_recipe = CPU_RECIPE
    teacher_recipes = {"smoke": SMOKE_RECIPE} | {
        preset: PAPER_RECIPE.model_copy(update={"name": "gpu"}) for preset in ("gpu", "paper")
    }
    budgets = {
        "smoke": SMOKE,
        "cpu": Budget(
            name="cpu",
            synthesis_steps=300,
            synthesis_batch=16,
            epoch_steps=25,
            images=1024,
            validation_images=64,
            inversion_images=128,
            inversion_steps=60,
            student_steps=800,
            student_batch=16,
            student_optimizer="adam",
            student_lr=2e-3,
            evaluations=4,
        ),
        "gpu": GPU,
        "paper": PAPER,
    }

    def make_teacher(self) -> nn.Module:
        from benchmark.tasks.models.deeplab import timm_deeplab

        return timm_deeplab("resnet18", self.num_classes, 16, width=128, dropout=0.5)

    def make_student(self) -> nn.Module:
        from benchmark.tasks.models.deeplab import timm_deeplab

        return timm_deeplab("mobilenetv2_050", self.num_classes, 16, width=64)
