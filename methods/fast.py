"""Fast: a generator that learns to become, in a few steps, the generator of any batch.

Fang et al., "Up to 100× Faster Data-Free Knowledge Distillation", AAAI 2022.

In every round, (1) a copy of the meta-generator θ and fresh latents z take k steps of Adam on
λ_bn·L_bn + λ_oh·CE(t(x), y) + λ_adv·L_adv, the last against the present student; (2) θ takes one
step of its own on the sum of the k gradients, so that it learns what all batches have in common;
(3) the best images join a growing pool, from which (4) the student learns with τ²·KL.
"""

from __future__ import annotations

import copy
from typing import Literal

from torch import nn

from methods.acceleration.optimizers import Adam
from methods.base.problem import Problem
from methods.base.run import Run
from methods.base.states import Part
from methods.networks.generators import UpsamplingGenerator
from methods.settings.params import PER_PIXEL, MethodParams, param
from methods.settings.schedule import PaperSchedule
from methods.synthesis.generator import draw_latents, pixel_generator
from methods.synthesis.inversion import BestIterate, Labels, target_labels
from methods.synthesis.inverting import (
    BETAS,
    InvertingMethod,
    SmoothedInversionParams,
    inversion_of,
)
from methods.synthesis.memory import Pool
from methods.synthesis.rounds import Game, Terms, steps_of_a_turn

REPTILE_RATE = 67.0
"""Factor of Reptile's direction in the released code; Adam, which it is handed to, cancels it."""


ROUNDS = 20 + 200
"""Epochs of the paper, each of which makes one batch of images."""


class FastParams(SmoothedInversionParams):
    """Hyper-parameters of Fast with k = 5 on CIFAR-10."""

    inner_steps: int = SmoothedInversionParams.published(
        "inner_steps", 5, "paper: 2, 5 or 10", "steps k of a batch's generator and latents"
    )
    meta: Literal["sum-fomaml", "reptile", "none"] = param(
        "sum-fomaml",
        "the meta-generator's gradient: the sum of those of the k steps, the way the copy went, or "
        "none: the generator goes on from batch to batch",
        source="released code (FOMAML of the paper takes the last step's gradient alone)",
    )
    generator_lr: float = SmoothedInversionParams.published(
        "generator_lr",
        3e-3,
        "released code; 5e-3 for k = 2, 2e-3 for k = 10",
        "Adam learning rate of a batch's generator; the meta-generator's is k times it",
    )
    latent_lr: float = param(
        0.01,
        "Adam learning rate of the latents",
        source="released code; 0.015 for k = 2",
        tune="rate",
        gt=0,
    )
    bn_weight: float = SmoothedInversionParams.published("bn_weight", 10.0)
    one_hot: float = SmoothedInversionParams.published(
        "one_hot", 0.4, "released code; 0.5 with other pairs"
    )
    adversarial: float = SmoothedInversionParams.published(
        "adversarial", 1.1, "released code; 1.33 for ResNet-34, 1.0 for VGG"
    )
    labels: Labels = param(
        "random",
        "target classes of a batch: drawn at random, or all equally often",
        source="released code",
    )
    warm_up: float = SmoothedInversionParams.published(
        "warm_up", 20 / ROUNDS, "paper: 20 of 220 epochs"
    )


class Fast(InvertingMethod):
    """A meta-generator, adapted to every batch in a few steps; a growing pool."""

    name = "fast"
    title = "Fast"
    paper = "Fang et al., AAAI 2022"
    Params = FastParams
    settings = {
        "digits": {"augmentation": "none"},
        "mnist": {"augmentation": "none"},
        "cifar100": {"one_hot": 0.5},
        **{name: {**values, "augmentation": "none"} for name, values in PER_PIXEL.items()},
    }

    @classmethod
    def schedule_of(cls, params: MethodParams, family: str) -> PaperSchedule | None:
        if family not in ("cifar10", "cifar100"):
            return None
        assert isinstance(params, FastParams)
        return PaperSchedule(
            "Fast-Datafree",
            "released code, for CIFAR-100 only; the floor of the student's rate, a thousandth of "
            "it, is 0 here",
            synthesis_steps=ROUNDS * params.inner_steps,
            synthesis_batch=256,
            images=0,
            student_steps=200 * 400,
            student_batch=256,
            student_optimizer="sgd",
            student_lr=0.2,
            student_weight_decay=1e-4,
            student_schedule="cosine",
        )

    def game(self, problem: Problem, run: Run) -> Game:
        return FastGame(self.params, problem, run)


class FastGame(Game):
    """One turn makes one batch of images."""

    def __init__(self, params: FastParams, problem: Problem, run: Run) -> None:
        self.params, self.run, self.classes = params, run, problem.num_classes
        self.steps = steps_of_a_turn(params.inner_steps, run)
        self.warm_up = params.warm_up
        self.samples: Pool = Pool(problem, run)
        self.inversion = inversion_of(params, problem, run, params.momentum)
        self.generator = pixel_generator(problem, run, params.latent_dim, params.width)
        self.meta = Adam(
            self.generator.parameters(), lr=self.steps * params.generator_lr, betas=BETAS
        )
        self.draws = run.stream("generator-latents")

    def parts(self) -> dict[str, Part]:
        return {
            "generator": self.generator,
            "meta": self.meta,
            "pool": self.samples,
            "draws": self.draws,
            **self.inversion.parts(),
        }

    def make(self, student: nn.Module, stage: float) -> Terms:
        p, count = self.params, self.run.budget.synthesis_batch
        latents = draw_latents(count, p.latent_dim, self.draws, self.run).requires_grad_()
        labels = target_labels(p.labels, count, self.classes, self.draws).to(self.run.device)
        # A copy has BatchNorm statistics of its own, so that the meta-generator's never move.
        generator = self.generator if p.meta == "none" else copy.deepcopy(self.generator)
        generator.train()
        groups = [(generator.parameters(), p.generator_lr), ([latents], p.latent_lr)]
        optimizer = Adam([{"params": list(q), "lr": rate} for q, rate in groups], betas=BETAS)
        opponent = student if stage >= p.warm_up else None
        best = BestIterate()
        self.meta.zero_grad()
        with self.inversion.turn():
            for step in range(self.steps):
                with self.run.autocast():
                    images = generator(latents).float()
                terms = self.inversion.terms(images, labels, opponent)
                best.remember(images, terms["loss"])
                optimizer.zero_grad()
                terms["loss"].backward()
                if p.meta == "sum-fomaml":
                    self._add_gradients(generator)
                    if step == self.steps - 1:
                        self.meta.step()
                optimizer.step()
        if p.meta == "reptile":
            self._go_towards(generator)
        self.samples.add(best.images)
        return {name: term.detach() for name, term in terms.items()}

    def _add_gradients(self, copied: UpsamplingGenerator) -> None:
        for own, other in zip(self.generator.parameters(), copied.parameters(), strict=True):
            assert other.grad is not None
            own.grad = other.grad.clone() if own.grad is None else own.grad + other.grad

    def _go_towards(self, copied: UpsamplingGenerator) -> None:
        """Reptile: from the meta-generator towards where its copy went."""
        for own, other in zip(self.generator.parameters(), copied.parameters(), strict=True):
            own.grad = REPTILE_RATE * (own.detach() - other.detach())
        self.meta.step()
