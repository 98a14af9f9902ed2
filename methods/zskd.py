"""ZSKD: images to which the teacher gives soft targets sampled by the similarity of classes.

Nayak et al., "Zero-Shot Knowledge Distillation in Deep Networks", ICML 2019.

Algorithm: (1) read class similarities off the final layer's weights; (2) sample soft targets
y ~ Dir(β·α^k) around every class k; (3) from uniform noise optimise one data impression per target,
x* = argmin CE(y, softmax(t(x)/τ)); (4) train the student on the impressions, and on random views of
them, with KD at the same τ.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Dirichlet

from methods.base.method import Method
from methods.base.problem import Problem
from methods.base.run import Run
from methods.base.samples import ImageBank, SampleSource
from methods.losses.predictions import class_similarity, dirichlet_concentration
from methods.networks.inspection import final_layer
from methods.settings.params import MethodParams, param
from methods.settings.schedule import PaperSchedule
from methods.synthesis.augmentation import with_views
from methods.synthesis.pixels import (
    PixelOptimization,
    Terms,
    balanced_labels,
    first_turns,
    shuffled_bank,
)

PAPER = {"legacy": (False,)}


class ZSKDParams(MethodParams):
    """ZSKD's hyper-parameters."""

    learning_rate: float = param(
        0.03,
        "Adam learning rate of the impressions; the paper names none for MNIST",
        source="chosen for MNIST; released code: 0.001 on CIFAR-10; RDSKD runs it at 3.0 and 0.01",
        unit="pixel in [0, 1]",
        tune="rate",
        gt=0,
    )
    beta: float = param(
        1.0,
        "scale β of the Dirichlet concentrations of one half of the impressions",
        source="paper",
        gt=0,
        active_when=PAPER,
    )
    beta_peaked: float = param(
        0.1,
        "scale β of the other half, whose targets are peaked; the floor of the concentrations, "
        "1e-4 in the released code, is scaled with it",
        source="paper",
        gt=0,
        active_when=PAPER,
    )
    temperature: float = param(
        20.0,
        "temperature τ of the impressions' loss and of the student's KD loss",
        source="paper",
        tune="temperature",
        gt=0,
    )
    batch: int = param(
        2048,
        "impressions optimised at once; the released code takes 100",
        source="chosen for speed",
        ge=1,
        inert="impressions are independent of each other unless `legacy` is on",
    )
    views: int = param(
        7,
        "how often every impression joins the student's images once more, scaled, rotated, moved "
        "and noisy; 0 leaves the impressions alone",
        source="paper: the student's images are augmented; number chosen for MNIST",
        phase="distillation",
        ge=0,
    )
    flip: bool = param(
        False,
        "mirror half of the views, left to right",
        source="paper: the student's images are flipped, too; off because digits have sides",
        phase="distillation",
        needs=("views",),
        added=True,
    )
    legacy: bool = param(
        False,
        "as released: rows normalised once more, so that β has no effect; a batch is of one class "
        "and β and starts where the one before ended, the first of each class and β from noise; "
        "one Adam goes on through all of them; after every step but the last the batch is "
        "rescaled to [0, 1]",
        source="released code",
    )


