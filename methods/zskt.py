"""ZSKT: a generator looks for images that the student does not understand, the student learns them.

Micaelli and Storkey, "Zero-shot Knowledge Transfer via Adversarial Belief Matching", NeurIPS 2019.

In every round, (1) the generator takes one step on −KL(teacher ‖ student); (2) with the same
latents it makes one batch anew, and the student takes all its steps on that batch, on
KL(teacher ‖ student) + β·Σ_l attention of the stages l. The released KL is a mean over samples and
classes, to which β belongs. The paper's ten student steps a round are here as many as the budget
has. Its student's gradients are cut to a norm of 5 too, which here belongs to the student's
optimiser and so to the budget.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from methods.base.objective import Objective
from methods.base.problem import Problem
from methods.base.run import Run
from methods.losses.adversarial import disagreement_loss
from methods.networks.generators import UpsamplingGenerator, indivisible
from methods.networks.stages import stages, unlike_stages
from methods.objectives.opposing import Opposing
from methods.objectives.stage_attention import StageAttention
from methods.settings.params import MethodParams, param
from methods.settings.schedule import PaperSchedule
from methods.synthesis.generator import BATCH_NORM_EPS, seeded_generator
from methods.synthesis.persistent import HeldBatch, PersistentGenerator
from methods.synthesis.rounds import AlternatingMethod, Game, Terms

MAX_NORM = 5.0
"""Norm that the generator's gradients are cut to, in the released code."""


class ZSKTParams(MethodParams):
    """Hyper-parameters of ZSKT, the same on SVHN and CIFAR-10."""

    latent_dim: int = param(100, "length of a latent vector", source="released code", ge=1)
    width: int = param(
        128, "channels of the generator's first convolution", source="released code", ge=2
    )
    generator_lr: float = param(
        1e-3,
        "Adam learning rate of the generator, which falls to zero along a cosine",
        source="paper, Section 4",
        tune="rate",
        gt=0,
    )
    attention: float = param(
        250.0,
        "weight β of the attention loss of every stage; 0 leaves attention out, which networks "
        "with unlike stages need",
        source="paper, Section 4",
        tune="weight",
        ge=0,
    )
    temperature: float = param(
        1.0,
        "temperature τ of both players' KL, without the factor τ²",
        source="released code",
        tune="temperature",
        gt=0,
    )


RELEASED = PaperSchedule(
    "ZSKT",
    "paper: 80,000 rounds of 1 generator step and 10 student steps, on SVHN and CIFAR-10",
    synthesis_steps=80_000,
    synthesis_batch=128,
    images=0,
    student_steps=10 * 80_000,
    student_batch=128,
    student_optimizer="adam",
    student_lr=2e-3,
    student_schedule="cosine",
)


class ZSKT(AlternatingMethod):
    """An adversarial generator without memory; a student that learns each batch for a while."""

    name = "zskt"
    title = "ZSKT"
    paper = "Micaelli and Storkey, NeurIPS 2019"
    Params = ZSKTParams
    schedules = {"svhn": RELEASED, "cifar10": RELEASED}

    def supports(self, problem: Problem) -> str | None:
        if problem.task_type != "classification":
            return "it is a method for classification: it has no published form for label maps"
        return (
            super().supports(problem)
            or indivisible(problem.image_shape, UpsamplingGenerator.FACTOR)
            or self._refuse_attention(problem)
        )

    def _refuse_attention(self, problem: Problem) -> str | None:
        if not self.params.attention:
            return None
        if self.transfer is not None:
            return (
                f"it transfers attention itself, which objective '{self.transfer.name}' cannot "
                "be added to; attention=0 does without"
            )
        networks = problem.teacher.network, problem.make_student()
        reason = unlike_stages(*(stages(network, problem.image_shape) for network in networks))
        return reason and f"{reason}; attention=0 does without"

    def objective(self, problem: Problem) -> Objective:
        p = self.params
        belief = partial(disagreement_loss, temperature=p.temperature, reduction="element")
        own = Opposing(belief)
        return StageAttention(own, p.attention) if p.attention else own

    def game(self, problem: Problem, run: Run) -> Game:
        return ZSKTGame(self.params, problem, run)


class ZSKTGame(PersistentGenerator):
    """One turn takes one step, and then makes the images of the student's steps."""

    # As released: the student's BatchNorms see the generator's images as they see its own.
    student_mode = "train"

    def __init__(self, params: ZSKTParams, problem: Problem, run: Run) -> None:
        generator = seeded_generator(
            run,
            lambda: UpsamplingGenerator(
                params.latent_dim,
                problem.image_shape,
                params.width,
                BATCH_NORM_EPS,
                head="normalized",
            ),
        )
        super().__init__(
            generator,
            problem,
            run,
            rate=params.generator_lr,
            schedule="cosine",
            max_norm=MAX_NORM,
        )
        self.temperature = params.temperature
        self.samples: HeldBatch = HeldBatch(self.draw)

    def make(self, student: nn.Module, stage: float) -> Terms:
        budget = self.run.budget
        latents = self.fresh(max(budget.synthesis_batch, budget.student_batch))
        terms = self.step(latents[: budget.synthesis_batch], student, stage)
        self.samples.show(self._images(latents[: budget.student_batch]))
        return terms

    def terms(self, images: Tensor, student: nn.Module, stage: float) -> dict[str, Tensor]:
        logits = self.ask(self.problem.teacher, images)
        answers = self.ask(student, images)
        return {"loss": disagreement_loss(answers, logits, self.temperature, "element")}

    @torch.no_grad()
    def _images(self, latents: Tensor) -> Tensor:
        self.count(len(latents))
        with self.run.autocast():
            images: Tensor = self.generator(latents)
        return images.float()
