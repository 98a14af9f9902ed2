"""Metadata: images whose activations in the teacher look like those of the training data.

Lopes, Fenu and Starner, "Data-Free Knowledge Distillation for Deep Neural Networks", 2017.

Algorithm: the teacher comes with records of its activations by class
(`methods.synthesis.activation_records`). For every image (1) draw a class and, from the class's
records, activations a*; (2) start from noise and change the pixels by Adam so that the teacher's
activations come close to a*. The student then learns from the teacher on these images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Literal

import torch
from torch import Tensor

from methods.base.method import Method
from methods.base.problem import Access, Problem
from methods.base.run import Run
from methods.base.samples import ImageBank, SampleSource
from methods.networks.dropout_filters import DropoutFilters, dropout_layers
from methods.networks.pre_activations import listening
from methods.settings.params import MethodParams, param
from methods.settings.schedule import PaperSchedule
from methods.synthesis.activation_records import TEMPERATURE
from methods.synthesis.pixels import PixelOptimization, Terms
from methods.synthesis.reconstructions import (
    AllLayers,
    Reconstruction,
    Sampling,
    Spectral,
    TopLayer,
)

Variant = Literal["top-layer", "all-layers", "all-layers-dropout", "spectral-all", "spectral-pairs"]

PART = 1 << 25
"""Activations, of all layers and images, that a CPU computes at a time to stay in its cache."""

PHOTOGRAPHS = {"initial_mean": 0.44, "initial_std": 0.29, "pixel_lr": 0.05}
"""The released code's initial pixels and learning rate on CelebA."""


class MetadataParams(MethodParams):
    """Hyper-parameters."""

    retired = {"dropout": 0.5}

    variant: Variant = param(
        "all-layers",
        "which activations are reconstructed: the logits, every layer's, every layer's while the "
        "teacher's dropout layers silence a fixed part of every image's units, or spectral "
        "coefficients of all layers jointly or of consecutive pairs",
        source="paper, Section 3",
    )
    sampling: Sampling = param(
        "cholesky",
        "how activations are drawn: with the recorded covariance, or with its square as the "
        "released code does by multiplying noise with the covariance matrix; layers of more than "
        "256 units are drawn unit by unit, which the released code does only where a covariance "
        "is not positive definite",
        source="paper, Section 3; released code",
    )
    pixel_lr: float = param(
        0.07,
        "Adam learning rate of the pixels",
        source="released code, top layer on MNIST; 0.05 on CelebA",
        unit="intensity in [0, 1]",
        tune="rate",
        gt=0,
    )
    batch: int = param(
        512,
        "images optimised at a time; they do not influence each other",
        source="released code: 64",
        ge=1,
    )
    initial_mean: float = param(
        0.15,
        "mean of the pixels an image starts from",
        source="released code, MNIST",
        unit="intensity in [0, 1]",
        ge=0,
        le=1,
    )
    initial_std: float = param(
        0.1,
        "their standard deviation",
        source="released code, MNIST",
        unit="intensity in [0, 1]",
        gt=0,
    )
    clamp: bool = param(
        True,
        "keep the pixels in [0, 1], where images lie",
        source="released code, in one revision and with a blur before it",
    )
    temperature: float = param(
        8.0,
        "temperature τ of the student's KD loss",
        source="released code",
        phase="distillation",
        tune="temperature",
        gt=0,
    )


