"""Collecting a teacher's activation records from its training images, in one pass."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from methods.networks.pre_activations import hidden_layers, listening
from methods.synthesis.activation_records import (
    TEMPERATURE,
    ActivationRecords,
    GraphRecord,
    LayerRecord,
    graph_units_of,
    graphs_among,
)

COVARIANCE_LIMIT = 256
"""Larger layers, by units, keep standard deviations only, and enter graphs by their channels."""

DEAD = 1e-4
"""A unit whose standard deviation is below this share of the largest counts as constant."""

ENERGY = 0.9
"""Share of a graph's variance that the kept eigenvectors explain."""


@torch.no_grad()
def collect_records(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    num_classes: int,
    *,
    covariance_limit: int = COVARIANCE_LIMIT,
    energy: float = ENERGY,
    batch: int = 512,
) -> ActivationRecords:
    """Pass the training images through the network once and keep the statistics by class.

    Args:
        network: the teacher, in eval mode.
        images: N×C×H×W, normalised as the network expects.
        labels: N, the true classes or the network's predictions.
        num_classes: K.
        covariance_limit: most units of a layer whose covariance is kept.
        energy: in (0, 1], share of the variance that a graph's basis keeps.
        batch: images per forward pass.

    Raises:
        ValueError: when a class has no image.
    """
    counts = torch.bincount(labels, minlength=num_classes)
    if empty := (counts == 0).nonzero().flatten().tolist():
        raise ValueError(f"no image of class {empty[0]}: its activations cannot be recorded")
    device = next(network.parameters()).device
    names = hidden_layers(network, images[:1].to(device))
    moments: list[ClassMoments] = []
    units: list[Tensor] = []
    done = 0
    with listening(network, names) as heard:
        for part, classes in zip(images.split(batch), labels.split(batch), strict=True):
            logits = network(part.to(device))
            activations = [heard[name] for name in names] + [logits / TEMPERATURE]
            if not moments:
                sizes = [values[0].numel() for values in activations]
                moments = [
                    ClassMoments(num_classes, size, size <= covariance_limit, device)
                    for size in sizes
                ]
            kept = graph_units_of(activations, [moment.second is None for moment in moments])
            if not units:
                # Allocated at once: small tensors between large ones would fragment the memory.
                units = [torch.empty(len(images), values.shape[1]) for values in kept]
            for moment, values in zip(moments, activations, strict=True):
                moment.add(values.flatten(1), classes.to(device))
            for whole, values in zip(units, kept, strict=True):
                whole[done : done + len(part)] = values.cpu()
            done += len(part)
    layers = tuple(
        LayerRecord(name, *moment.statistics())
        for name, moment in zip([*names, "logits"], moments, strict=True)
    )
    graphs = [
        _graph_of(among, units, labels, num_classes, energy) for among in graphs_among(len(layers))
    ]
    # Rounded as in the file, so that fresh and loaded records are the same.
    collected = ActivationRecords(layers, graphs[0], tuple(graphs[1:]))
    return ActivationRecords.from_tensors(collected.to_tensors())


class ClassMoments:
    """Running sums by class, in float64, of activations, their squares and their products."""

    def __init__(
        self,
        num_classes: int,
        units: int,
        covariance: bool,
        device: torch.device | str = "cpu",
    ) -> None:
        def zeros(*size: int) -> Tensor:
            return torch.zeros(size, dtype=torch.float64, device=device)

        self.count = zeros(num_classes)
        self.first, self.squares = zeros(num_classes, units), zeros(num_classes, units)
        self.second = zeros(num_classes, units, units) if covariance else None

    def add(self, values: Tensor, labels: Tensor) -> None:
        """Add B×U activations of images with the given classes."""
        for label in labels.unique().tolist():
            rows = values[labels == label].double()
            self.count[label] += len(rows)
            self.first[label] += rows.sum(0)
            self.squares[label] += rows.square().sum(0)
            if self.second is not None:
                self.second[label].addmm_(rows.t(), rows)

    def statistics(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """Mean, standard deviation and covariance (None if not kept) of each class, on the CPU."""
        mean = self.first / self.count[:, None]
        variance = self.squares / self.count[:, None] - mean.square()
        covariance = None
        if self.second is not None:
            covariance = self.second / self.count[:, None, None]
            covariance -= mean[:, :, None] * mean[:, None, :]
            covariance = covariance.cpu()
        return mean.cpu(), variance.clamp(min=0).sqrt().cpu(), covariance


def _graph_of(
    among: tuple[int, ...], units: list[Tensor], labels: Tensor, num_classes: int, energy: float
) -> GraphRecord:
    signal = torch.cat([units[layer] for layer in among], dim=1).double()
    center, scale = signal.mean(0), signal.std(0, correction=0)
    # Float16 would round the scale of a nearly constant unit to zero.
    scale[scale <= DEAD * scale.max()] = 1
    standard = (signal - center) / scale
    values, vectors = torch.linalg.eigh(standard.t() @ standard / len(standard))
    variance = values.flip(0).clamp(min=0).cumsum(0)
    kept = int((variance < energy * variance[-1]).sum()) + 1
    basis = vectors.flip(1)[:, :kept]
    moments = ClassMoments(num_classes, kept, covariance=True)
    moments.add(standard @ basis, labels)
    mean, _, covariance = moments.statistics()
    assert covariance is not None
    return GraphRecord(among, center, scale, basis, mean, covariance)
