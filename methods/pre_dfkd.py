"""PRE-DFKD: a generator that looks for what is new, and a memory that rehearses what was.

Binici et al., "Robust and Resource-Efficient Data-Free Knowledge Distillation by Generative Pseudo
Replay", AAAI 2022.

In every round, (1) the generator takes one step on

    λ_oh·L_oh + λ_ie·L_ie + λ_a·L_a + λ_js·(1 − JS_τ(teacher, student)),

DAFL's three terms and a fourth, by which the images are new to the student; (2) the memory, a
variational autoencoder, learns the present generator's images together with its own of earlier
ones (`methods.synthesis.replay`); (3) the student takes its steps on the mean absolute difference
of the logits, on batches of fresh images and, one in nine, images of the memory.

The memory is 13 million weights for images of 3×32×32 and as many for each of Adam's two moments,
153 MB in all (`ReplayMemory.nbytes`), however long the game is: as much as 50 thousand such images
of 8 bits. Nine tenths of it are linear layers between maps and latents, so that it grows with
``latent_dim``, ``width`` and the number of pixels.

Of the budget's ``synthesis_steps`` those of the memory are part: one asks the teacher for gradients
as one of the generator does. The single step that latents take before an image is recalled is not;
with it the teacher looks no more often at the images than the budget allows all methods.

Where the released loop trains the memory after each of the student's first four steps, on that
step's images, it is trained here before them, on others of the same generator; and where it recalls
new images for every student step, a batch of them is recalled here in every round. The paper's ten
student steps a round are here as many as the budget has.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from methods.base.objective import Objective
from methods.base.problem import Problem
from methods.base.run import Run
from methods.base.samples import MixedSource
from methods.base.states import Part
from methods.losses.adversarial import logit_distance_loss
from methods.losses.features import activation_loss
from methods.losses.predictions import (
    competition_loss,
    information_entropy_loss,
    one_hot_loss,
)
from methods.networks.generators import UpsamplingGenerator, indivisible
from methods.networks.weights import normalize_spectra, uniform_initialize
from methods.objectives.opposing import Opposing
from methods.settings.params import MethodParams, param
from methods.settings.schedule import PaperSchedule
from methods.synthesis.generator import seeded_generator
from methods.synthesis.persistent import PersistentGenerator
from methods.synthesis.replay import BOUND, ReplayMemory
from methods.synthesis.rounds import AlternatingMethod, Game, Terms, steps_of_a_turn

RELEASED = "released code, its defaults"


class PREDFKDParams(MethodParams):
    """Hyper-parameters of PRE-DFKD; the released code has one setting for all data sets."""

    latent_dim: int = param(
        1000, "length of a latent vector, of generator and memory", source=RELEASED, ge=1
    )
    width: int = param(
        128,
        "channels of the widest convolutions of generator and memory",
        source="released code",
        ge=2,
    )
    generator_lr: float = param(
        0.02, "Adam learning rate of the generator", source=RELEASED, tune="rate", gt=0
    )
    one_hot: float = param(
        1.0, "weight λ_oh of the one-hot loss", source=RELEASED, tune="weight", ge=0
    )
    entropy: float = param(
        5.0,
        "weight λ_ie of the information entropy loss",
        source=RELEASED,
        tune="weight",
        ge=0,
    )
    log_base: Literal["e", "10"] = param(
        "10",
        "logarithm of the information entropy loss, to which its weight belongs",
        source="released code",
        needs=("entropy",),
    )
    activation: float = param(
        0.1,
        "weight λ_a of the activation loss, a mean over features; 0 leaves it out",
        source=RELEASED,
        tune="weight",
        ge=0,
    )
    novelty: float = param(
        1.0,
        "weight λ_js of the divergence from the student, a mean over samples and classes; 0 leaves "
        "it out",
        source="released code, where it has no weight",
        tune="weight",
        ge=0,
    )
    temperature: float = param(
        3.0,
        "temperature τ of the divergence from the student",
        source="released code",
        tune="temperature",
        gt=0,
        needs=("novelty",),
    )
    divergence: Literal["exact", "released"] = param(
        "exact",
        "Jensen-Shannon divergence as defined, or with reversed arguments and clamps",
        source="paper; released code",
        needs=("novelty",),
    )
    memory_share: float = param(
        1 / 9,
        "share of the memory's images in a student's batch; 0 is the method without memory",
        source="released code: 128 of 1,152",
        ge=0,
        le=0.9,
    )
    memory_steps: int = param(
        4,
        "steps of the memory in a round, which count as synthesis steps; fewer where the budget "
        "would have less than two rounds",
        source="released code, in a round of ten student steps",
        ge=1,
        needs=("memory_share",),
        inert="a budget of less than six synthesis steps has room for one in a round",
    )
    memory_lr: float = param(
        0.02 / 40,
        "Adam learning rate of the memory's two networks",
        source="released code: a fortieth of the generator's",
        tune="rate",
        gt=0,
        needs=("memory_share",),
    )
    latent_lr: float = param(
        0.02,
        "Adam learning rate of the one step by which latents are refined before an image is "
        "recalled",
        source="released code: the generator's",
        tune="rate",
        gt=0,
        needs=("memory_share",),
    )
    latent_divergence: float = param(
        1e-5,
        "weight of the divergence of the encoder's latents from N(0, 1)",
        source="released code",
        tune="weight",
        ge=0,
        needs=("memory_share",),
    )


def _released(params: PREDFKDParams) -> PaperSchedule:
    """400 epochs of 36 rounds, in each of which generator and memory take their steps."""
    rounds = 400 * 36
    steps = 1 + (params.memory_steps if params.memory_share else 0)
    return PaperSchedule(
        "PRE-DFKD",
        "released code, its defaults: 400 epochs of 36 rounds of 1 generator step, 10 student "
        "steps, and 4 of the memory, which are counted as synthesis steps here",
        synthesis_steps=rounds * steps,
        synthesis_batch=1024,
        images=0,
        student_steps=10 * rounds,
        student_batch=1024 + 128,
        student_optimizer="sgd",
        student_lr=0.1,
        student_weight_decay=5e-4,
        student_schedule="cosine",
    )


class PREDFKD(AlternatingMethod):
    """DAFL's generator against the student, and a variational autoencoder as memory."""

    name = "pre-dfkd"
    title = "PRE-DFKD"
    paper = "Binici et al., AAAI 2022"
    Params = PREDFKDParams

    @classmethod
    def schedule_of(cls, params: MethodParams, family: str) -> PaperSchedule | None:
        assert isinstance(params, PREDFKDParams)
        return _released(params) if family in ("cifar10", "cifar100") else None

    def supports(self, problem: Problem) -> str | None:
        if problem.task_type != "classification":
            return "it is a method for classification: it has no published form for label maps"
        return (
            super().supports(problem)
            or indivisible(problem.image_shape, UpsamplingGenerator.FACTOR)
            or self._refuse_activation(problem)
        )

    def _refuse_activation(self, problem: Problem) -> str | None:
        shows_none = getattr(problem.teacher.network, "num_features", None) == 0
        if not self.params.activation or not shows_none:
            return None
        return (
            "its activation loss needs the features before the classifier, which this teacher does "
            "not show; activation=0 does without"
        )

    def objective(self, problem: Problem) -> Objective:
        return Opposing(logit_distance_loss)

    def game(self, problem: Problem, run: Run) -> Game:
        return PREDFKDGame(self.params, problem, run)


