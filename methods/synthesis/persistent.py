"""A generator that goes on through the whole game, and the images it makes for the student.

In every round it takes one step of Adam on fresh latents. Nothing is remembered: the student learns
from images of the present generator, fresh in every step or the same in all steps of a round.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from methods.acceleration.optimizers import Adam
from methods.base.problem import Problem
from methods.base.run import Run
from methods.base.samples import Batch, Batches, Draw, OnlineSource, SampleSource
from methods.base.states import Part
from methods.synthesis.generator import ImageGenerator, draw_latents, drawing_from
from methods.synthesis.rounds import Game, Terms

Schedule = Literal["constant", "cosine", "thirds", "fifths"]
"""How a learning rate falls in a game: not at all, to zero along a cosine, or to a tenth after each
of the first two thirds or fifths of the rounds."""


def rate_factor(schedule: Schedule, stage: float) -> float:
    """The factor on a learning rate when the share ``stage``, in [0, 1), of a game is over."""
    if schedule == "constant":
        return 1.0
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * stage))
    parts = 3 if schedule == "thirds" else 5
    return float(0.1 ** min(int(parts * stage), 2))


class PersistentGenerator(Game):
    """The game of one generator; a method says what it minimises.

    Args:
        generator: trained in place.
        problem: gives the teacher.
        run: budget, precision and random streams.
        rate: Adam's learning rate.
        betas: Adam's decays.
        schedule: how the learning rate falls.
        max_norm: the norm that gradients are cut to; 0 leaves them.
        drawing: mode of the generator's layers when it makes the student's images.
    """

    def __init__(
        self,
        generator: ImageGenerator,
        problem: Problem,
        run: Run,
        *,
        rate: float,
        betas: tuple[float, float] = (0.9, 0.999),
        schedule: Schedule = "constant",
        max_norm: float = 0.0,
        drawing: Literal["train", "eval"] = "train",
    ) -> None:
        self.generator, self.problem, self.run = generator, problem, run
        self.rate, self.schedule, self.max_norm = rate, schedule, max_norm
        self.optimizer = Adam(generator.parameters(), lr=rate, betas=betas)
        self.draws = run.stream("generator-latents")
        self.draw = drawing_from(generator, drawing, run)
        self.samples = OnlineSource(self.draw, self.count)

    @abstractmethod
    def terms(self, images: Tensor, student: nn.Module, stage: float) -> dict[str, Tensor]:
        """The loss of images, with gradient, and its terms; ``loss``, their sum, comes first.

        Args:
            images: B×C×H×W in the teacher's input space, in float32.
            student: the present student.
            stage: share of the rounds that are over, in [0, 1).
        """

    def make(self, student: nn.Module, stage: float) -> Terms:
        """One step of the generator on fresh latents."""
        return self.step(self.fresh(self.run.budget.synthesis_batch), student, stage)

    def step(self, latents: Tensor, student: nn.Module, stage: float) -> Terms:
        """One step of the generator on the images of given latents, B×Z."""
        self.generator.train()
        with self.run.autocast():
            images = self.generator(latents).float()
        self.count(len(images))
        terms = self.terms(images, student, stage)
        parameters = list(self.generator.parameters())
        self.optimizer.zero_grad()
        # Only the generator's gradients are wanted; those of the student's weights cost as much.
        terms["loss"].backward(inputs=parameters)
        if self.max_norm:
            nn.utils.clip_grad_norm_(parameters, self.max_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * rate_factor(self.schedule, stage)
        self.optimizer.step()
        return {name: term.detach() for name, term in terms.items()}

    def fresh(self, count: int) -> Tensor:
        """Fresh latents, B×Z."""
        return draw_latents(count, self.generator.latent_dim, self.draws, self.run)

    def ask(self, network: nn.Module, images: Tensor) -> Tensor:
        """A network's logits for images, in float32 and with gradient."""
        with self.run.autocast():
            logits: Tensor = network(images)
        return logits.float()

    def count(self, images: int) -> None:
        """Count synthetic images."""
        self.run.ledger.add({"synthetic_images": images})

    def parts(self) -> dict[str, Part]:
        return {"generator": self.generator, "optimizer": self.optimizer, "draws": self.draws}


class HeldBatch(SampleSource):
    """One batch of images, the same until another takes its place.

    A game shows one at the beginning of a round, so that no round needs that of the last.

    Args:
        draw: makes images without gradient, for validation.
    """

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._held: Batch | None = None
        self._teacher: nn.Module | None = None

    def show(self, images: Tensor, teacher_logits: Tensor | None = None) -> None:
        """Hold these images, B×C×H×W, from now on, with the teacher's logits if they are known."""
        self._held = Batch(images, teacher_logits=teacher_logits)

    def label(self, teacher: nn.Module) -> HeldBatch:
        """This source; from now on the teacher is asked once about every batch that is taken."""
        self._teacher = teacher
        return self

    @torch.no_grad()
    def take(self) -> Batch:
        """The batch that is held now.

        Raises:
            ValueError: when none is.
        """
        if self._held is None:
            raise ValueError("there are no images for the student yet: show some first")
        if self._teacher is not None and self._held.teacher_logits is None:
            logits = self._teacher(self._held.images).float()
            self._held = self._held._replace(teacher_logits=logits)
        return self._held

    def batches(self, size: int, stream: torch.Generator) -> Batches:
        """The batch that is held when each is taken; it has the size that it was shown with."""
        return _Held(self)

    def validation(self, count: int, stream: torch.Generator) -> Tensor:
        return self._draw(count, stream)


class _Held(Batches):
    """Batches of a `HeldBatch`, which have no position."""

    def __init__(self, source: HeldBatch) -> None:
        self._source = source

    def __next__(self) -> Batch:
        return self._source.take()

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        pass
