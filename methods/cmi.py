"""CMI: images that the teacher can tell apart, from each other and from all those before.

Fang et al., "Contrastive Model Inversion for Data-Free Knowledge Distillation", IJCAI 2021.

In every round, (1) a new generator and the latents of one batch are trained together on
λ_bn·L_bn + λ_oh·CE(t(x), y) + λ_adv·L_adv + λ_cr·L_cr, where L_cr asks of a crop of every image,
among all images of the batch and of a memory of earlier ones, which it was cut from; the head that
compares them is trained along and stays; (2) the best images join a growing pool, from which (3)
the student learns with τ²·KL.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from methods.acceleration.optimizers import Adam, improve
from methods.base.problem import Problem
from methods.base.run import Run
from methods.base.states import Part
from methods.networks.generators import dcgan_initialize
from methods.settings.params import MethodParams, param
from methods.settings.schedule import PaperSchedule
from methods.synthesis.augmentation import resized_crop
from methods.synthesis.contrast import Contrast, contrasted_layers
from methods.synthesis.generator import another_pixel_generator, draw_latents
from methods.synthesis.inversion import BestIterate, Labels, target_labels
from methods.synthesis.inverting import BETAS, InversionParams, InvertingMethod, inversion_of
from methods.synthesis.memory import Pool
from methods.synthesis.rounds import Game, Terms, steps_of_a_turn


class CMIParams(InversionParams):
    """Hyper-parameters of CMI that begins with an empty pool, on CIFAR-10."""

    generator_lr: float = InversionParams.published(
        "generator_lr", 1e-3, description="Adam learning rate of generator and latents"
    )
    one_hot: float = InversionParams.published(
        "one_hot", 1.0, "released code; 0.5 where the pool begins with images made before"
    )
    contrast: float = param(
        0.8,
        "weight of the contrastive term",
        source="released code",
        tune="weight",
        gt=0,
    )
    contrast_temperature: float = param(
        0.1,
        "temperature of the contrastive term, whose similarities are cosines",
        source="released code",
        gt=0,
    )
    head_dim: int = param(
        256,
        "length of a projected description of an image",
        source="released code",
        ge=2,
    )
    head_lr: float = param(
        1e-3,
        "Adam learning rate of the projection head",
        source="released code: the generator's",
        tune="rate",
        gt=0,
    )
    bank: int = param(
        40960,
        "earlier images that are remembered by their features",
        source="released code",
        ge=1,
    )
    negatives: int = param(
        4096,
        "remembered images that a step compares with",
        source="released code",
        ge=1,
    )
    labels: Labels = param(
        "random",
        "target classes of a batch: drawn at random, or all equally often",
        source="released code",
    )


class CMI(InvertingMethod):
    """A new generator for every batch; a contrastive memory; a growing pool."""

    name = "cmi"
    title = "CMI"
    paper = "Fang et al., IJCAI 2021"
    Params = CMIParams
    settings = {
        "digits": {"augmentation": "none"},
        "mnist": {"augmentation": "none"},
    }

    @classmethod
    def schedule_of(cls, params: MethodParams, family: str) -> PaperSchedule | None:
        if family != "cifar10":
            return None
        assert isinstance(params, CMIParams)
        return PaperSchedule(
            "CMI",
            "released code, from an empty pool: 200 epochs of one batch of images and 400 student "
            "steps; for WRN-40-2 → WRN-16-1 on CIFAR-10 only",
            synthesis_steps=200 * params.inner_steps,
            synthesis_batch=256,
            images=0,
            student_steps=200 * 400,
            student_batch=128,
            student_optimizer="sgd",
            student_lr=0.1,
            student_weight_decay=1e-4,
            student_schedule="cosine",
        )

    def supports(self, problem: Problem) -> str | None:
        if problem.task_type == "segmentation":
            return "it asks which image a crop was cut from, and is for classification only"
        if not contrasted_layers(problem.teacher.network):
            return "it compares images at BatchNorm layers, and this teacher has none"
        return super().supports(problem)

    def game(self, problem: Problem, run: Run) -> Game:
        return CMIGame(self.params, problem, run)


class CMIGame(Game):
    """One turn makes one batch of images, with a generator that nobody uses again."""

    def __init__(self, params: CMIParams, problem: Problem, run: Run) -> None:
        self.params, self.problem, self.run = params, problem, run
        self.steps = steps_of_a_turn(params.inner_steps, run)
        self.samples: Pool = Pool(problem, run)
        self.inversion = inversion_of(params, problem, run)
        self.draws = run.stream("generator-latents")
        self.crops = run.stream("local-views")
        self.contrast = Contrast(
            problem,
            run,
            temperature=params.contrast_temperature,
            head_dim=params.head_dim,
            head_lr=params.head_lr,
            capacity=params.bank,
            negatives=params.negatives,
        )

    def parts(self) -> dict[str, Part]:
        return {
            "pool": self.samples,
            "draws": self.draws,
            "crops": self.crops,
            **self.inversion.parts(),
            **self.contrast.parts(),
        }

    def make(self, student: nn.Module, stage: float) -> Terms:
        p, count = self.params, self.run.budget.synthesis_batch
        generator = another_pixel_generator(self.problem, self.run, p.latent_dim, p.width)
        generator.apply(dcgan_initialize).train()
        latents = draw_latents(count, p.latent_dim, self.draws, self.run).requires_grad_()
        labels = target_labels(p.labels, count, self.problem.num_classes, self.draws)
        labels = labels.to(self.run.device)
        optimizer = Adam([*generator.parameters(), latents], lr=p.generator_lr, betas=BETAS)
        best = BestIterate()
        with self.inversion.turn(), self.contrast.turn():
            for _ in range(self.steps):
                with self.run.autocast():
                    images = generator(latents).float()
                inversion = self.inversion.terms(images, labels, student)
                whole, local = self.contrast.features(), self._features_of_crops(images)
                contrast = self.contrast.loss(local, whole)
                loss = inversion["loss"] + p.contrast * contrast
                best.remember(images, loss, torch.cat([local, whole], dim=1))
                self.contrast.forget_gradients()
                improve(optimizer, loss)
                self.contrast.step()
        self.samples.add(best.images)
        self.contrast.remember(*best.others)
        terms = {**inversion, "loss": loss, "contrast": contrast}
        return {name: term.detach() for name, term in terms.items()}

    def _features_of_crops(self, images: Tensor) -> Tensor:
        crops = resized_crop(images, self.crops, flip=self.params.augmentation == "crop-flip")
        with self.run.autocast():
            self.problem.teacher(crops)
        return self.contrast.features()
