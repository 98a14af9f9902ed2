"""Our steps, and the same steps in a plain eager loop, which are timed side by side.

The plain loop is written the way RDSKD's algorithm reads: float32, default memory layout, layers
one by one, a fresh image for every student step. Both start from the same weights and the same
latents, so that their losses can be compared too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.machine.device import pick_precision
from benchmark.tasks.models.lenet import LeNet5, lenet5, lenet5_half
from methods.base.objective import Distillation
from methods.base.problem import Normalization, Problem
from methods.base.run import Run
from methods.base.samples import ImageBank
from methods.base.student import train_student
from methods.base.teacher import Teacher
from methods.networks.generators import UpsamplingGenerator
from methods.rdskd import RDSKD
from methods.settings.budget import Budget

TEMPERATURE = 10.0


@dataclass(frozen=True)
class Setting:
    """A pair of networks, the generator's latent length, and the batch."""

    teacher: Callable[[], nn.Module]
    student: Callable[[], nn.Module]
    image_shape: tuple[int, int, int]
    latent_dim: int
    batch: int
    device: torch.device

    def problem(self) -> Problem:
        """A problem with an untrained teacher, which is as fast as a trained one."""

        def seeded(build: Callable[[], nn.Module], seed: int) -> nn.Module:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                return build()

        channels = self.image_shape[0]
        return Problem(
            teacher=Teacher(seeded(self.teacher, 0).to(self.device)),
            make_student=lambda: seeded(self.student, 1),
            image_shape=self.image_shape,
            num_classes=10,
            normalization=Normalization((0.0,) * channels, (1.0,) * channels),
        )

    def run(self, steps: int, seed: int = 0) -> Run:
        """A run of so many steps, as the harness sets it up."""
        budget = Budget(
            name="bench",
            synthesis_steps=steps,
            synthesis_batch=self.batch,
            epoch_steps=120,
            images=4,
            validation_images=2,
            student_steps=steps,
            student_batch=self.batch,
            student_optimizer="adam",
            student_lr=2e-3,
            student_schedule="constant",
            evaluations=1,
        )
        return Run(budget, seed, device=self.device, precision=pick_precision(self.device))

    def generator(self) -> UpsamplingGenerator:
        """The published generator, untrained."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2)
            return UpsamplingGenerator(self.latent_dim, self.image_shape).to(self.device)


def mnist(batch: int, device: torch.device) -> Setting:
    """LeNet-5 and LeNet-5-Half, as in RDSKD's first table."""
    return Setting(lenet5, lenet5_half, (1, 32, 32), 100, batch, device)


def our_generator(setting: Setting, steps: int) -> list[float]:
    """The losses of RDSKD's generator phase, as the package makes it."""
    run = setting.run(steps)
    method = RDSKD(RDSKD.build_params({"latent_dim": setting.latent_dim}))
    method.synthesize(setting.problem(), run)
    return run.curves["synthesis/loss"]["value"]


def as_written(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """A network's forward pass layer by layer, without our fast forms."""
    if isinstance(network, UpsamplingGenerator):
        return network.plain
    if isinstance(network, LeNet5):
        return lambda images: network.forward_head(network.plain(images))
    return network


def plain_generator(setting: Setting, steps: int) -> list[float]:
    """The losses of RDSKD's generator phase, step by step as in the paper."""
    run = setting.run(steps)
    teacher = as_written(setting.problem().teacher.network)
    with run.seeded("generator"):
        network = UpsamplingGenerator(setting.latent_dim, setting.image_shape).to(setting.device)
    generator = as_written(network)
    optimizer = torch.optim.Adam(network.parameters(), lr=RDSKD().params.generator_lr)
    stream = run.stream("generator-latents")
    previous = {"oh": 0.0, "ie": 0.0}
    losses = []
    for step in range(steps):
        latents = torch.randn(setting.batch, setting.latent_dim, generator=stream)
        images = generator(latents.to(setting.device))
        logits = teacher(images)
        one_hot = F.cross_entropy(logits, logits.argmax(dim=1))
        probabilities = F.softmax(logits, dim=1)
        mean = probabilities.mean(dim=0)
        entropy = (mean * mean.log()).sum()
        first, second = images.chunk(2)
        p, q = probabilities.chunk(2)
        diversity = 1 / (torch.norm(second - first) / torch.norm(q - p))
        loss = torch.exp(one_hot - previous["oh"]) + torch.exp(entropy - previous["ie"]) + diversity
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step == 1:
            previous = {"oh": one_hot.item(), "ie": entropy.item()}
        losses.append(loss.item())
    return losses


def draw_bank(setting: Setting, batches: int) -> Tensor:
    """Images as a run keeps them for its student, float16 on the CPU."""
    generator = setting.generator().eval()
    stream = torch.Generator().manual_seed(0)
    with torch.no_grad():
        parts = [
            generator(
                torch.randn(setting.batch, setting.latent_dim, generator=stream).to(setting.device)
            )
            for _ in range(batches)
        ]
    return torch.cat([part.cpu().half() for part in parts])


def our_student(setting: Setting, steps: int, bank: Tensor) -> list[float]:
    """The losses of student steps on a bank; the time includes labelling it once."""
    run = setting.run(steps)
    samples = ImageBank(bank, held_out=2, device=setting.device)
    train_student(setting.problem(), samples, Distillation(TEMPERATURE), run)
    return run.curves["distillation/loss"]["value"]


def plain_student(setting: Setting, steps: int, network: nn.Module) -> list[float]:
    """The losses of student steps on fresh images of a generator, as in the paper."""
    posed = setting.problem()
    student_network = posed.make_student().to(setting.device)
    generator, teacher, student = (
        as_written(n) for n in (network, posed.teacher.network, student_network)
    )
    optimizer = torch.optim.Adam(student_network.parameters(), lr=2e-3)
    stream = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(steps):
        with torch.no_grad():
            latents = torch.randn(setting.batch, setting.latent_dim, generator=stream)
            images = generator(latents.to(setting.device))
            targets = F.softmax(teacher(images) / TEMPERATURE, dim=1)
        predicted = F.log_softmax(student(images) / TEMPERATURE, dim=1)
        loss = F.kl_div(predicted, targets, reduction="sum") / setting.batch * TEMPERATURE**2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def student_loss_apart(setting: Setting, bank: Tensor) -> float:
    """The relative difference of our first student loss from the plain formula on that batch."""
    run = setting.run(1)
    posed = setting.problem()
    samples = ImageBank(bank, 2, device=setting.device)
    batch = next(samples.batches(setting.batch, run.stream("student-batches")))
    student = as_written(posed.make_student().to(setting.device))
    with torch.no_grad():
        targets = F.softmax(as_written(posed.teacher.network)(batch.images) / TEMPERATURE, dim=1)
        predicted = F.log_softmax(student(batch.images) / TEMPERATURE, dim=1)
    plain = float(F.kl_div(predicted, targets, reduction="sum")) / setting.batch * TEMPERATURE**2
    return abs(our_student(setting, 1, bank)[0] - plain) / plain
