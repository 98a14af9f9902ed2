"""Training an image generator against the teacher, and drawing from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from methods.acceleration.cuda_graphs import Replayed
from methods.acceleration.optimizers import Adam, improve
from methods.base.problem import Problem
from methods.base.run import Run
from methods.base.samples import Draw
from methods.base.states import Part
from methods.networks.generators import (
    LEGACY_BATCH_NORM_EPS,
    TransposedGenerator,
    UpsamplingGenerator,
)
from methods.settings.params import MethodParams, param

ImageGenerator = UpsamplingGenerator | TransposedGenerator
"""A generator whose images, made from latents of length ``latent_dim``, are inputs of a teacher."""

BATCH_NORM_EPS = 1e-5
"""eps of BatchNorm as torch has it."""


class GeneratedBatch(NamedTuple):
    """A generator's batch, with the teacher's features and logits; all in float32."""

    latents: Tensor
    images: Tensor
    features: Tensor
    logits: Tensor


class GeneratorParams(MethodParams):
    """Hyper-parameters of every method with the upsampling generator."""

    latent_dim: int = param(100, "length of a latent vector", source="RDSKD and DAFL, MNIST", ge=1)
    generator_width: int = param(
        128,
        "channels of the generator's first convolution",
        source="released DAFL and RDSKD code",
        ge=2,
    )
    batch_norm_eps: float = param(
        LEGACY_BATCH_NORM_EPS,
        "eps of the generator's middle BatchNorms; 0.8 is the slip every published number has",
        source="released DAFL and RDSKD code",
        gt=0,
    )


Network = TypeVar("Network", bound=nn.Module)


def seeded_generator(run: Run, make: Callable[[], Network]) -> Network:
    """The generator that ``make`` makes, initialised from the run's seed, on its device."""
    with run.seeded("generator"):
        generator = make()
    return generator.to(run.device).to(memory_format=torch.channels_last)


def build_generator(params: GeneratorParams, problem: Problem, run: Run) -> UpsamplingGenerator:
    """The published generator, initialised from the run's seed."""
    return seeded_generator(
        run,
        lambda: UpsamplingGenerator(
            params.latent_dim, problem.image_shape, params.generator_width, params.batch_norm_eps
        ),
    )


def pixel_generator(problem: Problem, run: Run, latent_dim: int, width: int) -> UpsamplingGenerator:
    """The generator of CMI and what followed it: its output are pixels, normalised as real ones."""
    with run.seeded("generator"):
        return another_pixel_generator(problem, run, latent_dim, width)


def another_pixel_generator(
    problem: Problem, run: Run, latent_dim: int, width: int
) -> UpsamplingGenerator:
    """A pixel generator from the present state of torch's random numbers: never the same twice.

    For methods that begin with a new one again and again. It is initialised on the CPU, so that it
    is the same on every device.
    """
    normalization = problem.normalization
    generator = UpsamplingGenerator(
        latent_dim,
        problem.image_shape,
        width,
        BATCH_NORM_EPS,
        head="pixels",
        bias=False,
        normalization=(normalization.mean, normalization.std),
    )
    return generator.to(run.device).to(memory_format=torch.channels_last)


def draw_latents(count: int, latent_dim: int, stream: torch.Generator, run: Run) -> Tensor:
    """Standard normal latents, B×Z, drawn on the CPU so that they are the same on every device."""
    on_gpu = run.device.type == "cuda"  # pinned memory is copied without waiting for the GPU
    latents = torch.randn(count, latent_dim, generator=stream, pin_memory=on_gpu)
    return latents.to(run.device, non_blocking=on_gpu)


def generate(
    generator: UpsamplingGenerator, problem: Problem, latents: Tensor, run: Run
) -> GeneratedBatch:
    """Images of ``latents`` and the teacher's features and logits, with gradients."""
    with run.autocast():
        images = generator(latents)
        features = problem.teacher.forward_features(images)
        pooled = problem.teacher.forward_head(features, pre_logits=True)
        logits = problem.teacher.forward_head(features)
    run.ledger.synthetic_images += len(latents)
    return GeneratedBatch(latents, images.float(), pooled.float(), logits.float())


def train_generator(
    problem: Problem,
    run: Run,
    generator: UpsamplingGenerator,
    learning_rate: float,
    loss: Callable[[GeneratedBatch], dict[str, Tensor]],
    parts: Mapping[str, Part] | None = None,
    *,
    after: Callable[[Mapping[str, Tensor], int], None] = lambda terms, step: None,
    replay: bool = False,
) -> None:
    """Minimise ``loss`` over the generator for the budget's synthesis steps, with Adam.

    Args:
        problem: gives the teacher.
        run: budget, random streams, logging.
        generator: the generator, trained in place.
        learning_rate: learning rate of Adam.
        loss: takes a batch and returns named terms, ``loss`` (their total, with gradient) first.
        parts: what ``loss`` and ``after`` change, as parts for `Run.steps`.
        after: called after every step with its detached terms and its number.
        replay: whether a GPU may record a step and replay it
            (`methods.acceleration.cuda_graphs`). ``loss`` is then called in the first steps only,
            and so must do nothing but compute with the batch and with tensors that ``after``
            changes in place.

    Raises:
        Diverged: when a term is NaN or infinite.
        Stopped: after a step, when the run was asked to stop.
    """
    budget = run.budget
    stream = run.stream("generator-latents")
    optimizer = Adam(
        generator.parameters(), lr=learning_rate, fused=True, capturable=run.device.type == "cuda"
    )
    generator.train()
    steps = run.steps(
        "synthesis",
        budget.synthesis_steps,
        generator=generator,
        optimizer=optimizer,
        latents=stream,
        **(parts or {}),
    )

    def turn(latents: Tensor) -> dict[str, Tensor]:
        terms = loss(generate(generator, problem, latents, run))
        improve(optimizer, terms["loss"])
        return {name: term.detach() for name, term in terms.items()}

    take_turn = Replayed(turn, run.device, counters=run.ledger, replay=replay)
    for step in steps:
        latents = draw_latents(budget.synthesis_batch, generator.latent_dim, stream, run)
        terms = take_turn(latents)
        after(terms, step)
        run.log("synthesis", step, budget.synthesis_steps, **terms)


def drawing_from(generator: ImageGenerator, mode: Literal["train", "eval"], run: Run) -> Draw:
    """A function that draws images, with the generator's BatchNorms in the given mode."""

    @torch.no_grad()
    def images(latents: Tensor) -> dict[str, Tensor]:
        with run.autocast():
            return {"images": generator(latents).float()}

    of_latents = Replayed(images, run.device)

    def draw(count: int, stream: torch.Generator) -> Tensor:
        generator.train(mode == "train")
        return of_latents(draw_latents(count, generator.latent_dim, stream, run))["images"]

    return draw
