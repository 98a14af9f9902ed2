"""DAFL: a generator trained for confident, balanced predictions and large activations.

Chen et al., "Data-Free Learning of Student Networks", ICCV 2019.

Algorithm 1: (1) train G on  L_G = L_oh + α·L_a + β·L_ie  (Eqs. 2-5); (2) freeze G and train the
student on its images with KD. The released code does both in one loop (``schedule="joint"``).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from methods.acceleration.optimizers import Adam, improve
from methods.base.drawn_images import samples_from
from methods.base.method import Method
from methods.base.problem import Problem
from methods.base.run import Run
from methods.base.samples import SampleSource
from methods.base.states import Part
from methods.losses.features import activation_loss
from methods.losses.predictions import information_entropy_loss, one_hot_loss
from methods.settings.params import param
from methods.settings.schedule import PaperSchedule
from methods.synthesis.generator import (
    GeneratedBatch,
    GeneratorParams,
    build_generator,
    draw_latents,
    drawing_from,
    generate,
    train_generator,
)
from methods.synthesis.persistent import HeldBatch
from methods.synthesis.rounds import Game, Terms, play

TWO_PHASE = {"schedule": ("two-phase",)}


RELEASED_MNIST = PaperSchedule(
    "DAFL",
    "released code: 200 epochs of 120 steps, which generator and student take together; the paper "
    "does not say how many either takes alone",
    synthesis_steps=200 * 120,
    synthesis_batch=512,
    epoch_steps=120,
    images=0,
    student_steps=200 * 120,
    student_batch=512,
    student_optimizer="adam",
    student_lr=2e-3,
    student_schedule="constant",
)
RELEASED_CIFAR = PaperSchedule(
    "DAFL",
    "released code: 2,000 epochs of 120 steps, which generator and student take together; the "
    "student's rate falls after 800 and 1,600",
    synthesis_steps=2000 * 120,
    synthesis_batch=1024,
    epoch_steps=120,
    images=0,
    student_steps=2000 * 120,
    student_batch=1024,
    student_optimizer="sgd",
    student_lr=0.1,
    student_weight_decay=5e-4,
    student_schedule="double-fifths",
)


class DAFLParams(GeneratorParams):
    """DAFL's hyper-parameters; defaults are the paper's for MNIST."""

    # The budget says how many steps the student takes, jointly too.
    retired = {"student_steps_per_batch": 1}

    schedule: Literal["two-phase", "joint"] = param(
        "two-phase",
        "train the generator first (paper, Algorithm 1) or together with the student "
        "(released code)",
        source="paper, Algorithm 1; released code",
    )
    generator_lr: float = param(
        0.2,
        "Adam learning rate of the generator",
        source="released code, MNIST",
        tune="rate",
        gt=0,
    )
    one_hot: float = param(
        1.0,
        "weight of the one-hot loss; 0 switches it off",
        source="released code, MNIST",
        tune="weight",
        ge=0,
    )
    entropy: float = param(
        5.0,
        "weight β of the information entropy loss; 0 switches it off. With natural logarithms "
        "the same number weighs 2.3 times what it does in the released code",
        source="paper and released code, MNIST",
        tune="weight",
        ge=0,
    )
    activation: float = param(
        0.1,
        "weight α of the activation loss; 0 switches it off",
        source="paper and released code, MNIST",
        tune="weight",
        ge=0,
    )
    log_base: Literal["e", "10"] = param(
        "e",
        "logarithm of the entropy loss: natural (paper, which divides by the number of classes "
        "too; the released code does not, and neither is done here) or decimal (released code)",
        source="paper, Eq. 4",
        needs=("entropy",),
    )
    activation_reduction: Literal["mean", "sum"] = param(
        "mean",
        "over a feature vector, the mean absolute entry (released code, to which α is tuned) "
        "or the ℓ1 norm as printed in Eq. 3",
        source="released code",
        needs=("activation",),
    )
    generator_mode: Literal["train", "eval"] = param(
        "train",
        "mode of the generator's BatchNorms while the student's images are drawn",
        source="released code",
        active_when=TWO_PHASE,
    )
    temperature: float = param(
        1.0,
        "temperature τ of the student's KD loss",
        source="released code",
        phase="distillation",
        tune="temperature",
        gt=0,
    )


class DAFL(Method):
    """Data-free learning of student networks."""

    name = "dafl"
    title = "DAFL"
    paper = "Chen et al., ICCV 2019"
    Params = DAFLParams
    # Version 1 gave the student as many steps as the generator, whatever the budget's are.
    revised = {"schedule": {"joint": 2}}
    settings = {
        "cifar10": {
            "latent_dim": 1000,
            "generator_lr": 0.02,
            "one_hot": 0.05,
            "entropy": 5.0,
            "activation": 0.01,
        },
        "cifar100": {
            "latent_dim": 1000,
            "generator_lr": 0.02,
            "one_hot": 0.5,
            "entropy": 20.0,
            "activation": 0.1,
        },
        # DAFL has no SVHN table; these are what the RDSKD paper ran it with.
        "svhn": {"latent_dim": 1000, "generator_lr": 0.02, "entropy": 10.0},
    }
    schedules = {"mnist": RELEASED_MNIST, "cifar10": RELEASED_CIFAR, "cifar100": RELEASED_CIFAR}

    def supports(self, problem: Problem) -> str | None:
        if self.params.schedule == "joint" and (reason := self.refuse_unprepared("schedule=joint")):
            return reason
        no_features = getattr(problem.teacher.network, "num_features", None) == 0
        if self.params.activation and no_features:
            return (
                "DAFL's activation loss needs the features before the classifier, which this "
                "teacher does not show: it has no forward_features, and no linear layer at its "
                "end; activation=0 does without"
            )
        return None

    def generator_loss(self, batch: GeneratedBatch) -> dict[str, Tensor]:
        """The generator's loss on a batch, with gradient, and its terms."""
        p = self.params
        base = 10.0 if p.log_base == "10" else math.e
        terms = {
            "one_hot": one_hot_loss(batch.logits),
            "entropy": information_entropy_loss(batch.logits, base),
        }
        if batch.features.shape[1]:  # some teachers have no features to show
            terms["activation"] = activation_loss(batch.features, p.activation_reduction)
        weights = {"one_hot": p.one_hot, "entropy": p.entropy, "activation": p.activation}
        total = sum((weights[name] * term for name, term in terms.items()), torch.zeros(()))
        return {"loss": total, **terms}

    def synthesize(self, problem: Problem, run: Run) -> SampleSource:
        if self.alternating:
            game = JointGame(self, problem, run)
            play(self, game, problem, run)
            return game.samples
        generator = build_generator(self.params, problem, run)
        rate: float = self.params.generator_lr
        train_generator(problem, run, generator, rate, self.generator_loss, replay=True)
        return samples_from(drawing_from(generator, self.params.generator_mode, run), run)

    @property
    def alternating(self) -> bool:
        return bool(self.params.schedule == "joint")

    def fit(self, problem: Problem, run: Run) -> nn.Module:
        if self.alternating:
            return play(self, JointGame(self, problem, run), problem, run)
        return super().fit(problem, run)


