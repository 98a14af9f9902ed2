"""Activation records: what the owner of a teacher may ship instead of the training data.

Lopes, Fenu and Starner, "Data-Free Knowledge Distillation for Deep Neural Networks", 2017. The
records are statistics of the pre-ReLU activations by class: a Gaussian for every layer, and a
Gaussian of the leading graph-spectral coefficients for all layers jointly and for every pair of
consecutive layers. They are computed in float64 and rounded to float16, whose error of 0.05 % is
far below that of a mean over some thousand images. Very large or very small values, which float16
would change by more, are rounded to float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

FORMAT = 2
"""Raised when the same tensors start to mean something else."""

HALF_ERROR = 2**-11
"""Relative error of float16 in its normal range, from 6e-5 to 65,504."""

TEMPERATURE = 8.0
"""Divisor of the logits before they are recorded (released code)."""

GRAPH_UNITS = 1024
"""Most units of a graph over all layers, unless there are more classes and layers than this."""


@dataclass(frozen=True)
class LayerRecord:
    """Pre-ReLU activations of one layer by class, K classes and U units, float32.

    Attributes:
        name: of the module, or ``logits`` for the logits over `TEMPERATURE`.
        mean: K×U.
        std: K×U.
        covariance: K×U×U, or None for a layer above the limit.
    """

    name: str
    mean: Tensor
    std: Tensor
    covariance: Tensor | None


@dataclass(frozen=True)
class GraphRecord:
    """A graph over the units of some layers, and the spectral coefficients by class.

    The vertices are units, the weight of an edge is the correlation of its two ends over the whole
    training set, and activations are a signal on the graph.

    Attributes:
        layers: positions of the layers in the records.
        center: U, mean of every unit over the training set.
        scale: U, its standard deviation (1 where it is all but constant).
        basis: U×D, orthonormal: the leading eigenvectors of the correlations.
        mean: K×D, mean coefficients of a class.
        covariance: K×D×D, their covariance.
    """

    layers: tuple[int, ...]
    center: Tensor
    scale: Tensor
    basis: Tensor
    mean: Tensor
    covariance: Tensor

    def coefficients(self, units: Sequence[Tensor]) -> Tensor:
        """Spectral coefficients, B×D, of all layers' `ActivationRecords.graph_units`."""
        signal = torch.cat([units[layer] for layer in self.layers], dim=1)
        standard = (signal - self.center.to(signal)) / self.scale.to(signal)
        return standard @ self.basis.to(signal)


@dataclass(frozen=True)
class ActivationRecords:
    """All records of a teacher; layers in the order of the forward pass, the logits last."""

    layers: tuple[LayerRecord, ...]
    joint: GraphRecord
    pairs: tuple[GraphRecord, ...]

    @property
    def hidden(self) -> list[str]:
        """Names of the hidden modules; the logits need no hook."""
        return [layer.name for layer in self.layers[:-1]]

    def to_tensors(self) -> dict[str, Tensor]:
        """The records as named tensors, for a file."""
        tensors = {}
        for i, layer in enumerate(self.layers):
            for kind in ("mean", "std", "covariance"):
                if (value := getattr(layer, kind)) is not None:
                    tensors[f"layers/{i}/{kind}/{layer.name}"] = _halved(value)
        for i, graph in enumerate((self.joint, *self.pairs)):
            for kind in ("center", "scale", "basis", "mean", "covariance"):
                tensors[f"graphs/{i}/{kind}"] = _halved(getattr(graph, kind))
        return tensors

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> ActivationRecords:
        """The records that `to_tensors` wrote.

        Raises:
            KeyError: when something is missing.
        """
        wide = {key: tensor.float() for key, tensor in tensors.items()}
        keys = sorted(
            (int(parts[1]), parts[3])
            for parts in (key.split("/", 3) for key in wide)
            if parts[0] == "layers" and parts[2] == "mean"
        )
        layers = tuple(
            LayerRecord(
                name,
                wide[f"layers/{i}/mean/{name}"],
                wide[f"layers/{i}/std/{name}"],
                wide.get(f"layers/{i}/covariance/{name}"),
            )
            for i, name in keys
        )
        graphs = [
            GraphRecord(
                among,
                *(
                    wide[f"graphs/{i}/{kind}"]
                    for kind in ("center", "scale", "basis", "mean", "covariance")
                ),
            )
            for i, among in enumerate(graphs_among(len(layers)))
        ]
        return cls(layers, graphs[0], tuple(graphs[1:]))

    def graph_units(self, activations: Sequence[Tensor]) -> list[Tensor]:
        """The units, B×U, that each layer has in the graphs, from its activations, B×C(×H×W).

        Raises:
            ValueError: when the graphs were made of other units.
        """
        units = graph_units_of(activations, [layer.covariance is None for layer in self.layers])
        if (found := sum(values.shape[1] for values in units)) != len(self.joint.center):
            raise ValueError(
                f"the graphs of these activation records have {len(self.joint.center)} units where "
                f"there should be {found}: an older version averaged the logits of many classes; "
                "remove the teacher's metadata file, so that they are collected again"
            )
        return units


def _halved(tensor: Tensor) -> Tensor:
    """A tensor in float16 if that changes no row by more than `HALF_ERROR`, else in float32.

    The change of a row is relative, in the ℓ1 norm, because single values of it may be negligible.
    In centers and scales, by which units are divided, every value counts as a row.
    """
    half, exact = tensor.half(), tensor.double()
    error = half.double() - exact
    if tensor.dim() == 1:
        exact, error = exact[:, None], error[:, None]
    kept = error.abs().sum(-1) <= HALF_ERROR * exact.abs().sum(-1)
    return half if kept.all() else tensor.float()


def graphs_among(layers: int) -> list[tuple[int, ...]]:
    """The layers of each graph: all layers first, then the consecutive pairs."""
    return [tuple(range(layers)), *((i, i + 1) for i in range(layers - 1))]


def graph_units_of(activations: Sequence[Tensor], large: Sequence[bool]) -> list[Tensor]:
    """The units of a graph: small layers as they are, large ones by channel (mean over space).

    Where these are too many in all, neighbouring units of a hidden layer are averaged. Logits never
    are, because the mean of two classes tells nothing about either; the hidden layers share the
    number of units that the logits leave.
    """
    *hidden, logits = activations
    share = GRAPH_UNITS // len(activations)
    if hidden:
        share = max(1, min(share, (GRAPH_UNITS - logits.shape[1]) // len(hidden)))
    units = []
    for values, by_channel in zip(hidden, large[:-1], strict=True):
        kept = values.flatten(1)
        if by_channel and values.dim() > 2:
            kept = values.flatten(2).mean(2)
        units.append(F.adaptive_avg_pool1d(kept, share) if kept.shape[1] > share else kept)
    return [*units, logits]
