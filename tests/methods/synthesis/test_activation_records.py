from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor, nn

from methods.synthesis.activation_records import (
    GRAPH_UNITS,
    ActivationRecords,
    _halved,
    graph_units_of,
)
from methods.synthesis.activation_statistics import collect_records
from methods.synthesis.reconstructions import ClassGaussians
from tests.helpers import one_line

Array = np.ndarray
NUM_CLASSES = 3


class Small(nn.Module):
    """conv 1→2, ReLU, linear 5, ReLU, linear 3, on 1×6×6 images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.fc = nn.Linear(32, 5)
        self.classifier = nn.Linear(5, NUM_CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.conv(images)).flatten(1)
        logits: Tensor = self.classifier(F.relu(self.fc(x)))
        return logits


def small_network() -> Small:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Small().double().eval()


def activations_of(network: Small, images: Array) -> list[Array]:
    """N×U pre-ReLU activations by layer, the logits divided by 8, in numpy."""
    p = {name: value.detach().numpy() for name, value in network.named_parameters()}
    windows = sliding_window_view(images[:, 0], (3, 3), axis=(1, 2))
    conv = np.einsum("nhwij,oij->nohw", windows, p["conv.weight"][:, 0])
    flat = (conv + p["conv.bias"][:, None, None]).reshape(len(images), -1)
    fc = np.maximum(flat, 0) @ p["fc.weight"].T + p["fc.bias"]
    logits = np.maximum(fc, 0) @ p["classifier.weight"].T + p["classifier.bias"]
    return [flat, fc, logits / 8]


class Case(NamedTuple):
    """A network, its data, its records and the activations worked out in numpy."""

    network: Small
    images: Tensor
    labels: Tensor
    records: ActivationRecords
    activations: list[Array]


@pytest.fixture(scope="module")
def case() -> Case:
    stream = torch.Generator().manual_seed(1)
    images = 2 * torch.randn(90, 1, 6, 6, generator=stream, dtype=torch.float64)
    labels = torch.randint(0, NUM_CLASSES, (90,), generator=stream)
    images += labels[:, None, None, None]
    network = small_network()
    records = collect_records(network, images, labels, NUM_CLASSES, covariance_limit=20)
    return Case(network, images, labels, records, activations_of(network, images.numpy()))


def close(actual: Tensor, expected: Array, tolerance: float = 2e-3) -> None:
    """Equal but for float16, relative to the largest value."""
    np.testing.assert_allclose(actual.numpy(), expected, atol=tolerance * np.abs(expected).max())


def units_of(case: Case) -> list[Array]:
    """What graphs are made of: the convolution, above the limit, enters by channel."""
    conv, fc, logits = case.activations
    return [conv.reshape(-1, 2, 16).mean(2), fc, logits]


# Layers


def test_records_are_the_moments_of_every_class(case: Case) -> None:
    assert [layer.name for layer in case.records.layers] == ["conv", "fc", "logits"]
    for layer, values in zip(case.records.layers, case.activations, strict=True):
        for label in range(NUM_CLASSES):
            own = values[case.labels.numpy() == label]
            close(layer.mean[label], own.mean(0))
            close(layer.std[label], own.std(0))
            if layer.covariance is not None:
                close(layer.covariance[label], np.cov(own.T, bias=True))


def test_only_small_layers_keep_a_covariance(case: Case) -> None:
    kept = {layer.name: layer.covariance is not None for layer in case.records.layers}
    assert kept == {"conv": False, "fc": True, "logits": True}


def test_records_do_not_depend_on_the_batch_size(case: Case) -> None:
    parts = collect_records(
        case.network, case.images, case.labels, NUM_CLASSES, covariance_limit=20, batch=7
    )
    whole = case.records.to_tensors()
    for key, value in parts.to_tensors().items():
        close(value.float(), whole[key].float().numpy())


def test_a_class_without_images_is_named(case: Case) -> None:
    with pytest.raises(ValueError, match="class 3") as error:
        collect_records(case.network, case.images, case.labels, 4)
    one_line(str(error.value))


# Graphs


def test_graphs_join_all_layers_and_consecutive_pairs(case: Case) -> None:
    assert case.records.joint.layers == (0, 1, 2)
    assert [graph.layers for graph in case.records.pairs] == [(0, 1), (1, 2)]


def test_a_basis_is_orthonormal_and_as_short_as_its_share_of_the_variance_allows(
    case: Case,
) -> None:
    units = units_of(case)
    for graph in (case.records.joint, *case.records.pairs):
        size = graph.basis.shape[1]
        close(graph.basis.T @ graph.basis, np.eye(size))
        signal = np.concatenate([units[layer] for layer in graph.layers], axis=1)
        values = np.sort(np.linalg.eigvalsh(np.corrcoef(signal.T)))[::-1]
        share = np.cumsum(values) / values.sum()
        assert share[size - 1] >= 0.9
        assert size == 1 or share[size - 2] < 0.9
        standard = (signal - signal.mean(0)) / signal.std(0)
        explained = np.square(standard @ graph.basis.numpy()).sum() / np.square(standard).sum()
        assert explained == pytest.approx(share[size - 1], rel=2e-3)


def test_coefficients_have_the_recorded_moments_by_class(case: Case) -> None:
    shaped = [torch.from_numpy(values) for values in case.activations]
    shaped[0] = shaped[0].view(-1, 2, 4, 4)
    units = case.records.graph_units(shaped)
    for actual, expected in zip(units, units_of(case), strict=True):
        close(actual, expected)
    for graph in (case.records.joint, *case.records.pairs):
        coefficients = graph.coefficients(units).numpy()
        for label in range(NUM_CLASSES):
            own = coefficients[case.labels.numpy() == label]
            np.testing.assert_allclose(graph.mean[label], own.mean(0), atol=0.01)
            np.testing.assert_allclose(graph.covariance[label], np.cov(own.T, bias=True), atol=0.02)


def test_a_graph_of_wide_layers_averages_neighbours_and_a_constant_unit_does_no_harm() -> None:
    network = nn.Sequential(nn.Linear(4, 2 * GRAPH_UNITS), nn.ReLU(), nn.Linear(2 * GRAPH_UNITS, 2))
    with torch.no_grad():
        network[0].weight[0] = 0
    images = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
    records = collect_records(network.eval(), images, torch.arange(12) % 2, 2)
    assert len(records.joint.center) == GRAPH_UNITS // 2 + 2
    assert all(value.isfinite().all() for value in records.to_tensors().values())


def test_graphs_tell_many_classes_apart_by_their_logits() -> None:
    hidden, classes = 11, 100
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(hidden)]
        for layer in layers:  # or nothing would come through so many
            nn.init.eye_(layer[0].weight)
        network = nn.Sequential(*layers, nn.Linear(4, classes)).eval()
    images = torch.rand(2 * classes, 4, generator=torch.Generator().manual_seed(1))
    records = collect_records(network, images, torch.arange(2 * classes) % classes, classes)
    assert len(records.joint.center) == 4 * hidden + classes
    logits = 10 * torch.eye(classes)[:2]
    units = records.graph_units([torch.zeros(2, 4)] * hidden + [logits])
    first, second = records.joint.coefficients(units)
    assert not torch.equal(first, second)


def test_logits_of_many_classes_are_never_averaged() -> None:
    layers, classes = 38, 100
    wide = [torch.randn(2, 64, 3, 3) for _ in range(layers - 1)]
    units = {}
    for label in (0, 1):
        logits = torch.zeros(2, classes)
        logits[:, label] = 10
        units[label] = graph_units_of([*wide, logits], [True] * layers)
        assert torch.equal(units[label][-1], logits)
    assert not torch.equal(units[0][-1], units[1][-1])
    assert sum(values.shape[1] for values in units[0]) <= GRAPH_UNITS


@pytest.mark.parametrize("layers", [5, 22, 38])
def test_hidden_layers_have_an_equal_share_where_the_logits_have_no_more(layers: int) -> None:
    logits = torch.randn(2, 10)
    units = graph_units_of([*[torch.randn(2, 300, 2, 2)] * (layers - 1), logits], [True] * layers)
    assert {values.shape[1] for values in units[:-1]} == {min(300, GRAPH_UNITS // layers)}
    assert torch.equal(units[-1], logits)


def test_graphs_of_other_units_are_refused_in_one_line(case: Case) -> None:
    joint = dataclasses.replace(case.records.joint, center=case.records.joint.center[1:])
    shaped = [torch.from_numpy(values) for values in case.activations]
    shaped[0] = shaped[0].view(-1, 2, 4, 4)
    with pytest.raises(ValueError, match="9 units where there should be 10") as error:
        dataclasses.replace(case.records, joint=joint).graph_units(shaped)
    one_line(str(error.value))


def test_a_unit_that_hardly_changes_does_no_harm_either() -> None:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double().eval()
        network[0].weight[1] *= 1e-9
    images = torch.randn(30, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    records = collect_records(network, images, torch.arange(30) % 2, 2)
    assert records.joint.scale[1] == 1
    hidden = network[0](images)
    units = records.graph_units([hidden, network(images) / 8])
    for graph in (records.joint, *records.pairs):
        coefficients = graph.coefficients(units)
        assert coefficients.mean(0).abs().max() < 0.01


# Files


def test_records_survive_a_file_unchanged(case: Case) -> None:
    tensors = case.records.to_tensors()
    # These logits are far below 1, and their variances too small for float16.
    small = {"layers/2/covariance/logits"}
    assert {key for key, value in tensors.items() if value.dtype != torch.float16} == small
    shuffled = dict(sorted(tensors.items(), reverse=True))
    again = ActivationRecords.from_tensors(shuffled)
    assert again.hidden == case.records.hidden
    for key, value in again.to_tensors().items():
        assert torch.equal(value, tensors[key])
    del tensors["graphs/1/basis"]
    with pytest.raises(KeyError):
        ActivationRecords.from_tensors(tensors)


def test_a_value_too_large_for_float16_is_kept() -> None:
    network = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 2)).eval()
    images = torch.tensor([[1e7], [1e7], [3e7], [3e7]])
    records = collect_records(network, images, torch.tensor([0, 0, 1, 1]), 2)
    expected = network[0](images[[0, 2]])
    torch.testing.assert_close(records.layers[0].mean, expected)


@pytest.mark.parametrize("scale", [1.0, 1e-4])
def test_draws_have_the_spread_of_a_layer_however_small_its_activations(scale: float) -> None:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double().eval()
        for parameter in network[0].parameters():
            parameter *= scale
    images = torch.randn(30, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    layer = collect_records(network, images, torch.arange(30) % 2, 2).layers[0]
    assert layer.covariance is not None
    for label in (0, 1):
        own = network[0](images[label::2]).detach().numpy()
        np.testing.assert_allclose(layer.covariance[label], np.cov(own.T, bias=True), rtol=0.01)
    drawn = ClassGaussians(layer, "cholesky").draw(
        torch.zeros(4_000, dtype=torch.int64), torch.Generator().manual_seed(1)
    )
    # A standard deviation of 4,000 draws is off by 1.1 %.
    torch.testing.assert_close(drawn.std(0), layer.std[0], rtol=0.06, atol=0)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (torch.tensor([[1.0, 1e-9], [3.0, 0.0]]), torch.float16),
        (torch.tensor([[1.0, 2.0], [3e-7, 1e-7]]), torch.float32),  # a row of its own
        (torch.tensor([[7e4, 1.0]]), torch.float32),
        (torch.tensor([1.0, 0.0]), torch.float16),
        (torch.tensor([1.0, 1e-5 / 3]), torch.float32),  # something is divided by it
        (torch.zeros(2, 3), torch.float16),
    ],
)
def test_half_precision_is_kept_where_it_holds_every_vector(
    value: Tensor, expected: torch.dtype
) -> None:
    kept = _halved(value.double())
    assert kept.dtype == expected
    error = (kept.double() - value.double()).abs().sum(-1)
    assert (error <= 5e-4 * value.double().abs().sum(-1)).all()
