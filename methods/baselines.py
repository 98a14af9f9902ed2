"""Baselines that every data-free table needs: ceilings and controls.

Ceilings see real data: the student trained on labels, and ordinary KD on the training images.
Alternative data are real images of another dataset: they show what proxy images are worth alone.
Controls see no data: a method that does not beat noise and an untrained generator has learnt no
more from its teacher than random images show.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from methods.base.drawn_images import samples_from
from methods.base.method import Method
from methods.base.objective import Objective, Supervised
from methods.base.problem import Access, Problem
from methods.base.run import Run
from methods.base.samples import SampleSource
from methods.losses.predictions import median_frequency_weights
from methods.settings.params import PER_PIXEL, MethodParams, param
from methods.synthesis.augmentation import Augmentation, augmented, unsuitable
from methods.synthesis.generator import GeneratorParams, build_generator, drawing_from
from methods.synthesis.real_images import bank_of_real_images, shuffled_proxies


def _temperature(default: float, source: str) -> float:
    value: float = param(
        default,
        "temperature τ of the student's KD loss",
        source=source,
        phase="distillation",
        tune="temperature",
        gt=0,
    )
    return value


def _augmentation() -> Augmentation:
    value: Augmentation = param(
        "none",
        "random changes of every image of every batch, which the teacher, if asked, sees too: pad, "
        "crop and mirror (crop-flip, for classification), or scale, crop and mirror "
        "(scale-crop-flip, for segmentation); what lies beyond an image is black",
        source="common practice of training on CIFAR, and of segmentation; none: ours",
        phase="distillation",
        added=True,
    )
    return value


class _Baseline(Method):
    """A ceiling or a control, which no paper proposes."""

    baseline = True


class _RealImages(_Baseline):
    """Learning from the training images, which may be changed at random in every batch.

    Since version 2 the images of the development split are not among them.
    """

    version = 2

    def supports(self, problem: Problem) -> str | None:
        return unsuitable(self.params.augmentation, problem)

    def student_samples(self, problem: Problem, samples: SampleSource, run: Run) -> SampleSource:
        return augmented(samples, self.params.augmentation, problem, run)


class StudentSupervised(_RealImages):
    """The student trained on the real images and labels, without a teacher."""

    name = "student-supervised"
    title = "Student, supervised"
    paper = "ceiling: labels, no teacher"
    access = Access.TRAIN_IMAGES | Access.TRAIN_LABELS

    class Params(MethodParams):
        """Hyper-parameters."""

        augmentation: Augmentation = _augmentation()
        class_balanced: bool = param(
            False,
            "weigh the cross-entropy of a pixel by the median frequency of the classes over that "
            "of its own (segmentation)",
            source="SegNet, Section 4; off: ours",
            phase="distillation",
            inert="a whole image has one label; classification refuses it",
            added=True,
        )

    def supports(self, problem: Problem) -> str | None:
        if self.params.class_balanced and problem.task_type != "segmentation":
            return f"class_balanced weighs the classes of pixels; this is {problem.task_type}"
        return super().supports(problem)

    def synthesize(self, problem: Problem, run: Run) -> SampleSource:
        return bank_of_real_images(problem.train_images, run, problem.train_labels)

    def objective(self, problem: Problem) -> Objective:
        if not self.params.class_balanced:
            return Supervised()
        weights = median_frequency_weights(problem.train_labels, problem.num_classes)
        return Supervised(weights.to(next(problem.teacher.network.parameters()).device))


class KDReal(_RealImages):
    """Ordinary knowledge distillation on the real training images, without labels."""

    name = "kd-real"
    title = "KD, real images"
    paper = "Hinton et al., 2015"
    access = Access.TRAIN_IMAGES

    class Params(MethodParams):
        """Hyper-parameters."""

        temperature: float = _temperature(4.0, "common practice (RepDistiller, AT)")
        augmentation: Augmentation = _augmentation()

    settings = PER_PIXEL

    def synthesize(self, problem: Problem, run: Run) -> SampleSource:
        return bank_of_real_images(problem.train_images, run)


class AlternativeData(_Baseline):
    """KD on the proxy images alone: real images, of another dataset."""

    name = "alternative-data"
    title = "Alternative data"
    paper = "control: KD on another dataset (DAFL, Table 1)"
    access = Access.PROXY_IMAGES

    class Params(MethodParams):
        """Hyper-parameters."""

        temperature: float = _temperature(10.0, "RDSKD, default")

    settings = PER_PIXEL

    def synthesize(self, problem: Problem, run: Run) -> SampleSource:
        return shuffled_proxies(problem, run)


class Noise(_Baseline):
    """KD on images of independent normal pixels."""

    name = "noise"
    title = "Noise"
    paper = "control: normal distribution (DAFL, Table 1)"

    class Params(MethodParams):
        """Hyper-parameters."""

        std: float = param(
            1.0,
            "standard deviation of a pixel",
            source="DAFL, Table 1: normal distribution",
            unit="normalised intensity",
            gt=0,
        )
        temperature: float = _temperature(10.0, "RDSKD, default")

    settings = PER_PIXEL

    def synthesize(self, problem: Problem, run: Run) -> SampleSource:
        def draw(count: int, stream: torch.Generator) -> Tensor:
            noise = torch.randn(count, *problem.image_shape, generator=stream)
            std: float = self.params.std
            return (noise * std).to(run.device)

        return samples_from(draw, run)


class UntrainedGenerator(_Baseline):
    """KD on the images of a generator before any training."""

    name = "untrained-generator"
    title = "Untrained generator"
    paper = "control: the DAFL/RDSKD generator at initialisation, with 100 latents on every task"

    class Params(GeneratorParams):
        """Hyper-parameters."""

        generator_mode: Literal["train", "eval"] = param(
            "train",
            "mode of the generator's BatchNorms while images are drawn; in eval mode an "
            "untrained generator's statistics are still those of a unit normal",
            source="DAFL, released code",
        )
        temperature: float = _temperature(10.0, "RDSKD, default")

    settings = PER_PIXEL

    def synthesize(self, problem: Problem, run: Run) -> SampleSource:
        generator = build_generator(self.params, problem, run)
        return samples_from(drawing_from(generator, self.params.generator_mode, run), run)