class JointGame(Game):
    """The released loop: one turn takes one step, and the student learns from the same batch.

    As released, the student is shown the images that the step was computed on, before it changed
    the generator, and the teacher is asked once for both.
    """

    def __init__(self, method: DAFL, problem: Problem, run: Run) -> None:
        self.loss, self.problem, self.run = method.generator_loss, problem, run
        self.generator = build_generator(method.params, problem, run)
        rate = method.params.generator_lr
        self.optimizer = Adam(self.generator.parameters(), lr=rate, fused=True)
        self.latents = run.stream("generator-latents")
        self.samples: HeldBatch = HeldBatch(drawing_from(self.generator, "train", run))

    def make(self, student: nn.Module, stage: float) -> Terms:
        budget = self.run.budget
        latents = draw_latents(
            budget.synthesis_batch, self.generator.latent_dim, self.latents, self.run
        )
        self.generator.train()
        batch = generate(self.generator, self.problem, latents, self.run)
        terms = self.loss(batch)
        improve(self.optimizer, terms["loss"])
        shown = slice(budget.student_batch)
        self.samples.show(batch.images[shown].detach(), batch.logits[shown].detach())
        return {name: term.detach() for name, term in terms.items()}

    def parts(self) -> dict[str, Part]:
        return {
            "generator": self.generator,
            "optimizer": self.optimizer,
            "latents": self.latents,
        }
