"""SpaceshipNet: images of exchanged features, and a student that looks where its teacher looks.

Yu et al., "Data-Free Knowledge Distillation via Feature Exchange and Activation Region
Constraint", CVPR 2023.

In every round, (1) the generator, which goes on from round to round, takes some steps with one
batch of latents on λ_bn·L_bn + λ_oh·CE(t(x), y), without an opponent; (2) the features of the best
images behind each of its three hidden layers join a growing pool. (3) For every batch of the
student a layer is chosen, and the rest of the present generator makes images of its features, most
often after every two images have exchanged random channels. The student minimises

    τ²·KL(teacher ‖ student)/K + λ_c·MSE(class activation maps) + λ_g·Σ_l MSE(Grad-CAMs of stage l)

The last two are the paper's multi-scale spatial activation region consistency. Class activation
maps are W·F of the last features F, with the classifier's weights W as constants, for all classes;
Grad-CAMs are of the teacher's arg-max class, with the mean gradients as constants. The KL is
divided by the number of classes K, as released.
"""

from __future__ import annotations

from torch import nn

from methods.acceleration.optimizers import Adam, improve
from methods.base.objective import Objective
from methods.base.problem import Problem
from methods.base.run import Run
from methods.base.samples import SampleSource
from methods.base.states import Part
from methods.networks.activation_maps import unlike_regions
from methods.networks.decoding_generator import DecodingGenerator
from methods.networks.generators import indivisible
from methods.objectives.activation_regions import ActivationRegions, ClassMeanDistillation
from methods.settings.params import MethodParams, param
from methods.settings.schedule import PaperSchedule
from methods.synthesis.augmentation import Augmentation, augmented, unsuitable
from methods.synthesis.feature_pool import FeaturePool
from methods.synthesis.generator import draw_latents, seeded_generator
from methods.synthesis.inversion import BestIterate, Inversion, target_labels
from methods.synthesis.inverting import BETAS, InversionParams
from methods.synthesis.rounds import AlternatingMethod, Game, Terms, steps_of_a_turn
from methods.synthesis.statistics_matching import refuse_without_batch_norm


class SpaceshipParams(MethodParams):
    """Hyper-parameters of SpaceshipNet, the same on CIFAR-10 and CIFAR-100."""

    inner_steps: int = InversionParams.published("inner_steps", 200)
    latent_dim: int = InversionParams.published("latent_dim", 256)
    width: int = InversionParams.published("width", 128)
    generator_lr: float = InversionParams.published("generator_lr", 1e-3)
    bn_weight: float = InversionParams.published("bn_weight", 1.0)
    one_hot: float = InversionParams.published("one_hot", 0.5)
    exchange: float = param(
        0.7,
        "share of the student's batches whose images exchange half of their channels",
        source="released code",
        ge=0,
        le=1,
    )
    cam: float = param(
        1.0,
        "weight λ_c of the class activation maps; 0 leaves them out, which networks need whose "
        "logits are not linear in the last features",
        source="released code",
        tune="weight",
        ge=0,
    )
    grad_cam: float = param(
        1.0,
        "weight λ_g of the Grad-CAMs of every stage; 0 leaves them out, which networks with unlike "
        "stages need, and saves a backward pass through both networks",
        source="released code",
        tune="weight",
        ge=0,
    )
    augmentation: Augmentation = InversionParams.published("augmentation", "crop-flip")
    temperature: float = InversionParams.published("temperature", 30.0)


ROUNDS = 200
"""Epochs of the released code, each of which adds one batch of features."""


