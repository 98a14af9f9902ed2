"""The targets of metadata's images: activations drawn from records, and the distance to them.

Lopes, Fenu and Starner, "Data-Free Knowledge Distillation for Deep Neural Networks", 2017, Sec. 3.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from methods.networks.dropout_filters import DropoutFilters
from methods.synthesis.activation_records import ActivationRecords, GraphRecord, LayerRecord

Sampling = Literal["cholesky", "legacy"]


def rectified_distance(targets: Tensor, activations: Tensor) -> Tensor:
    """mean[(ReLU(a*) − ReLU(a))²] over samples and units: the top-layer objective.

    Args:
        targets: ReLU(a*), B×U.
        activations: a, B×U, before ReLU.
    """
    distance: Tensor = _RectifiedDistance.apply(targets, activations)
    return distance


class _RectifiedDistance(torch.autograd.Function):
    """`rectified_distance` with as few passes over the activations as possible.

    Faster than `mse_loss` on a CPU for memory layouts other than the default.
    """

    @staticmethod
    def forward(ctx: Any, targets: Tensor, activations: Tensor) -> Tensor:
        # Rectified before the cast: under autocast that reads and writes half the memory.
        difference = F.relu(activations).to(targets.dtype).sub_(targets)
        ctx.save_for_backward(difference, activations)
        distance: Tensor = torch.linalg.vector_norm(difference).square() / difference.numel()
        return distance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        difference, activations = ctx.saved_tensors
        scaled = difference * (gradient * (2 / difference.numel()))
        return None, torch.ops.aten.threshold_backward(scaled.to(activations.dtype), activations, 0)


def all_layers_distance(targets: Sequence[Tensor], activations: Sequence[Tensor]) -> Tensor:
    """Σ_l 1/n_l · mean[(ReLU(a*_l) − ReLU(a_l))²], with n_l units in layer l.

    Args:
        targets: ReLU(a*_l) by layer, B×n_l or B×C×H×W.
        activations: a_l by layer, shaped like the targets.
    """
    distances = [
        rectified_distance(wanted, actual) / wanted[0].numel()
        for wanted, actual in zip(targets, activations, strict=True)
    ]
    return torch.stack(distances).sum()


def spectral_distance(targets: Sequence[Tensor], coefficients: Sequence[Tensor]) -> Tensor:
    """Σ_g mean[(c*_g − c_g)²] over the graphs; each counts alike, however many coefficients.

    Args:
        targets: drawn coefficients, B×D_g by graph.
        coefficients: those of the images, B×D_g by graph.
    """
    distances = [F.mse_loss(c, wanted) for wanted, c in zip(targets, coefficients, strict=True)]
    return torch.stack(distances).sum()


class ClassGaussians:
    """A normal distribution for each of K classes, to draw activations from.

    Args:
        record: K×U means, with K×U×U covariances or else K×U standard deviations.
        sampling: ``cholesky`` draws μ + ε·R with RᵀR = Σ, whose covariance is Σ; ``legacy`` draws
            μ + ε·Σ as the released code does, whose covariance is Σ². Without a covariance both
            draw μ + ε∘σ.
    """

    def __init__(self, record: LayerRecord | GraphRecord, sampling: Sampling) -> None:
        self.mean = record.mean
        self.std = record.std if isinstance(record, LayerRecord) else None
        self.spread = record.covariance
        if self.spread is not None and sampling == "cholesky":
            self.spread = cholesky_factor(self.spread)

    def draw(self, labels: Tensor, stream: torch.Generator) -> Tensor:
        """One draw for each label, B×U."""
        noise = torch.randn(len(labels), self.mean.shape[1], generator=stream)
        if self.spread is None:
            assert self.std is not None
            return self.mean[labels] + noise * self.std[labels]
        drawn = self.mean[labels]
        for label in labels.unique():
            own = labels == label
            drawn[own] += noise[own] @ self.spread[label]
        return drawn


def cholesky_factor(covariance: Tensor) -> Tensor:
    """Upper triangular R with RᵀR = Σ, for K×U×U positive semi-definite Σ.

    By eigenvalues and QR, because a unit that never changes makes Σ singular, where Cholesky's own
    algorithm stops.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so that the host of a GPU has no say in the bits
    try:
        values, vectors = torch.linalg.eigh(covariance.double())
        root = values.clamp(min=0).sqrt()[:, :, None] * vectors.mT
        factor: Tensor = torch.linalg.qr(root).R
    finally:
        torch.set_num_threads(threads)
    return factor.float()


