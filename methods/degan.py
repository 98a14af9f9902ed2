"""DeGAN: a GAN on proxy images whose generator also minimises terms of the teacher.

Addepalli et al., "DeGAN: Data-Enriching GAN for Retrieving Representative Samples from a Trained
Classifier", AAAI 2020.

Three players: (1) a discriminator D tells proxy images from generated ones; (2) a generator G
minimises  L_adv + λ_e·mean H(p(x)) + λ_d·Σ p̄ log p̄  against D and the frozen teacher p; (3) the
student is trained on G's images with τ²·KL. Without its two weights it is a plain DCGAN.

For segmentation (Bhogale 2020) p is taken of every pixel, the diversity term may weigh rare classes
more, and the student's batches may hold a share of the proxy images themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.acceleration.cuda_graphs import Replayed
from methods.acceleration.optimizers import Adam, improve
from methods.base.drawn_images import samples_from
from methods.base.method import Method
from methods.base.problem import Access, Problem
from methods.base.run import Run
from methods.base.samples import ImageBank, MixedSource, SampleSource
from methods.losses.predictions import (
    entropy_loss,
    information_entropy_loss,
    weighted_diversity_loss,
)
from methods.networks.generators import DCGANDiscriminator, DCGANGenerator, dcgan_widths
from methods.settings.params import PER_PIXEL, MethodParams, param
from methods.settings.schedule import PaperSchedule
from methods.synthesis.generator import draw_latents
from methods.synthesis.real_images import shuffled_proxies

CAMVID = PaperSchedule(
    "DeGAN for segmentation",
    "paper: 150,000 generator steps, and 120 epochs of the 2,975 proxy images for the student; the "
    "student's batch: released code; its optimiser is not named, and Adam has the paper's rates",
    synthesis_steps=150_000,
    synthesis_batch=16,
    epoch_steps=186,
    images=0,
    student_steps=120 * 186,
    student_batch=16,
    student_optimizer="adam",
    student_lr=1e-3,
    student_weight_decay=5e-4,
    student_schedule="thirds",
)


class DCGANParams(MethodParams):
    """Hyper-parameters of the GAN itself."""

    latent_dim: int = param(100, "length of a latent vector", source="released code", ge=1)
    width: int = param(
        64,
        "channels of the generator's last hidden layer and of the discriminator's first; deeper "
        "layers double it",
        source="released code",
        ge=1,
    )
    learning_rate: float = param(
        2e-4,
        "Adam learning rate of generator and discriminator",
        source="released code",
        tune="rate",
        gt=0,
    )
    beta1: float = param(
        0.5,
        "decay of Adam's first moment, of generator and discriminator",
        source="released code",
        ge=0,
        lt=1,
    )
    temperature: float = param(
        20.0,
        "temperature τ of the student's KD loss",
        source="released code",
        phase="distillation",
        tune="temperature",
        gt=0,
    )
    mix: float = param(
        0.0,
        "share of proxy images in every batch of the student, to the nearest whole image",
        source="DeGAN for segmentation, mixed data: α of α+β = 1",
        phase="distillation",
        ge=0,
        le=1,
        added=True,
    )


class DCGAN(Method):
    """A GAN on the proxy images alone; the teacher only labels its images."""

    name = "dcgan"
    title = "DCGAN"
    paper = "ablation of DeGAN: no teacher in the generator's loss; Radford et al., ICLR 2016"
    access = Access.PROXY_IMAGES
    Params = DCGANParams
    settings = PER_PIXEL
    schedules = {"camvid": CAMVID}

    def teacher_weights(self) -> dict[str, float]:
        """Weights of the teacher's terms in the generator's loss, by name in `TEACHER_TERMS`."""
        return {}

    def student_samples(self, problem: Problem, samples: SampleSource, run: Run) -> SampleSource:
        if not self.params.mix:
            return samples
        return MixedSource(shuffled_proxies(problem, run), samples, self.params.mix)

    def supports(self, problem: Problem) -> str | None:
        try:
            dcgan_widths(problem.image_shape, self.params.width)
        except ValueError as error:
            return str(error)
        return None

    def synthesize(self, problem: Problem, run: Run) -> SampleSource:
        p, shape = self.params, problem.image_shape
        with run.seeded("generator"):
            generator = DCGANGenerator(p.latent_dim, shape, p.width)
        with run.seeded("discriminator"):
            discriminator = DCGANDiscriminator(shape, p.width)
        for network in (generator, discriminator):
            network.to(run.device).to(memory_format=torch.channels_last)
        self._play(generator, discriminator, problem, run)

        @torch.no_grad()
        def images(latents: Tensor) -> dict[str, Tensor]:
            with run.autocast():
                drawn = generator(latents)
            return {"images": teacher_input(drawn.float(), problem)}

        of_latents = Replayed(images, run.device)

        def draw(count: int, stream: torch.Generator) -> Tensor:
            generator.eval()
            return of_latents(draw_latents(count, p.latent_dim, stream, run))["images"]

        return samples_from(draw, run)

    def _play(
        self,
        generator: DCGANGenerator,
        discriminator: DCGANDiscriminator,
        problem: Problem,
        run: Run,
    ) -> None:
        """Train both networks: on every generated batch one step of D, then one of G."""
        steps, batch = run.budget.synthesis_steps, run.budget.synthesis_batch
        latents, choices = run.stream("generator-latents"), run.stream("proxy-batches")
        adam_g, adam_d = self._optimizer(generator), self._optimizer(discriminator)
        weights, proxies = self.teacher_weights(), problem.proxy_images
        if proxies.nbytes <= ImageBank.RESIDENT_LIMIT:
            proxies = proxies.to(run.device)

        def turn(proxy: Tensor, latent: Tensor) -> dict[str, Tensor]:
            real = discriminator_input(proxy, problem)
            with run.autocast():
                fake = generator(latent).float()
                on_real, on_fake = discriminator(real), discriminator(fake.detach())
            discrimination = adversarial_loss(on_real, True) + adversarial_loss(on_fake, False)
            improve(adam_d, discrimination)

            with frozen(discriminator), run.autocast():
                deception = adversarial_loss(discriminator(fake), True)
            terms: dict[str, Tensor] = {}
            if weights:
                with run.autocast():
                    logits = problem.teacher(teacher_input(fake, problem)).float()
                terms = {name: TEACHER_TERMS[name](logits) for name in weights}
            total = sum((weights[name] * term for name, term in terms.items()), deception)
            improve(adam_g, total)
            losses = {"loss": total, "adversarial": deception, "discriminator": discrimination}
            return {name: term.detach() for name, term in {**losses, **terms}.items()}

        take_turn = Replayed(turn, run.device, counters=run.ledger)
        turns = run.steps(
            "synthesis",
            steps,
            generator=generator,
            discriminator=discriminator,
            generator_optimizer=adam_g,
            discriminator_optimizer=adam_d,
            latents=latents,
            choices=choices,
        )
        for step in turns:
            # With replacement, so that a batch may be larger than a small proxy set.
            chosen = torch.randint(len(proxies), (batch,), generator=choices)
            drawn = draw_latents(batch, generator.latent_dim, latents, run)
            losses = take_turn(proxies[chosen.to(proxies.device)].to(run.device), drawn)
            run.ledger.synthetic_images += batch
            run.log("synthesis", step, steps, **losses)

    def _optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        p = self.params
        on_gpu = next(network.parameters()).device.type == "cuda"
        return Adam(
            network.parameters(),
            lr=p.learning_rate,
            betas=(p.beta1, 0.999),
            fused=True,
            capturable=on_gpu,
        )


class DeGANParams(DCGANParams):
    """DeGAN's own hyper-parameters."""

    entropy_weight: float = param(
        0.0,
        "weight λ_e of the mean entropy of the teacher's predictions; 0 switches it off",
        source="released code, CIFAR-10",
        tune="weight",
        ge=0,
    )
    diversity_weight: float = param(
        5.0,
        "weight λ_d of the diversity term; 0 switches it off",
        source="released code, CIFAR-10",
        tune="weight",
        ge=0,
        active_when={"diversity": ("plain", "weighted")},
    )
    diversity: Literal["none", "plain", "weighted"] = param(
        "plain",
        "the diversity term: negative entropy of the mean prediction, or the distance of the "
        "classes' shares from equal ones, weighted for rare classes",
        source="released code; DeGAN for segmentation, Eq. 5",
        needs=("diversity_weight",),
        added=True,
    )