class Metadata(Method):
    """Reconstruct images from activation records, then distil on them."""

    name = "metadata"
    title = "Metadata"
    paper = "Lopes et al., 2017"
    access = Access.METADATA
    inverts_pixels = True
    Params = MetadataParams
    # Version 1 put masks of a batch on the compared activations of any teacher, targets included.
    revised = {"variant": {"all-layers-dropout": 2}}
    settings = {"cifar10": PHOTOGRAPHS, "svhn": PHOTOGRAPHS}
    schedules = {
        "mnist": PaperSchedule(
            "Lopes et al.",
            "released code: about 100 batches of 64 images for every class; 30 epochs for the "
            "student, whose rate is not known and is that of the teacher",
            inversion_images=64_000,
            inversion_steps=1000,
            images=0,
            student_steps=30 * 64_000 // 64,
            student_batch=64,
            student_optimizer="adam",
            student_lr=1e-3,
            student_schedule="constant",
        )
    }

    def supports(self, problem: Problem) -> str | None:
        if problem.task_type != "classification":
            return "activation records are kept by class of a whole image"
        if self.params.variant == "all-layers-dropout" and not dropout_layers(
            problem.teacher.network
        ):
            return (
                "variant=all-layers-dropout filters the teacher's dropout layers, and this teacher "
                "has none"
            )
        return None

    def reconstruction(self, problem: Problem) -> Reconstruction:
        """The objective of the parameter ``variant``.

        Raises:
            ValueError: when filters are wanted and the teacher has no dropout layer in use.
        """
        p, records = self.params, problem.metadata
        match p.variant:
            case "top-layer":
                return TopLayer(records, p.sampling)
            case "spectral-all":
                return Spectral(records, [records.joint], p.sampling)
            case "spectral-pairs":
                return Spectral(records, records.pairs, p.sampling)
        if p.variant == "all-layers-dropout":
            network = problem.teacher.network
            device = next(network.parameters()).device
            image = torch.zeros(1, *problem.image_shape, device=device)
            return AllLayers(records, p.sampling, DropoutFilters(network, image))
        return AllLayers(records, p.sampling)

    def synthesize(self, problem: Problem, run: Run) -> SampleSource:
        """A bank of reconstructed images, equally many of each class, in random order.

        Raises:
            ValueError: when the budget has no pixel optimisation.
        """
        p = self.params
        optimization = PixelOptimization(run, p.batch, p.pixel_lr)
        count = sum(optimization.sizes)
        labels = torch.randperm(count, generator=run.stream("metadata-labels"))
        labels %= problem.num_classes
        reconstruction = self.reconstruction(problem)
        stream = run.stream("metadata-reconstruction")
        images = [
            self.reconstruct(problem, run, reconstruction, batch, stream, optimization)
            for batch in labels.split(p.batch)
        ]
        return ImageBank(torch.cat(images), run.budget.held_out(count), labels, run.device)

    def reconstruct(
        self,
        problem: Problem,
        run: Run,
        reconstruction: Reconstruction,
        labels: Tensor,
        stream: torch.Generator,
        optimization: PixelOptimization,
    ) -> Tensor:
        """Images of the given classes, B×C×H×W, normalised, float16, on the CPU.

        Args:
            problem: gives the teacher and the normalisation.
            run: gives device and precision.
            reconstruction: draws the targets and measures the distance.
            labels: B classes.
            stream: random stream of the initial pixels and of the targets.
            optimization: the optimisation that the batch is part of.
        """
        p = self.params
        noise = torch.randn(len(labels), *problem.image_shape, generator=stream)
        start = (p.initial_mean + p.initial_std * noise).to(run.device)
        drawn = [target.to(run.device) for target in reconstruction.draw(labels, stream)]
        names = reconstruction.listens_to
        filters = reconstruction.filters
        with (
            listening(problem.teacher.network, names) as heard,
            nullcontext() if filters is None else filters.applied(),
        ):
            distance = ActivationDistance(problem, run, reconstruction, drawn, heard)
            pixels = optimization.descend(start, distance, clamp if p.clamp else None)
        return problem.normalization.normalize(pixels).to("cpu", torch.float16)


class ActivationDistance:
    """How far a batch's activations are from drawn ones, computed a part of the batch at a time.

    Args:
        problem: gives the teacher and the normalisation of its input.
        run: gives device and precision.
        reconstruction: measures the distance.
        drawn: the targets of the batch.
        heard: where the hidden activations of each forward pass appear, by module.
    """

    def __init__(
        self,
        problem: Problem,
        run: Run,
        reconstruction: Reconstruction,
        drawn: Sequence[Tensor],
        heard: Mapping[str, Tensor],
    ) -> None:
        units = sum(layer.mean.shape[1] for layer in problem.metadata.layers)
        batch = len(drawn[0])
        self.size = batch if run.device.type == "cuda" else max(1, PART // units)
        self.problem = problem
        self.run = run
        self.reconstruction = reconstruction
        self.heard = heard
        self.drawn = list(zip(*(target.split(self.size) for target in drawn), strict=True))
        self.targets: dict[int, list[Tensor]] = {}

    def __call__(self, pixels: Tensor) -> tuple[Terms, Tensor]:
        """The mean distance of pixels in [0, 1], B×C×H×W, and its gradient."""
        loss, gradients = torch.zeros((), device=self.run.device), []
        for i, part in enumerate(pixels.detach().split(self.size)):
            part.requires_grad_()
            if self.reconstruction.filters is not None:
                self.reconstruction.filters.images = slice(i * self.size, i * self.size + len(part))
            with self.run.autocast():
                logits = self.problem.teacher(self.problem.normalization.normalize(part))
            hidden = [self.heard[name] for name in self.reconstruction.listens_to]
            activations = [*hidden, logits.float() / TEMPERATURE]
            if i not in self.targets:  # their memory layout is known now
                self.targets[i] = self.reconstruction.laid_out(self.drawn[i], activations)
            distance = self.reconstruction.distance(self.targets[i], activations)
            distance = distance * (len(part) / len(pixels))  # its share of the mean
            gradients += torch.autograd.grad(distance, part)
            loss += distance.detach()
        return {"loss": loss}, torch.cat(gradients)


def clamp(pixels: Tensor) -> Tensor:
    """Pixels moved into [0, 1]."""
    return pixels.clamp(0, 1)
