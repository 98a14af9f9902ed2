"""DFQ: an adversarial generator that is held near the teacher's training data.

Choi et al., "Data-Free Network Quantization with Adversarial Knowledge Distillation", CVPR
Workshops 2020; here the student is a smaller network and not a quantised one.

    max_G min_S  KD(t, s) − α·(λ_bn·L_bn + λ_ie·L_ie + λ_be·L_be)

L_bn: divergence of the BatchNorm statistics from the teacher's, as normal distributions; L_ie:
entropy of single predictions, so that every image has a class; L_be: negative entropy of the mean
prediction, so that classes are balanced. The generator first warms up without the student. The
ten student steps a round of its port are here as many as the budget has, on fresh images, which
the generator makes in eval mode.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from methods.base.problem import Problem
from methods.base.run import Run
from methods.losses.images import gaussian_statistics_loss
from methods.losses.predictions import entropy_loss, information_entropy_loss, kd_loss
from methods.networks.batch_norm import watch_batch_norms
from methods.networks.generators import UpsamplingGenerator, indivisible
from methods.settings.params import PER_PIXEL, MethodParams, param
from methods.settings.schedule import PaperSchedule
from methods.synthesis.generator import BATCH_NORM_EPS, seeded_generator
from methods.synthesis.persistent import PersistentGenerator
from methods.synthesis.rounds import AlternatingMethod, Game
from methods.synthesis.statistics_matching import refuse_without_batch_norm

BETAS = (0.5, 0.999)
"""Adam's decays, in the port."""


class DFQParams(MethodParams):
    """Hyper-parameters of DFQ; the authors released no code, and its constants are a port's."""

    latent_dim: int = param(512, "length of a latent vector", source="unofficial port", ge=1)
    width: int = param(
        128,
        "channels of the generator's first convolution; the port's generator is larger and "
        "doubles three times",
        source="DFAD",
        ge=2,
    )
    generator_lr: float = param(
        1e-3,
        "Adam learning rate of the generator, which falls to zero along a cosine",
        source="unofficial port",
        tune="rate",
        gt=0,
    )
    alpha: float = param(
        0.01,
        "weight α of all that holds the generator near the training data",
        source="unofficial port",
        tune="weight",
        ge=0,
    )
    bn_weight: float = param(
        1.0,
        "weight λ_bn of the BatchNorm statistics",
        source="paper",
        tune="weight",
        ge=0,
        needs=("alpha",),
    )
    instance_entropy: float = param(
        1.0,
        "weight λ_ie of the entropy of single predictions",
        source="paper",
        tune="weight",
        ge=0,
        needs=("alpha",),
    )
    batch_entropy: float = param(
        1.0,
        "weight λ_be of the negative entropy of the mean prediction",
        source="paper",
        tune="weight",
        ge=0,
        needs=("alpha",),
    )
    warm_up: float = param(
        50 / 250,
        "share of the rounds in which the generator is without an opponent",
        source="unofficial port: 50 epochs, then 200",
        ge=0,
        lt=1,
    )
    temperature: float = param(
        1.0,
        "temperature τ of both players' KD loss",
        source="unofficial port",
        tune="temperature",
        gt=0,
    )


PORTED = PaperSchedule(
    "DFQ",
    "unofficial port: 50 epochs of 400 generator steps, then 200 of 400 rounds of 1 generator step "
    "and 10 student steps; its weight decay is not known, and is none",
    synthesis_steps=(50 + 200) * 400,
    synthesis_batch=256,
    images=0,
    student_steps=200 * 400 * 10,
    student_batch=256,
    student_optimizer="sgd",
    student_lr=0.1,
    student_weight_decay=0.0,
    student_schedule="cosine",
)


class DFQ(AlternatingMethod):
    """An adversarial generator without memory, bound to the teacher's statistics and classes."""

    name = "dfq"
    title = "DFQ"
    paper = "Choi et al., CVPRW 2020"
    Params = DFQParams
    settings = PER_PIXEL
    schedules = {"cifar10": PORTED, "cifar100": PORTED}

    def supports(self, problem: Problem) -> str | None:
        p = self.params
        weight = p.alpha * p.bn_weight
        return (
            super().supports(problem)
            or refuse_without_batch_norm(problem.teacher.network, weight, "bn_weight")
            or indivisible(problem.image_shape, UpsamplingGenerator.FACTOR)
        )

    def game(self, problem: Problem, run: Run) -> Game:
        return DFQGame(self.params, problem, run)


class DFQGame(PersistentGenerator):
    """One turn takes one step."""

    def __init__(self, params: DFQParams, problem: Problem, run: Run) -> None:
        generator = seeded_generator(
            run,
            lambda: UpsamplingGenerator(
                params.latent_dim, problem.image_shape, params.width, BATCH_NORM_EPS
            ),
        )
        super().__init__(
            generator,
            problem,
            run,
            rate=params.generator_lr,
            betas=BETAS,
            schedule="cosine",
            drawing="eval",
        )
        self.params, self.warm_up = params, params.warm_up

    def terms(self, images: Tensor, student: nn.Module, stage: float) -> dict[str, Tensor]:
        p = self.params
        with watch_batch_norms(self.problem.teacher.network) as layers:
            logits = self.ask(self.problem.teacher, images)
        weights = {
            "instance_entropy": p.instance_entropy,
            "batch_entropy": p.batch_entropy,
        }
        terms = {
            "instance_entropy": entropy_loss(logits),
            "batch_entropy": information_entropy_loss(logits),
        }
        if p.bn_weight and layers:
            weights["statistics"] = p.bn_weight
            terms["statistics"] = gaussian_statistics_loss(layers)
        total = p.alpha * torch.stack([weights[n] * term for n, term in terms.items()]).sum()
        if stage >= p.warm_up:
            terms["adversarial"] = -kd_loss(self.ask(student, images), logits, p.temperature)
            total = total + terms["adversarial"]
        return {"loss": total, **terms}