class PREDFKDGame(PersistentGenerator):
    """One turn: a step of the generator, the steps of the memory, and images recalled from it."""

    # As released: the student's BatchNorms see the generator's images as they see its own.
    student_mode = "train"

    def __init__(self, params: PREDFKDParams, problem: Problem, run: Run) -> None:
        self.params = params
        generator = seeded_generator(run, lambda: _generator(params, problem))
        super().__init__(generator, problem, run, rate=params.generator_lr)
        self.log_base = 10.0 if params.log_base == "10" else math.e
        self.memory: ReplayMemory | None = None
        if not params.memory_share:
            return
        self.steps = steps_of_a_turn(1 + params.memory_steps, run)
        self.memory = ReplayMemory(
            problem,
            run,
            latent_dim=params.latent_dim,
            width=params.width,
            rate=params.memory_lr,
            latent_rate=params.latent_lr,
            one_hot=params.one_hot,
            entropy=params.entropy,
            log_base=self.log_base,
            divergence=params.latent_divergence,
        )
        self.samples = MixedSource(self.memory, self.samples, params.memory_share)

    def make(self, student: nn.Module, stage: float) -> Terms:
        terms = {**super().make(student, stage)}
        if self.memory is None:
            return terms
        # As released: half as many images as the generator's batch, and an eighth of the memory's.
        batch = self.run.budget.synthesis_batch
        for _ in range(self.steps - 1):
            images = self.draw(batch // 2, self.draws)
            self.count(len(images))
            terms["memory"] = self.memory.learn(images, own=max(2, batch // 8))
        self.memory.recall(batch)
        return terms

    def terms(self, images: Tensor, student: nn.Module, stage: float) -> dict[str, Tensor]:
        p, teacher = self.params, self.problem.teacher
        with self.run.autocast():
            maps = teacher.forward_features(images)
            features = teacher.forward_head(maps, pre_logits=True).float()
            logits = teacher.forward_head(maps).float()
        terms = {
            "one_hot": one_hot_loss(logits),
            "entropy": information_entropy_loss(logits, self.log_base),
        }
        if p.activation:
            terms["activation"] = activation_loss(features, "mean")
        if p.novelty:
            answers = self.ask(student, images)
            rival = competition_loss(logits.detach(), answers, p.temperature, p.divergence)
            # As released: the divergence is a mean over classes too.
            terms["novelty"] = 1 - (1 - rival) / self.problem.num_classes
        weighted = [getattr(p, name) * term for name, term in terms.items()]
        return {"loss": torch.stack(weighted).sum(), **terms}

    def parts(self) -> dict[str, Part]:
        own = {} if self.memory is None else {"memory": self.memory}
        return {**super().parts(), **own}


def _generator(params: PREDFKDParams, problem: Problem) -> UpsamplingGenerator:
    """DAFL's, whose convolutions have spectral norms."""
    generator = UpsamplingGenerator(params.latent_dim, problem.image_shape, params.width)
    uniform_initialize(generator, BOUND)
    normalize_spectra(generator)
    return generator
