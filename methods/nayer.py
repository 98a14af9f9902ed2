"""NAYER: the class says what an image is of, and a layer of random weights how it looks.

Tran et al., "NAYER: Noisy Layer Data Generation for Efficient and Effective Data-Free Knowledge
Distillation", CVPR 2024.

A generator's input is not noise but a code of the wanted class, always the same. Behind it comes a
layer with random weights, one for every set of all classes. In every round, (1) new noisy layers
are drawn; (2) they and the generator are trained together for a few steps on λ_bn·L_bn +
λ_oh·CE(t(x), y) + λ_adv·L_adv; (3) the best images join a growing pool, from which (4) the student
learns with τ²·KL. Every so many rounds the generator is made anew.

The paper takes a text model's embeddings of the class names for codes, which is knowledge from
outside: that is `NAYERText`. The codes of `NAYER` are drawn or one-hot, and it is data-free.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from methods.acceleration.optimizers import Adam, improve
from methods.base.problem import DATA_FREE, Access, Problem
from methods.base.run import Run
from methods.base.states import Part
from methods.networks.class_codes import ClassCodeGenerator, NoisyLayers
from methods.settings.params import MethodParams, param
from methods.settings.schedule import PaperSchedule
from methods.synthesis.generator import another_pixel_generator
from methods.synthesis.inversion import BestIterate, target_labels
from methods.synthesis.inverting import (
    BETAS,
    InvertingMethod,
    SmoothedInversionParams,
    inversion_of,
)
from methods.synthesis.memory import Pool
from methods.synthesis.rounds import Game, Terms, steps_of_a_turn

WARM_UP_EPOCH = 5
"""An epoch of the warm-up has so many times the rounds of a later one: 10, then 2."""

Codes = Literal["gauss", "onehot"]
"""Codes of the classes: drawn once from a normal distribution, or one unit for each class."""


class NAYERTextParams(SmoothedInversionParams):
    """Hyper-parameters of NAYER on CIFAR-10, 300 epochs."""

    latent_dim: int = SmoothedInversionParams.published(
        "latent_dim",
        1000,
        description="outputs of a noisy layer, the generator's input",
    )
    inner_steps: int = SmoothedInversionParams.published(
        "inner_steps",
        30,
        "released code; 40 on CIFAR-100",
        "steps of a batch's noisy layers and of the generator",
    )
    life: int = param(
        20,
        "rounds after which the generator is made anew; five times as many in the warm-up",
        source="paper: 10 epochs, of 2 rounds each, and of 10 in the warm-up",
        ge=1,
    )
    generator_lr: float = SmoothedInversionParams.published(
        "generator_lr",
        4e-3,
        description="Adam learning rate of generator and noisy layers",
    )
    bn_weight: float = SmoothedInversionParams.published("bn_weight", 10.0)
    one_hot: float = SmoothedInversionParams.published("one_hot", 0.5)
    adversarial: float = SmoothedInversionParams.published("adversarial", 1.33)
    warm_up: float = SmoothedInversionParams.published(
        "warm_up", 0.25, "paper: 20 of 320 epochs, which have 200 of the 800 rounds"
    )


class NAYERParams(NAYERTextParams):
    """The same, and where the codes come from."""

    codes: Codes = param(
        "gauss",
        "codes of the classes: drawn once at random, or one-hot",
        source="ours; the paper's ablation has one-hot codes",
    )
    code_dim: int = param(
        512,
        "length of a code",
        source="CLIP ViT-B/32, in the paper",
        ge=1,
        active_when={"codes": ("gauss",)},
    )


class NAYERText(InvertingMethod):
    """NAYER as published: the codes are a text model's embeddings of the class names."""

    name = "nayer-text"
    title = "NAYER (text)"
    paper = "Tran et al., CVPR 2024"
    access = Access.CLASS_TEXT
    Params = NAYERTextParams
    settings = {
        "digits": {"augmentation": "none"},
        "mnist": {"augmentation": "none"},
        "cifar100": {"inner_steps": 40},
    }

    @classmethod
    def schedule_of(cls, params: MethodParams, family: str) -> PaperSchedule | None:
        if family not in ("cifar10", "cifar100"):
            return None
        assert isinstance(params, NAYERTextParams)
        return PaperSchedule(
            "NAYER",
            "released code: a warm-up of 20 epochs of 10 batches, then 300 epochs of 2 batches and "
            "400 student steps",
            synthesis_steps=(20 * 10 + 300 * 2) * params.inner_steps,
            synthesis_batch=400,
            images=0,
            student_steps=300 * 400,
            student_batch=512,
            student_optimizer="sgd",
            student_lr=0.2,
            student_weight_decay=1e-4,
            student_schedule="cosine",
        )

    def supports(self, problem: Problem) -> str | None:
        if problem.task_type == "segmentation":
            return "its codes are of classes, and a map of labels has no class of its own"
        if self.access and not problem.has(self.access):
            return "there are no embeddings of this task's class names; 'nayer' does without"
        return super().supports(problem)

    def game(self, problem: Problem, run: Run) -> Game:
        return NAYERGame(self.params, self.class_codes(problem, run), problem, run)

    def class_codes(self, problem: Problem, run: Run) -> Tensor:
        """A code for every class, K×D, the same in all rounds."""
        return problem.class_text.to(run.device)


