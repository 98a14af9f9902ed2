"""Generative pseudo replay: a memory that is a network, and makes what it was shown anew.

A pool keeps images, and grows; this memory is a variational autoencoder, whose size is that of its
two networks however long the game is. It learns what the game's generator makes now together with
images of its own, which stand for all that it learnt before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.acceleration.optimizers import Adam, improve
from methods.base.problem import Problem
from methods.base.run import Run
from methods.base.samples import Batches, SampleSource
from methods.losses.latents import moment_matching_loss, normal_divergence_loss
from methods.losses.predictions import information_entropy_loss, one_hot_loss
from methods.networks.encoders import VariationalEncoder
from methods.networks.generators import UpsamplingGenerator
from methods.networks.weights import uniform_initialize
from methods.synthesis.generator import draw_latents, drawing_from
from methods.synthesis.memory import RandomBatches

BOUND = 0.08
"""Weights begin in U(−0.08, 0.08), in the released code."""


class ReplayMemory(SampleSource):
    """A variational autoencoder, to whose images the teacher is to answer as to the originals.

    One step of it minimises |x' − x| + |t(x') − t(x)| + κ·KL, of images x, their reconstructions
    x' and the encoder's distributions of latents; the first two are means over all entries.

    An image is *recalled* from a normal latent that takes one step of Adam first, on
    λ_oh·L_oh + λ_ie·L_ie + moments: its batch is to have sure and balanced classes, and still to
    look drawn from N(0, 1).

    The images of the memory count as synthetic ones, reconstructions and those of unrefined latents
    too, and the teacher counts what it is asked. Steps of the memory and of latents are no steps of
    a student; whether they are the generator's is for the game to say.

    As a source of samples it gives the images that were recalled last, at random and with
    replacement. All that it has learnt is its state; a game recalls in every turn, so that no round
    needs the images of the last.

    Source: PRE-DFKD (Binici et al. 2022). In its released code the gradients of the latents' step
    stay in the memory's generator, and its next step takes them with it; here they do not.

    Args:
        problem: gives the teacher.
        run: precision, ledger and random streams.
        latent_dim: length of a latent vector.
        width: channels of the widest convolutions of encoder and decoder.
        rate: Adam's learning rate of both networks.
        latent_rate: Adam's learning rate of latents.
        one_hot: λ_oh, weight of the one-hot loss of recalled images.
        entropy: λ_ie, weight of their information entropy loss.
        log_base: base of its logarithm.
        divergence: κ, weight of the latents' divergence from N(0, 1).
    """

    def __init__(
        self,
        problem: Problem,
        run: Run,
        *,
        latent_dim: int,
        width: int,
        rate: float,
        latent_rate: float,
        one_hot: float,
        entropy: float,
        log_base: float = math.e,
        divergence: float,
    ) -> None:
        self.teacher, self.run = problem.teacher, run
        self.latent_dim, self.latent_rate = latent_dim, latent_rate
        self.one_hot, self.entropy, self.log_base = one_hot, entropy, log_base
        self.divergence = divergence
        with run.seeded("memory"):
            self.encoder = VariationalEncoder(latent_dim, problem.image_shape, width)
            self.decoder = UpsamplingGenerator(latent_dim, problem.image_shape, width)
            for network in (self.encoder, self.decoder):
                uniform_initialize(network, BOUND)
                network.to(run.device).to(memory_format=torch.channels_last)
        self.optimizer = Adam([*self.encoder.parameters(), *self.decoder.parameters()], lr=rate)
        self.latents = run.stream("memory-latents")
        self.steps = 0
        self._draw = drawing_from(self.decoder, "eval", run)
        self._recalled: Tensor | None = None

    def learn(self, images: Tensor, own: int) -> Tensor:
        """One step on images and on as many recalled ones as ``own`` says; the first has none.

        Args:
            images: B×C×H×W in the teacher's input space; no gradient is taken through them.
            own: 2 or more.

        Returns:
            The loss, detached.
        """
        images = images.detach()
        if self.steps:
            images = torch.cat([images, self._refined(own, "train")])
        self.encoder.train()
        self.decoder.train()
        with torch.no_grad():
            targets = self._ask(images)
        with self.run.autocast():
            mean, log_variance = (x.float() for x in self.encoder(images))
        noise = draw_latents(len(images), self.latent_dim, self.latents, self.run)
        again = self._images(mean + (log_variance / 2).exp() * noise)
        loss = (
            F.l1_loss(again, images)
            + F.l1_loss(self._ask(again), targets)
            + self.divergence * normal_divergence_loss(mean, log_variance)
        )
        improve(self.optimizer, loss)
        self.steps += 1
        return loss.detach()

    def recall(self, count: int) -> None:
        """Recall ``count`` images, 2 or more, which batches are drawn from until the next call."""
        self._recalled = self._refined(count, "eval")

    def _refined(self, count: int, mode: Literal["train", "eval"]) -> Tensor:
        """Images of new latents after their step, with the decoder's BatchNorms in a mode."""
        self.decoder.train(mode == "train")
        latents = draw_latents(count, self.latent_dim, self.latents, self.run).requires_grad_()
        logits = self._ask(self._images(latents))
        loss = (
            self.one_hot * one_hot_loss(logits)
            + self.entropy * information_entropy_loss(logits, self.log_base)
            + moment_matching_loss(latents)
        )
        loss.backward(inputs=[latents])
        Adam([latents], lr=self.latent_rate).step()
        with torch.no_grad():
            return self._images(latents)

    def _images(self, latents: Tensor) -> Tensor:
        self.run.ledger.add({"synthetic_images": len(latents)})
        with self.run.autocast():
            images: Tensor = self.decoder(latents)
        return images.float()

    def _ask(self, images: Tensor) -> Tensor:
        with self.run.autocast():
            logits: Tensor = self.teacher(images)
        return logits.float()

    def take(self, chosen: Tensor) -> Tensor:
        """Recalled images, by number."""
        assert self._recalled is not None
        return self._recalled[chosen.to(self._recalled.device)]

    def __len__(self) -> int:
        """Number of images that are recalled now."""
        return 0 if self._recalled is None else len(self._recalled)

    def batches(self, size: int, stream: torch.Generator) -> Batches:
        """Batches of ``size`` images of those that are recalled when each is drawn.

        Raises:
            ValueError: with the first, when none are.
        """
        return RandomBatches(self, size, stream)

    def validation(self, count: int, stream: torch.Generator) -> Tensor:
        """Images of other latents, not refined: looking at them asks the teacher nothing."""
        return self._draw(count, stream)

    @property
    def nbytes(self) -> int:
        """Bytes that are kept from round to round: weights, BatchNorms, and Adam's two moments."""
        weights = (*self.encoder.parameters(), *self.decoder.parameters())
        buffers = (*self.encoder.buffers(), *self.decoder.buffers())
        return 3 * sum(p.nbytes for p in weights) + sum(b.nbytes for b in buffers)

    def state_dict(self) -> dict[str, Any]:
        """Both networks, their optimiser, the stream of latents, and the steps taken."""
        return {
            "encoder": self.encoder.state_dict(),
            "decoder": self.decoder.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "latents": self.latents.get_state(),
            "steps": self.steps,
        }

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Restore ``state``."""
        self.encoder.load_state_dict(state["encoder"])
        self.decoder.load_state_dict(state["decoder"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.latents.set_state(state["latents"])
        self.steps = state["steps"]
