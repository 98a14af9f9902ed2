"""A term that keeps the images of all batches apart, by the teacher's features of two views."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.acceleration.optimizers import Adam
from methods.base.problem import Problem
from methods.base.run import Run
from methods.base.states import Part
from methods.losses.contrastive import instance_contrast_loss
from methods.networks.batch_norm import batch_norm_layers, watch_instance_means
from methods.networks.inspection import noise

STAGES = ("layer1", "layer2", "layer3", "layer4")
"""The stages of a ResNet, by the names that all common implementations give them."""


def contrasted_layers(network: nn.Module) -> list[nn.Module]:
    """The layers whose inputs describe an image: the stages of a ResNet, BatchNorms elsewhere.

    The BatchNorms of a ResNet have so many channels together that the head would be larger than the
    teacher.
    Source: CMI, as released.
    """
    if all(hasattr(network, name) for name in STAGES):
        return [getattr(network, name) for name in STAGES]
    return list(batch_norm_layers(network))


class FeatureBank:
    """Rows of numbers on the CPU, the newest; first in, first out.

    Args:
        capacity: how many rows are kept.
        stream: chooses the rows that are drawn.
    """

    def __init__(self, capacity: int, stream: torch.Generator) -> None:
        self.capacity = capacity
        self.rows: Tensor | None = None
        self._stream = stream

    def add(self, rows: Tensor) -> None:
        """Add rows, N×D, from any device."""
        rows = rows.detach().cpu()
        kept = rows if self.rows is None else torch.cat([self.rows, rows])
        self.rows = kept[-self.capacity :].clone()

    def draw(self, count: int) -> Tensor | None:
        """``count`` different rows, or all if there are fewer; None of an empty bank."""
        if self.rows is None:
            return None
        return self.rows[torch.randperm(len(self.rows), generator=self._stream)[:count]]

    def state_dict(self) -> dict[str, Any]:
        """The rows, and the stream that draws."""
        return {"rows": self.rows, "stream": self._stream.get_state()}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Restore ``state``."""
        self.rows = state["rows"]
        self._stream.set_state(state["stream"])


class Contrast:
    """The contrastive term of a method, its head and its bank; all live as long as the run.

    An image is described by the means of the teacher's feature maps. The head, two linear layers
    with ReLU between them, maps a description to a point on the unit sphere. The bank keeps the
    descriptions and not the points, which a later head would place elsewhere.

    Args:
        problem: gives the teacher, which is asked once to see how many features it has.
        run: device and random streams.
        temperature: T of the loss.
        head_dim: dimensions of the sphere.
        head_lr: Adam learning rate of the head.
        capacity: images that the bank keeps.
        negatives: images of the bank that a step is compared with.
    """

    def __init__(
        self,
        problem: Problem,
        run: Run,
        *,
        temperature: float,
        head_dim: int,
        head_lr: float,
        capacity: int,
        negatives: int,
    ) -> None:
        self.temperature, self.negatives = temperature, negatives
        self._layers = contrasted_layers(problem.teacher.network)
        with torch.no_grad(), watch_instance_means(self._layers) as means:
            problem.teacher(noise(problem.image_shape).to(run.device))
        features = sum(mean.shape[1] for mean in means)
        with run.seeded("contrast-head"):
            self.head = nn.Sequential(
                nn.Linear(features, features), nn.ReLU(), nn.Linear(features, head_dim)
            ).to(run.device)
        self._optimizer = Adam(self.head.parameters(), lr=head_lr)
        self.bank = FeatureBank(capacity, run.stream("contrast-bank"))
        self._seen: list[Tensor] = []

    def parts(self) -> dict[str, Part]:
        """What turns change and read again."""
        return {"head": self.head, "head_optimizer": self._optimizer, "bank": self.bank}

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Within the block the teacher's features are watched."""
        with watch_instance_means(self._layers) as self._seen:
            yield

    def features(self) -> Tensor:
        """The description of the images of the teacher's last pass, B×F, with gradient."""
        seen = torch.cat(self._seen, dim=1)
        self._seen.clear()
        return seen

    def loss(self, local: Tensor, whole: Tensor) -> Tensor:
        """How badly the images of local views are found among the images, in [0, ∞).

        Gradients reach the local views and the head.

        Args:
            local: B×F, features of a part of each image.
            whole: B×F, features of the whole images.
        """
        remembered = self.bank.draw(self.negatives)
        if remembered is not None:
            of_parts, of_wholes = remembered.to(local.device).chunk(2, dim=1)
            rows = torch.cat([local, of_parts]), torch.cat([whole, of_wholes])
        else:
            rows = local, whole
        anchors, positives = (F.normalize(self.head(part), dim=1) for part in rows)
        return instance_contrast_loss(anchors, positives, self.temperature, len(local))

    def forget_gradients(self) -> None:
        """Before a backward pass."""
        self._optimizer.zero_grad()

    def step(self) -> None:
        """One step of the head, on the gradients of the last backward pass."""
        self._optimizer.step()

    def remember(self, rows: Tensor) -> None:
        """Keep the features of a finished batch, B×2F: those of local views, then of wholes."""
        self.bank.add(rows)