SEGMENTATION = {"temperature": 1.0, "entropy_weight": 10.0, "diversity": "none"}
"""Table 1's row "DeGAN" of the segmentation report, (λ_e, λ_d) = (10, 0)."""


class DeGAN(DCGAN):
    """A GAN on proxy images whose images the teacher is sure about, in all classes."""

    name = "degan"
    title = "DeGAN"
    paper = "Addepalli et al., AAAI 2020"
    Params = DeGANParams
    # Version 1 added 1e-5 to every class's share in the weighted term.
    revised = {"diversity": {"weighted": 2}}
    settings = {"camvid": SEGMENTATION, "voc2012": SEGMENTATION}

    def teacher_weights(self) -> dict[str, float]:
        p = self.params
        weights = {"entropy": p.entropy_weight}
        if p.diversity != "none":
            name = "diversity" if p.diversity == "plain" else "weighted_diversity"
            weights[name] = p.diversity_weight
        return {name: weight for name, weight in weights.items() if weight}


TEACHER_TERMS: dict[str, Callable[[Tensor], Tensor]] = {
    "entropy": entropy_loss,
    "diversity": information_entropy_loss,
    "weighted_diversity": weighted_diversity_loss,
}


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Within the block the parameters of ``network`` get no gradients."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)


def adversarial_loss(logits: Tensor, real: bool) -> Tensor:
    """Binary cross-entropy of a discriminator's logits with one label for all of them, a scalar."""
    wanted = torch.full_like(logits, float(real), dtype=torch.float32)
    return F.binary_cross_entropy_with_logits(logits.float(), wanted)


def teacher_input(images: Tensor, problem: Problem) -> Tensor:
    """Map images in the GAN's [−1, 1] to the teacher's input space.

    The released code's teacher was trained on [−1, 1] itself; this mapping suits any teacher.
    """
    return problem.normalization.normalize((images + 1) / 2)


def discriminator_input(images: Tensor, problem: Problem) -> Tensor:
    """The inverse of `teacher_input`."""
    return 2 * problem.normalization.denormalize(images) - 1