class Reconstruction(ABC):
    """Draws target activations for a batch, and measures the distance to them.

    Attributes:
        listens_to: hidden modules whose pre-activations `distance` needs.
        filters: what the teacher's dropout layers silence, drawn anew with the targets; None where
            dropout is off.
    """

    listens_to: Sequence[str] = ()
    filters: DropoutFilters | None = None

    @abstractmethod
    def draw(self, labels: Tensor, stream: torch.Generator) -> list[Tensor]:
        """Targets for a batch of these classes."""

    def laid_out(self, targets: Sequence[Tensor], activations: Sequence[Tensor]) -> list[Tensor]:
        """Targets in the memory layout of the activations they are compared with."""
        return list(targets)

    @abstractmethod
    def distance(self, targets: Sequence[Tensor], activations: Sequence[Tensor]) -> Tensor:
        """The scalar to minimise; activations are the hidden layers' and the scaled logits."""


class TopLayer(Reconstruction):
    """The logits alone."""

    def __init__(self, records: ActivationRecords, sampling: Sampling) -> None:
        self.logits = ClassGaussians(records.layers[-1], sampling)

    def draw(self, labels: Tensor, stream: torch.Generator) -> list[Tensor]:
        return [F.relu(self.logits.draw(labels, stream))]

    def distance(self, targets: Sequence[Tensor], activations: Sequence[Tensor]) -> Tensor:
        return rectified_distance(targets[0], activations[0])


class AllLayers(Reconstruction):
    """Every layer, before its activation function.

    Args:
        records: the activations to draw from.
        sampling: how they are drawn.
        filters: filters of the teacher's dropout layers. They silence what the layers pass on, not
            the activations that are compared, and not the targets.
    """

    def __init__(
        self,
        records: ActivationRecords,
        sampling: Sampling,
        filters: DropoutFilters | None = None,
    ) -> None:
        self.listens_to = records.hidden
        self.filters = filters
        self.layers = [ClassGaussians(layer, sampling) for layer in records.layers]

    def draw(self, labels: Tensor, stream: torch.Generator) -> list[Tensor]:
        targets = [layer.draw(labels, stream) for layer in self.layers]
        if self.filters is not None:
            self.filters.draw(len(labels), stream)
        return [F.relu(target) for target in targets]

    def laid_out(self, targets: Sequence[Tensor], activations: Sequence[Tensor]) -> list[Tensor]:
        return [
            torch.empty_like(actual, dtype=wanted.dtype).copy_(wanted.view_as(actual))
            for wanted, actual in zip(targets, activations, strict=True)
        ]

    def distance(self, targets: Sequence[Tensor], activations: Sequence[Tensor]) -> Tensor:
        return all_layers_distance(targets, activations)


class Spectral(Reconstruction):
    """Coefficients of the activations in the eigenvectors of one or several graphs."""

    def __init__(
        self, records: ActivationRecords, graphs: Sequence[GraphRecord], sampling: Sampling
    ) -> None:
        self.listens_to = records.hidden
        self.records = records
        self.graphs = graphs
        self.gaussians = [ClassGaussians(graph, sampling) for graph in graphs]

    def draw(self, labels: Tensor, stream: torch.Generator) -> list[Tensor]:
        return [gaussian.draw(labels, stream) for gaussian in self.gaussians]

    def distance(self, targets: Sequence[Tensor], activations: Sequence[Tensor]) -> Tensor:
        units = self.records.graph_units([values.float() for values in activations])
        return spectral_distance(targets, [graph.coefficients(units) for graph in self.graphs])