class NAYER(NAYERText):
    """NAYER without text: the codes of the classes are drawn at random, or one-hot."""

    name = "nayer"
    title = "NAYER"
    access = DATA_FREE
    Params = NAYERParams

    def class_codes(self, problem: Problem, run: Run) -> Tensor:
        classes = problem.num_classes
        if self.params.codes == "onehot":
            return torch.eye(classes, device=run.device)
        stream = run.stream("class-codes")
        return torch.randn(classes, self.params.code_dim, generator=stream).to(run.device)


class NAYERGame(Game):
    """One turn makes one batch of images."""

    def __init__(self, params: NAYERTextParams, codes: Tensor, problem: Problem, run: Run) -> None:
        self.params, self.codes, self.problem, self.run = params, codes, problem, run
        self.steps = steps_of_a_turn(params.inner_steps, run)
        self.warm_up = params.warm_up
        self.samples: Pool = Pool(problem, run)
        self.inversion = inversion_of(params, problem, run, params.momentum)
        with run.seeded("generator"):
            self.generator = self._another_generator()
        self.age = Age()
        self.draws = run.stream("generator-latents")

    def parts(self) -> dict[str, Part]:
        return {
            "generator": self.generator,
            "age": self.age,
            "pool": self.samples,
            "draws": self.draws,
            **self.inversion.parts(),
        }

    def make(self, student: nn.Module, stage: float) -> Terms:
        p, count = self.params, self.run.budget.synthesis_batch
        warming_up = stage < p.warm_up
        if self.age.rounds >= p.life * (WARM_UP_EPOCH if warming_up else 1):
            self.generator.load_state_dict(self._another_generator().state_dict())
            self.age.rounds = 0
        self.age.rounds += 1
        self.generator.noisy.draw(self.draws)
        labels = target_labels("balanced", count, len(self.codes), self.draws).to(self.run.device)
        optimizer = Adam(self.generator.parameters(), lr=p.generator_lr, betas=BETAS)
        best = BestIterate()
        with self.inversion.turn():
            for _ in range(self.steps):
                with self.run.autocast():
                    images = self.generator(self.codes[labels]).float()
                terms = self.inversion.terms(images, labels, None if warming_up else student)
                best.remember(images, terms["loss"])
                improve(optimizer, terms["loss"])
        self.samples.add(best.images)
        return {name: term.detach() for name, term in terms.items()}

    def _another_generator(self) -> ClassCodeGenerator:
        p = self.params
        count, (classes, code_dim) = self.run.budget.synthesis_batch, self.codes.shape
        noisy = NoisyLayers(code_dim, p.latent_dim, classes, count)
        images = another_pixel_generator(self.problem, self.run, p.latent_dim, p.width)
        return ClassCodeGenerator(noisy, images).to(self.run.device).train()


class Age:
    """How many rounds a generator has been used."""

    rounds = 0

    def state_dict(self) -> dict[str, Any]:
        """The number of rounds."""
        return {"rounds": self.rounds}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Restore ``state``."""
        self.rounds = state["rounds"]
