"""MAD: the student also sees images of the generator's moving average, and forgets less.

Do et al., "Momentum Adversarial Distillation: Handling Large Distribution Shifts in Data-Free
Knowledge Distillation", NeurIPS 2022.

An adversarial generator G changes fast, and the student forgets what it has learnt from G's former
images. A second generator G̃ is the moving average of G; it changes slowly, and costs no memory of
images. In every round,

    G takes one step on    −min(KL(teacher ‖ student), bound)
    G̃ ← m·G̃ + (1−m)·G
    the student learns     KL(teacher ‖ student) on images of G and of G̃, fresh in every step

For data of many classes, G makes images of wanted classes from z + e_y, noise and the learnt code
of class y. Its loss has CE(t(x), y) and a penalty of codes outside the unit ball too, and it is
trained by these two alone before the student begins.

The authors released no code, and what is said of the paper here was read in its abstract and in
summaries of it, not in its text. What none of them tells is taken from ZSKT, an adversarial method
of the same kind, or says that it is ours.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from methods.base.objective import Objective
from methods.base.problem import Problem
from methods.base.run import Run
from methods.base.samples import MixedSource, OnlineSource
from methods.base.states import Part
from methods.losses.adversarial import bounded_disagreement_loss, disagreement_loss
from methods.losses.predictions import label_loss
from methods.networks.generators import Head, UpsamplingGenerator, indivisible
from methods.networks.moving_average import MovingAverage
from methods.networks.summed_codes import SummedCodeGenerator
from methods.objectives.opposing import Opposing
from methods.settings.params import MethodParams, param
from methods.synthesis.generator import (
    BATCH_NORM_EPS,
    ImageGenerator,
    drawing_from,
    seeded_generator,
)
from methods.synthesis.persistent import PersistentGenerator
from methods.synthesis.rounds import AlternatingMethod, Game, Terms

HEAD: Head = "normalized"
"""How the generator's last features become images, as in ZSKT."""

SUM = {"conditioning": ("sum",)}
"""Where images are of wanted classes."""


class MADParams(MethodParams):
    """Hyper-parameters of MAD on small images; few of the paper's constants are known."""

    latent_dim: int = param(100, "length of a latent vector", source="ZSKT", ge=1)
    width: int = param(128, "channels of the generator's first convolution", source="ZSKT", ge=2)
    generator_lr: float = param(
        1e-3,
        "Adam learning rate of the generator, which falls to zero along a cosine",
        source="ZSKT",
        tune="rate",
        gt=0,
    )
    momentum: float = param(
        0.95,
        "momentum m of the generator's moving average",
        source="ours, within the .95 to .999 that summaries of the paper tell of",
        ge=0,
        lt=1,
        needs=("past",),
    )
    past: float = param(
        0.5,
        "share of the student's batch that the moving average draws; 0 is the plain adversarial "
        "game",
        source="ours: both parts of the student's loss count the same",
        ge=0,
        le=1,
    )
    temperature: float = param(
        1.0,
        "temperature τ of both players' KL, without the factor τ²",
        source="ZSKT",
        tune="temperature",
        gt=0,
    )
    bound: float = param(
        1.0,
        "most divergence of an image that the generator gains by, in log K, the divergence of a "
        "student that knows nothing from a teacher that is sure",
        source="ours; the paper has a bound",
        gt=0,
    )
    conditioning: Literal["none", "sum"] = param(
        "none",
        "whether images are of wanted classes: not at all, or by adding a class's learnt code to "
        "the latent vector",
        source="ours; by its abstract, a sum of code and noise works best where classes are many",
    )
    target: float = param(
        1.0,
        "weight of the cross-entropy with the wanted classes",
        source="ours",
        tune="weight",
        ge=0,
        active_when=SUM,
    )
    code_norm: float = param(
        1.0,
        "weight of the penalty of codes outside the unit ball",
        source="ours",
        tune="weight",
        ge=0,
        active_when=SUM,
    )
    warm_up: float = param(
        0.1,
        "share of the rounds in which the generator is without an opponent, before the student "
        "begins",
        source="ours; the paper trains the generator first",
        ge=0,
        lt=1,
        active_when=SUM,
    )


class MAD(AlternatingMethod):
    """An adversarial generator, and its moving average in the place of a memory."""

    name = "mad"
    title = "MAD"
    paper = "Do et al., NeurIPS 2022"
    Params = MADParams

    def supports(self, problem: Problem) -> str | None:
        if problem.task_type != "classification":
            return "it is a method for classification: it has no published form for label maps"
        return super().supports(problem) or indivisible(
            problem.image_shape, UpsamplingGenerator.FACTOR
        )

    def objective(self, problem: Problem) -> Objective:
        return Opposing(partial(disagreement_loss, temperature=self.params.temperature))

    def game(self, problem: Problem, run: Run) -> Game:
        return MADGame(self.params, problem, run)


class MADGame(PersistentGenerator):
    """One turn takes one step, after which the average follows.

    Attributes:
        average: G̃.
        latents: those of the present step, which say what classes are wanted.
    """

    latents: Tensor

    # As in ZSKT: the student's BatchNorms see the generator's images as they see its own.
    student_mode = "train"

    def __init__(self, params: MADParams, problem: Problem, run: Run) -> None:
        generator = seeded_generator(run, lambda: _generator(params, problem))
        super().__init__(generator, problem, run, rate=params.generator_lr, schedule="cosine")
        self.params = params
        self.average: MovingAverage[ImageGenerator] = MovingAverage(generator, params.momentum)
        follower = self.average.network
        if isinstance(generator, SummedCodeGenerator) and isinstance(follower, SummedCodeGenerator):
            follower.codes = generator.codes  # both read the same codes (Figure 1)
            self.warm_up = params.warm_up
        past = OnlineSource(drawing_from(follower, "train", run), self.count)
        self.samples = MixedSource(past, self.samples, params.past)

    def parts(self) -> dict[str, Part]:
        return {**super().parts(), "average": self.average.network}

    def step(self, latents: Tensor, student: nn.Module, stage: float) -> Terms:
        self.latents = latents
        terms = super().step(latents, student, stage)
        self.average.update(self.generator)
        return terms

    def terms(self, images: Tensor, student: nn.Module, stage: float) -> dict[str, Tensor]:
        p = self.params
        logits = self.ask(self.problem.teacher, images)
        weights, terms = {"adversarial": 1.0, "target": p.target, "codes": p.code_norm}, {}
        if stage >= self.warm_up:
            answers = self.ask(student, images)
            terms["adversarial"] = bounded_disagreement_loss(
                answers, logits, p.temperature, p.bound
            )
        if isinstance(self.generator, SummedCodeGenerator):
            terms["target"] = label_loss(logits, self.generator.labels(self.latents))
            terms["codes"] = self.generator.excess_norm()
        total = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
        return {"loss": total, **terms}


def _generator(params: MADParams, problem: Problem) -> UpsamplingGenerator:
    latents, shape, width = params.latent_dim, problem.image_shape, params.width
    if params.conditioning == "sum":
        classes = problem.num_classes
        return SummedCodeGenerator(latents, shape, classes, width, BATCH_NORM_EPS, head=HEAD)
    return UpsamplingGenerator(latents, shape, width, BATCH_NORM_EPS, head=HEAD)