class ZSKD(Method):
    """Zero-shot knowledge distillation from data impressions."""

    name = "zskd"
    title = "ZSKD"
    paper = "Nayak et al., ICML 2019"
    inverts_pixels = True
    Params = ZSKDParams
    # Version 1 mixed the classes of a batch, began Adam anew and rescaled the last iterate too.
    revised = {"legacy": {True: 2}}
    settings = {"cifar10": {"learning_rate": 0.001}}
    # On CIFAR-10 the student's training is not known.
    schedules = {
        "mnist": PaperSchedule(
            "ZSKD",
            "paper; 1,500 steps: RDSKD, and the released code on CIFAR-10",
            inversion_images=24_000,
            inversion_steps=1500,
            images=0,
            student_steps=500 * 24_000 // 64,
            student_batch=64,
            student_optimizer="adam",
            student_lr=1e-3,
            student_schedule="constant",
        )
    }

    def supports(self, problem: Problem) -> str | None:
        if problem.task_type != "classification":
            return "ZSKD samples one soft target per image; segmentation has one per pixel"
        if classifier_weight(problem) is None:
            return (
                "ZSKD reads class similarities off a final linear layer, which this teacher "
                "does not have"
            )
        return None

    def synthesize(self, problem: Problem, run: Run) -> SampleSource:
        p = self.params
        noise = run.stream("impression-noise")

        def random_start(count: int) -> Tensor:
            return torch.rand(count, *problem.image_shape, generator=noise)

        impressions = self._as_released if p.legacy else self._in_batches
        batches = impressions(problem, run, random_start)
        return shuffled_bank(problem.normalization.normalize(torch.cat(batches)), run)

    def _in_batches(
        self, problem: Problem, run: Run, random_start: Callable[[int], Tensor]
    ) -> list[Tensor]:
        """Impressions of all classes at once, each from noise of its own."""
        p = self.params
        optimization = PixelOptimization(run, p.batch, p.learning_rate)
        concentrations = self._concentrations(problem)
        with run.seeded("soft-targets"):
            firsts = first_turns(optimization.sizes, 2 * problem.num_classes)
            targets = [
                soft_targets(concentrations, size, first)
                for size, first in zip(optimization.sizes, firsts, strict=True)
            ]
        batches = []
        for target in targets:
            loss = ImpressionLoss(problem, run, target, p.temperature)
            start = random_start(len(target)).to(run.device)
            batches.append(optimization.optimize(start, loss))
        return batches

    def _as_released(
        self, problem: Problem, run: Run, random_start: Callable[[int], Tensor]
    ) -> list[Tensor]:
        """Impressions of one class and β after the other."""
        p = self.params
        concentrations = self._concentrations(problem).flatten(0, 1)
        rows = batches_of_rows(run.budget.inversion_images, len(concentrations), p.batch)
        optimization = PixelOptimization(
            run, [size for row in rows for size in row], p.learning_rate, one_adam=True
        )
        with run.seeded("soft-targets"):
            targets = [
                [Dirichlet(concentration).sample(torch.Size([size])) for size in sizes]
                for concentration, sizes in zip(concentrations, rows, strict=False)
            ]
        batches: list[Tensor] = []
        for row in targets:
            start = random_start(len(row[0])).to(run.device)
            for target in row:
                loss = ImpressionLoss(problem, run, target, p.temperature)
                start = optimization.optimize(
                    start[: len(target)], loss, rescale, project_last=False
                )
                batches.append(start)
        return batches

    def distill(self, problem: Problem, samples: SampleSource, run: Run) -> nn.Module:
        assert isinstance(samples, ImageBank)
        views = with_views(samples, self.params.views, run, self.params.flip)
        return super().distill(problem, views, run)

    def _concentrations(self, problem: Problem) -> Tensor:
        """2×K×K: a Dirichlet for every class, spread and peaked."""
        weight = classifier_weight(problem)
        assert weight is not None
        similarity = class_similarity(weight.detach().cpu().double())
        scales = (1.0, 1.0) if self.params.legacy else (self.params.beta, self.params.beta_peaked)
        return torch.stack([dirichlet_concentration(similarity, scale) for scale in scales])


class ImpressionLoss:
    """CE(y, softmax(t(x)/τ)) of images in [0, 1], mean over the batch.

    Args:
        problem: gives the teacher and the normalisation of its input.
        run: gives device and precision.
        target: soft targets y, B×K.
        temperature: τ.
    """

    def __init__(self, problem: Problem, run: Run, target: Tensor, temperature: float) -> None:
        self.problem = problem
        self.run = run
        self.target = target.to(run.device, torch.float32)
        self.temperature = temperature

    def __call__(self, pixels: Tensor) -> Terms:
        images = self.problem.normalization.normalize(pixels)
        with self.run.autocast():
            logits = self.problem.teacher(images)
        return {"loss": F.cross_entropy(logits.float() / self.temperature, self.target)}


def soft_targets(concentrations: Tensor, count: int, first: int = 0) -> Tensor:
    """Samples of the Dirichlet distributions, from torch's global generator.

    Args:
        concentrations: 2×K×K float64: for each half of the samples, and each class, a Dirichlet.
            Peaked ones are all but zero in most entries, which float32 would round to zero.
        count: number of samples; classes take turns, and so do the halves.
        first: the first sample's position in a round of 2·K.

    Returns:
        count×K, rows summing to 1.
    """
    num_classes = concentrations.shape[1]
    half = (torch.arange(count) + first) // num_classes % 2
    chosen = concentrations[half, balanced_labels(count, num_classes, first)]
    sample: Tensor = Dirichlet(chosen).sample()
    return sample


def batches_of_rows(count: int, rows: int, batch: int) -> list[list[int]]:
    """The sizes of the batches of every row, the larger first.

    Rows differ by at most one image, and have the same number of batches, which differ by at most
    one image too; the first batch is the largest of all.

    Args:
        count: images in all; with fewer than ``rows`` the last rows are left out.
        rows: number of rows, at least 1.
        batch: most images of a batch.
    """

    def shared(total: int, parts: int) -> list[int]:
        return [len(part) for part in torch.arange(total).tensor_split(parts)]

    images = [size for size in shared(count, rows) if size]
    parts = -(-max(images, default=0) // batch)
    return [[size for size in shared(row, parts) if size] for row in images]


def rescale(pixels: Tensor) -> Tensor:
    """The batch shifted and scaled to span [0, 1], as the released code does after every step."""
    low, high = pixels.min(), pixels.max()
    return (pixels - low) / (high - low)


def classifier_weight(problem: Problem) -> Tensor | None:
    """Weights of the teacher's final layer, K×D; None where it is not linear or not found."""
    weight = getattr(final_layer(problem.teacher.network, problem.image_shape), "weight", None)
    if not isinstance(weight, Tensor) or len(weight) != problem.num_classes:
        return None
    return weight.flatten(1)