class SpaceshipNet(AlternatingMethod):
    """A pool of features that are exchanged; attention to the teacher's activation regions."""

    name = "spaceship"
    title = "SpaceshipNet"
    paper = "Yu et al., CVPR 2023"
    Params = SpaceshipParams
    settings = {
        "digits": {"augmentation": "none"},
        "mnist": {"augmentation": "none"},
    }

    @classmethod
    def schedule_of(cls, params: MethodParams, family: str) -> PaperSchedule | None:
        if family not in ("cifar10", "cifar100"):
            return None
        assert isinstance(params, SpaceshipParams)
        return PaperSchedule(
            "SpaceshipNet",
            "released code: 200 epochs of one batch of features and 2,000 student steps",
            synthesis_steps=ROUNDS * params.inner_steps,
            synthesis_batch=256,
            images=0,
            student_steps=ROUNDS * 2000,
            student_batch=256,
            student_optimizer="sgd",
            student_lr=0.1,
            student_weight_decay=1e-4,
            student_schedule="cosine",
        )

    def supports(self, problem: Problem) -> str | None:
        p = self.params
        if problem.task_type != "classification":
            return "it is a method for classification: it has no published form for label maps"
        return (
            super().supports(problem)
            or indivisible(problem.image_shape, DecodingGenerator.FACTOR)
            or refuse_without_batch_norm(problem.teacher.network, p.bn_weight, "bn_weight")
            or unsuitable(p.augmentation, problem)
            or self._refuse_regions(problem)
        )

    def _refuse_regions(self, problem: Problem) -> str | None:
        p = self.params
        if not (p.cam or p.grad_cam):
            return None
        if self.transfer is not None:
            return (
                f"it compares activation regions itself, which objective '{self.transfer.name}' "
                "cannot be added to; cam=0 and grad_cam=0 do without"
            )
        return unlike_regions(
            problem.teacher.network,
            problem.make_student(),
            problem.image_shape,
            of_classes=p.cam > 0,
            of_stages=p.grad_cam > 0,
        )

    def objective(self, problem: Problem) -> Objective:
        p = self.params
        own = ClassMeanDistillation(p.temperature)
        return ActivationRegions(own, p.cam, p.grad_cam) if p.cam or p.grad_cam else own

    def student_samples(self, problem: Problem, samples: SampleSource, run: Run) -> SampleSource:
        return augmented(samples, self.params.augmentation, problem, run)

    def game(self, problem: Problem, run: Run) -> Game:
        return SpaceshipGame(self.params, problem, run)


class SpaceshipGame(Game):
    """One turn adds the features of one batch of images."""

    def __init__(self, params: SpaceshipParams, problem: Problem, run: Run) -> None:
        self.params, self.problem, self.run = params, problem, run
        self.steps = steps_of_a_turn(params.inner_steps, run)
        normalization = problem.normalization
        self.generator = seeded_generator(
            run,
            lambda: DecodingGenerator(
                params.latent_dim,
                problem.image_shape,
                params.width,
                normalization=(normalization.mean, normalization.std),
            ),
        )
        self.samples: FeaturePool = FeaturePool(self.generator, params.exchange, run)
        self.inversion = Inversion(
            problem,
            run,
            bn_weight=params.bn_weight,
            one_hot=params.one_hot,
            augmentation=params.augmentation,
        )
        self.draws = run.stream("generator-latents")

    def parts(self) -> dict[str, Part]:
        return {
            "generator": self.generator,
            "pool": self.samples,
            "draws": self.draws,
            **self.inversion.parts(),
        }

    def make(self, student: nn.Module, stage: float) -> Terms:
        p, count = self.params, self.run.budget.synthesis_batch
        latents = draw_latents(count, p.latent_dim, self.draws, self.run)
        labels = target_labels("balanced", count, self.problem.num_classes, self.draws)
        labels = labels.to(self.run.device)
        optimizer = Adam(self.generator.parameters(), lr=p.generator_lr, betas=BETAS)
        best = BestIterate()
        self.generator.train()
        with self.inversion.turn():
            for _ in range(self.steps):
                with self.run.autocast():
                    images, maps = self.generator.with_maps(latents)
                terms = self.inversion.terms(images.float(), labels, None)
                best.remember(images.float(), terms["loss"], *maps)
                improve(optimizer, terms["loss"])
        self.samples.add(best.images, best.others)
        return {name: term.detach() for name, term in terms.items()}
