"""DeepInversion and its adaptive form: images whose features have the stored statistics.

Yin et al., "Dreaming to Distill: Data-free Knowledge Transfer via DeepInversion", CVPR 2020.

For balanced labels y, from normal noise, minimise over the pixels

    CE(t(x), y) + α_tv·R_TV(x) + α_l2·‖x‖₂ + α_f·L_bn(x)  [+ α_c·(1 − JS(p_T, p_S)): adaptive]

with every step's batch shifted by a few pixels, and train the student on the images with KD.
Adaptive DeepInversion takes turns: a batch on which the student so far disagrees with the teacher
joins the pool, then the student goes on learning from the pool.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.base.method import Method
from methods.base.problem import Problem
from methods.base.run import Run
from methods.base.samples import SampleSource
from methods.base.states import Part
from methods.losses.images import LayerStatistics, batch_norm_statistics_loss, total_variation
from methods.losses.predictions import competition_loss
from methods.networks.batch_norm import batch_norm_layers, watch_batch_norms
from methods.settings.budget import Budget
from methods.settings.params import MethodParams, param
from methods.synthesis.growing_bank import GrowingBank
from methods.synthesis.pixels import (
    PixelOptimization,
    Terms,
    balanced_labels,
    first_turns,
    jitter,
    shuffled_bank,
)
from methods.synthesis.rounds import Game, play

ADAPTIVE = {"adaptive": (True,)}
LEAST_ROUNDS = 4
"""Least rounds of images and student: competing with an untrained student would mean nothing."""


class DeepInversionParams(MethodParams):
    """DeepInversion's hyper-parameters; defaults are the paper's for CIFAR-10."""

    batch: int = param(256, "images optimised at once", source="released code", ge=2)
    learning_rate: float = param(
        0.05,
        "Adam learning rate of the images",
        source="released code, CIFAR-10 'paper'",
        unit="normalised intensity",
        tune="rate",
        gt=0,
    )
    schedule: Literal["constant", "cosine"] = param(
        "constant",
        "learning rate over the steps of a batch: as it is, or rising linearly for a twentieth of "
        "them and falling by a cosine to zero",
        source="released code, CIFAR-10; cosine, 100 of 2,000 steps to rise: ImageNet",
        added=True,
    )
    beta1: float = param(
        0.9,
        "decay of Adam's first moment",
        source="released code, CIFAR-10; 0.5 on ImageNet",
        ge=0,
        lt=1,
        added=True,
    )
    beta2: float = param(
        0.999,
        "decay of Adam's second moment",
        source="released code, CIFAR-10; 0.9 on ImageNet",
        ge=0,
        lt=1,
        added=True,
    )
    bn_weight: float = param(
        10.0,
        "weight α_f of the BatchNorm statistics loss; 0 switches it off",
        source="released code, CIFAR-10 'paper'",
        tune="weight",
        ge=0,
    )
    first_bn_weight: float = param(
        1.0,
        "factor of the first BatchNorm layer within that loss",
        source="released code; 10 on ImageNet",
        tune="weight",
        ge=0,
        needs=("bn_weight",),
    )
    tv_weight: float = param(
        2.5e-5,
        "weight α_tv of the total variation; 0 switches it off",
        source="released code, CIFAR-10 'paper'",
        tune="weight",
        ge=0,
    )
    tv_norm: Literal["l2", "l1"] = param(
        "l2",
        "norm of the total variation: Frobenius, which grows with √batch, or mean absolute",
        source="paper, R_TV; l1: released ImageNet code",
        needs=("tv_weight",),
    )
    l2_weight: float = param(
        0.0,
        "weight α_l2 of an image's ℓ2 norm, mean over the batch as in the released ImageNet code; "
        "the CIFAR-10 code takes the norm of the whole batch, √batch times as much",
        source="released code; 1e-5 on ImageNet",
        tune="weight",
        ge=0,
    )
    jitter: int = param(
        2,
        "the batch is rolled by up to this much both ways before every step",
        source="released code; 30 on ImageNet",
        unit="pixel",
        ge=0,
    )
    flip: bool = param(
        False,
        "and mirrored half the time",
        source="released code; on for ImageNet",
    )
    clip: bool = param(
        False,
        "keep the pixels in [0, 1] after every step",
        source="CMI's re-implementation; released code, ImageNet",
    )
    selection: Literal["best", "last"] = param(
        "best",
        "which iterate of a batch is kept: the one with the least loss, as intended, or the last, "
        "as the released code does because its best one is overwritten in place",
        source="paper; released code",
    )
    adaptive: bool = param(
        False,
        "add the competition loss against the student in training (Adaptive DeepInversion)",
        source="paper, R_compete",
    )
    competition_weight: float = param(
        0.2,
        "weight α_c of the competition loss",
        source="released code, ImageNet",
        tune="weight",
        gt=0,
        active_when=ADAPTIVE,
    )
    competition_temperature: float = param(
        3.0,
        "temperature τ of the competition loss",
        source="released code",
        tune="temperature",
        gt=0,
        active_when=ADAPTIVE,
    )
    divergence: Literal["exact", "released"] = param(
        "exact",
        "Jensen-Shannon divergence as defined, or with reversed arguments and clamps",
        source="paper; released code",
        active_when=ADAPTIVE,
    )
    temperature: float = param(
        3.0,
        "temperature τ of the student's KD loss",
        source="the author, issue 11 of the released code",
        phase="distillation",
        tune="temperature",
        gt=0,
    )


class DeepInversion(Method):
    """Noise turned into images that fit the teacher's BatchNorm statistics.

    The settings of ``imagenet`` are those of the released code with ``setting_id=1``: 2,000 steps
    at full resolution. Steps at half the resolution before them (``setting_id=0``) are not here.
    """

    name = "deep-inversion"
    title = "DeepInversion"
    paper = "Yin et al., CVPR 2020"
    inverts_pixels = True
    # No schedules: the student's part of the code was never released.
    Params = DeepInversionParams
    settings = {
        "imagenet": {
            "batch": 152,
            "learning_rate": 0.2,
            "schedule": "cosine",
            "beta1": 0.5,
            "beta2": 0.9,
            "bn_weight": 0.01,
            "first_bn_weight": 10.0,
            "tv_weight": 1e-4,
            "l2_weight": 1e-5,
            "jitter": 30,
            "flip": True,
            "clip": True,
        },
    }

    def supports(self, problem: Problem) -> str | None:
        if problem.task_type != "classification":
            return "DeepInversion draws one label per image; segmentation has one per pixel"
        if self.params.adaptive:
            return self.refuse_unprepared("adaptive=true")
        return None

    def note(self, problem: Problem) -> str:
        if self.params.bn_weight and not batch_norm_layers(problem.teacher.network):
            return "no BatchNorm: prior terms only"
        return ""

    def synthesize(self, problem: Problem, run: Run) -> SampleSource:
        if self.alternating:
            game = AdaptiveGame(self.params, problem, run)
            play(self, game, problem, run)
            return game.samples
        inversion = Inversion(self.params, problem, run)
        return shuffled_bank(torch.cat([inversion.next_batch() for _ in inversion.sizes]), run)

    @property
    def alternating(self) -> bool:
        return bool(self.params.adaptive)

    def fit(self, problem: Problem, run: Run) -> nn.Module:
        if self.alternating:
            return play(self, AdaptiveGame(self.params, problem, run), problem, run)
        return super().fit(problem, run)


class Inversion:
    """Makes the budget's images batch by batch.

    Args:
        params: weights of the loss.
        problem: gives the teacher.
        run: budget, random streams, logging.
    """

    def __init__(self, params: DeepInversionParams, problem: Problem, run: Run) -> None:
        self.params = params
        self.problem = problem
        self.run = run
        self._noise = run.stream("inversion-noise")
        self._jitter = run.stream("inversion-jitter")
        batch: int = params.batch
        if params.adaptive:
            batch = min(batch, max(2, run.budget.inversion_images // LEAST_ROUNDS))
        self._optimization = PixelOptimization(
            run,
            batch,
            params.learning_rate,
            params.selection,
            resumable=not params.adaptive,  # then a student changes as well
            parts={"jitter": self._jitter},
            betas=(params.beta1, params.beta2),
            schedule=warm_cosine if params.schedule == "cosine" else None,
        )
        self.sizes = self._optimization.sizes
        turns = first_turns(self.sizes, problem.num_classes)
        self._batches = list(zip(self.sizes, turns, strict=True))
        self._has_batch_norm = bool(batch_norm_layers(problem.teacher.network))
        self.made = 0

    def next_batch(self, student: nn.Module | None = None) -> Tensor:
        """The next batch, B×C×H×W; given a student in eval mode, one on which it is wrong."""
        size, first = self._batches[self.made]
        self.made += 1
        noise = torch.randn(size, *self.problem.image_shape, generator=self._noise)
        labels = balanced_labels(size, self.problem.num_classes, first).to(self.run.device)
        clip = self._clip if self.params.clip else None
        with watch_batch_norms(self.problem.teacher.network) as statistics:
            return self._optimization.optimize(
                noise.to(self.run.device),
                lambda images: self._loss(images, labels, statistics, student),
                clip,
            )

    def state_dict(self) -> dict[str, Any]:
        """Where it is between two batches, where a student is trained as well."""
        return {
            "made": self.made,
            "noise": self._noise.get_state(),
            "jitter": self._jitter.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Go on from there."""
        self.made = state["made"]
        self._noise.set_state(state["noise"])
        self._jitter.set_state(state["jitter"])
        self._optimization.skip(self.made)

    def _clip(self, images: Tensor) -> Tensor:
        normalization = self.problem.normalization
        return normalization.normalize(normalization.denormalize(images).clamp(0, 1))

    def _loss(
        self,
        images: Tensor,
        labels: Tensor,
        statistics: list[LayerStatistics],
        student: nn.Module | None,
    ) -> Terms:
        p = self.params
        images = jitter(images, p.jitter, p.flip, self._jitter)
        statistics.clear()
        with self.run.autocast():
            logits = self.problem.teacher(images).float()
        terms = {"cross_entropy": F.cross_entropy(logits, labels)}
        if p.tv_weight:
            terms["total_variation"] = p.tv_weight * total_variation(images, p.tv_norm)
        if p.l2_weight:
            terms["norm"] = p.l2_weight * images.flatten(1).norm(dim=1).mean()
        if p.bn_weight and self._has_batch_norm:
            distance = batch_norm_statistics_loss(statistics, p.first_bn_weight)
            terms["batch_norm"] = p.bn_weight * distance
        if student is not None:
            with self.run.autocast():
                answer = student(images).float()
            competition = competition_loss(logits, answer, p.competition_temperature, p.divergence)
            terms["competition"] = p.competition_weight * competition
        return {"loss": torch.stack(list(terms.values())).sum(), **terms}


def warm_cosine(step: int, steps: int) -> float:
    """The factor of the learning rate at ``step`` of ``steps``, in (0, 1].

    A line from 1/w to 1 over the first w = steps/20 steps, then a cosine to zero over the others,
    which is not reached: the released ImageNet code with its 100 of 2,000 steps.
    """
    warm = steps // 20
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))


class AdaptiveGame(Game):
    """One turn makes one batch of images, on which the student so far is wrong.

    Competing with an untrained student would mean nothing, and so there are `LEAST_ROUNDS` at
    least.
    """

    def __init__(self, params: DeepInversionParams, problem: Problem, run: Run) -> None:
        self.inversion = Inversion(params, problem, run)
        self.samples: GrowingBank = GrowingBank(run)

    def rounds(self, budget: Budget) -> int:
        return len(self.inversion.sizes)

    def make(self, student: nn.Module, stage: float) -> Mapping[str, Tensor]:
        self.samples.add(self.inversion.next_batch(student))
        return {}

    def parts(self) -> dict[str, Part]:
        return {"inversion": self.inversion, "bank": self.samples}
