"""DFAD: student and generator play for the distance of the logits.

Fang et al., "Data-Free Adversarial Distillation", 2019.

The student minimises the mean absolute difference d of its logits to the teacher's, on fresh images
in every step; the generator takes one step a round on −d, or for label maps on −log(d + 1), which
slows it down where the student is far away. The paper's five student steps a round are here as many
as the budget has.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from methods.base.objective import Objective
from methods.base.problem import Problem
from methods.base.run import Run
from methods.losses.adversarial import logit_distance_loss
from methods.networks.generators import TransposedGenerator, UpsamplingGenerator, indivisible
from methods.objectives.opposing import Opposing
from methods.settings.budget import StudentSchedule
from methods.settings.params import MethodParams, param
from methods.settings.schedule import PaperSchedule
from methods.synthesis.generator import BATCH_NORM_EPS, ImageGenerator, seeded_generator
from methods.synthesis.persistent import PersistentGenerator, Schedule
from methods.synthesis.rounds import AlternatingMethod, Game


class DFADParams(MethodParams):
    """Hyper-parameters of DFAD on CIFAR-10 and CIFAR-100."""

    latent_dim: int = param(256, "length of a latent vector", source="released code", ge=1)
    width: int = param(
        128,
        "channels of the generator's first map; for label maps the generator is that of DCGAN",
        source="released code",
        ge=2,
    )
    generator_lr: float = param(
        1e-3, "Adam learning rate of the generator", source="released code", tune="rate", gt=0
    )
    generator_schedule: Schedule = param(
        "fifths",
        "how the generator's learning rate falls over the rounds: not at all, along a cosine, or "
        "to a tenth after each of the first two thirds or fifths",
        source="released commands: after 100 and 200 of 500 epochs",
    )
    generator_loss: Literal["negative", "log"] = param(
        "negative",
        "of the distance d of the logits the generator minimises −d or −log(d + 1)",
        source="released code; the logarithm for label maps",
    )


LABEL_MAPS = {"width": 512, "generator_schedule": "thirds", "generator_loss": "log"}
"""The paper's settings for segmentation, where rates fall after 100 and 200 of 300 epochs."""


def _released(
    epochs: int, batch: int, rate: float, decay: float, falls: StudentSchedule
) -> PaperSchedule:
    """Epochs of 50 rounds, each of 1 generator step and 5 student steps."""
    rounds = 50 * epochs
    return PaperSchedule(
        "DFAD",
        f"released commands: {epochs} epochs of 50 rounds of 1 generator step and 5 student steps",
        synthesis_steps=rounds,
        synthesis_batch=batch,
        images=0,
        student_steps=5 * rounds,
        student_batch=batch,
        student_optimizer="sgd",
        student_lr=rate,
        student_weight_decay=decay,
        student_schedule=falls,
    )


class DFAD(AlternatingMethod):
    """An adversarial generator without memory, and no loss but the distance of the logits."""

    name = "dfad"
    title = "DFAD"
    paper = "Fang et al., 2019"
    Params = DFADParams
    settings = {
        "mnist": {"latent_dim": 100, "generator_schedule": "constant"},
        "camvid": LABEL_MAPS,
        "voc2012": LABEL_MAPS,
    }
    schedules = {
        "mnist": _released(40, 512, 0.01, 1e-4, "constant"),
        "cifar10": _released(500, 256, 0.1, 5e-4, "fifths"),
        "cifar100": _released(500, 256, 0.1, 5e-4, "fifths"),
        "camvid": _released(300, 64, 0.1, 5e-4, "thirds"),
    }

    def supports(self, problem: Problem) -> str | None:
        factor = _kind_of_generator(problem).FACTOR
        return super().supports(problem) or indivisible(problem.image_shape, factor)

    def objective(self, problem: Problem) -> Objective:
        return Opposing(logit_distance_loss)

    def game(self, problem: Problem, run: Run) -> Game:
        return DFADGame(self.params, problem, run)


class DFADGame(PersistentGenerator):
    """One turn takes one step."""

    # As released: the student's BatchNorms see the generator's images as they see its own.
    student_mode = "train"

    def __init__(self, params: DFADParams, problem: Problem, run: Run) -> None:
        generator = seeded_generator(run, lambda: _generator(params, problem))
        rate, schedule = params.generator_lr, params.generator_schedule
        super().__init__(generator, problem, run, rate=rate, schedule=schedule)
        self.form = params.generator_loss

    def terms(self, images: Tensor, student: nn.Module, stage: float) -> dict[str, Tensor]:
        logits = self.ask(self.problem.teacher, images)
        return {"loss": logit_distance_loss(self.ask(student, images), logits, self.form)}


def _kind_of_generator(problem: Problem) -> type[ImageGenerator]:
    return TransposedGenerator if problem.task_type == "segmentation" else UpsamplingGenerator


def _generator(params: DFADParams, problem: Problem) -> ImageGenerator:
    latents, shape, width = params.latent_dim, problem.image_shape, params.width
    if _kind_of_generator(problem) is TransposedGenerator:
        of_input = (problem.normalization.mean, problem.normalization.std)
        return TransposedGenerator(latents, shape, width, normalization=of_input)
    return UpsamplingGenerator(latents, shape, width, BATCH_NORM_EPS, head="tanh-normalized")
