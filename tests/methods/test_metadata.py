from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods import metadata as metadata_module
from methods.base.ledger import Ledger
from methods.base.problem import Access, Problem
from methods.base.run import Run
from methods.base.samples import ImageBank
from methods.base.states import Stopped
from methods.base.teacher import Teacher
from methods.metadata import Metadata
from methods.networks.dropout_filters import DropoutFilters
from methods.networks.inspection import has_hooks
from methods.settings.params import ParameterError
from methods.synthesis.activation_records import ActivationRecords
from methods.synthesis.activation_statistics import collect_records
from methods.synthesis.pixels import PixelOptimization
from methods.synthesis.reconstructions import (
    ClassGaussians,
    all_layers_distance,
    cholesky_factor,
    rectified_distance,
    spectral_distance,
)
from tests.helpers import (
    IMAGE_SHAPE,
    NUM_CLASSES,
    one_line,
    tiny_budget,
    tiny_network,
    tiny_problem,
)

Array = np.ndarray
VARIANTS = ["top-layer", "all-layers", "spectral-all", "spectral-pairs"]


class TwoHidden(nn.Module):
    """Conv, ReLU, linear, ReLU, linear: two hidden layers, trained with dropout like HintonNet."""

    def __init__(self) -> None:
        super().__init__()
        self.num_classes = NUM_CLASSES
        self.drop_input, self.drop_conv = nn.Dropout(0.2), nn.Dropout(0.5)
        self.drop_fc = nn.Dropout(0.4)
        self.conv = nn.Conv2d(1, 5, 3)  # 5·6·6 = 180 units
        self.fc = nn.Linear(180, 12)
        self.classifier = nn.Linear(12, NUM_CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        x = self.drop_conv(F.relu(self.conv(self.drop_input(images))))
        x = self.drop_fc(F.relu(self.fc(x.flatten(1))))
        logits: Tensor = self.classifier(x)
        return logits


@pytest.fixture(scope="module")
def teacher() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return TwoHidden().eval()


@pytest.fixture(scope="module")
def records(teacher: nn.Module) -> ActivationRecords:
    stream = torch.Generator().manual_seed(5)
    labels = torch.arange(60) % NUM_CLASSES
    images = torch.randn(60, *IMAGE_SHAPE, generator=stream) + labels.view(-1, 1, 1, 1)
    # A limit below the convolution's 180 units, so that both kinds of record are there.
    return collect_records(teacher, images, labels, NUM_CLASSES, covariance_limit=100)


def posed(teacher: nn.Module, records: ActivationRecords, **numbers: Any) -> tuple[Problem, Run]:
    base = tiny_problem()
    ledger = Ledger()
    problem = Problem(
        teacher=Teacher(teacher, ledger),
        make_student=lambda: tiny_network(seed=1),
        image_shape=base.image_shape,
        num_classes=base.num_classes,
        normalization=base.normalization,
        access=Access.METADATA,
        granted={Access.METADATA: records},
    )
    budget = tiny_budget(**{"inversion_images": 31, "inversion_steps": 4, **numbers})
    return problem, Run(budget, 0, ledger=ledger)


def method(**params: Any) -> Metadata:
    return Metadata(Metadata.build_params(params))


def synthesized(
    teacher: nn.Module, records: ActivationRecords, numbers: Any = None, **params: Any
) -> tuple[ImageBank, Run]:
    problem, run = posed(teacher, records, **(numbers or {}))
    bank = method(**params).synthesize(problem, run)
    assert isinstance(bank, ImageBank)
    return bank, run


# Drawing activations


DRAWS = 40_000


def moments_of_draws(record: Any, sampling: Any, label: int) -> tuple[Array, Array]:
    stream = torch.Generator().manual_seed(11)
    labels = torch.full((DRAWS,), label)
    drawn = ClassGaussians(record, sampling).draw(labels, stream).double().numpy()
    return drawn.mean(0), np.cov(drawn.T)


@pytest.mark.parametrize(("sampling", "power"), [("cholesky", 1), ("legacy", 2)])
def test_draws_have_the_recorded_covariance_or_its_square(
    records: ActivationRecords, sampling: Any, power: int
) -> None:
    for record in (records.layers[1], records.layers[2], records.joint, records.pairs[0]):
        assert record.covariance is not None
        recorded = record.covariance[1].double().numpy()
        expected = np.linalg.matrix_power(recorded, power)
        mean, covariance = moments_of_draws(record, sampling, label=1)
        deviation = np.sqrt(np.diag(expected))
        # Standard errors: σ/√n of a mean, at most σ_i σ_j √(2/n) of a covariance.
        assert (np.abs(mean - record.mean[1].numpy()) <= 5 * deviation / DRAWS**0.5 + 1e-6).all()
        error = np.abs(covariance - expected) / (np.outer(deviation, deviation) + 1e-9)
        assert error.max() < 5 * (2 / DRAWS) ** 0.5 + 2e-3


def test_a_layer_without_covariance_is_drawn_by_its_standard_deviations(
    records: ActivationRecords,
) -> None:
    record = records.layers[0]
    assert record.covariance is None
    for sampling in ("cholesky", "legacy"):
        mean, covariance = moments_of_draws(record, sampling, label=2)
        np.testing.assert_allclose(np.sqrt(np.diag(covariance)), record.std[2], rtol=0.03)
        np.testing.assert_allclose(mean, record.mean[2], atol=0.05)


def test_every_label_gets_a_draw_of_its_own_class(records: ActivationRecords) -> None:
    labels = torch.tensor([2, 0, 1, 0, 2] * 400)
    drawn = ClassGaussians(records.layers[1], "cholesky").draw(
        labels, torch.Generator().manual_seed(0)
    )
    for label in range(NUM_CLASSES):
        np.testing.assert_allclose(
            drawn[labels == label].mean(0), records.layers[1].mean[label], atol=0.15
        )


def test_cholesky_factor_is_triangular_and_exact_for_singular_covariances_too() -> None:
    rows = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(2))  # rank 4 of 6
    rows[:, :, 3] = 0
    covariance = rows.mT @ rows
    factor = cholesky_factor(covariance)
    torch.testing.assert_close(factor.mT @ factor, covariance, atol=1e-5, rtol=1e-5)
    assert torch.equal(factor, factor.triu())


# Distances against their formulas in float64


def rectified(wanted: Array, actual: Array) -> float:
    total = 0.0
    for a, b in zip(wanted.ravel(), actual.ravel(), strict=True):
        total += (max(a, 0.0) - max(b, 0.0)) ** 2
    return total / wanted.size


def random_pairs(*sizes: int, batch: int = 4) -> tuple[list[Tensor], list[Tensor]]:
    stream = torch.Generator().manual_seed(sum(sizes))

    def draw() -> list[Tensor]:
        return [torch.randn(batch, size, generator=stream).double() for size in sizes]

    return draw(), draw()


def test_distances_follow_their_formulas() -> None:
    wanted, actual = random_pairs(7, 3, 5)
    plain = [(w.numpy(), a.numpy()) for w, a in zip(wanted, actual, strict=True)]
    positive = [w.clamp(min=0) for w in wanted]
    assert float(rectified_distance(positive[0], actual[0])) == pytest.approx(rectified(*plain[0]))
    assert float(all_layers_distance(positive, actual)) == pytest.approx(
        sum(rectified(w, a) / w.shape[1] for w, a in plain)
    )
    assert float(spectral_distance(wanted, actual)) == pytest.approx(
        sum(np.square(w - a).sum() / w.size for w, a in plain)
    )


def test_the_gradient_of_the_rectified_distance_is_that_of_its_formula() -> None:
    torch.manual_seed(0)
    targets = torch.randn(3, 2, 4, dtype=torch.float64).relu()
    activations = torch.randn(3, 2, 4, dtype=torch.float64, requires_grad=True)
    difference = activations.detach().clamp(min=0) - targets
    wanted = 3 * 2 * difference * (activations.detach() > 0) / targets.numel()
    (3 * rectified_distance(targets, activations)).backward()
    torch.testing.assert_close(activations.grad, wanted, rtol=0, atol=1e-15)


@pytest.mark.parametrize("batch", [1, 6])
@pytest.mark.parametrize("classes", [2, 10, 100])
def test_the_top_layers_distance_is_a_mean_over_images_and_classes(
    batch: int, classes: int
) -> None:
    (wanted,), (actual,) = random_pairs(classes, batch=batch)
    positive = wanted.clamp(min=0)
    distance = rectified_distance(positive, actual)
    assert float(distance) == pytest.approx(rectified(wanted.numpy(), actual.numpy()))
    for more in ((2, 1), (1, 2)):  # of the same images, of the same classes
        repeated = rectified_distance(positive.repeat(more), actual.repeat(more))
        assert float(repeated) == pytest.approx(float(distance))


@pytest.mark.parametrize("distance", [all_layers_distance, spectral_distance])
def test_distances_do_not_grow_with_the_batch(distance: Any) -> None:
    wanted, actual = random_pairs(7, 3)
    twice = distance([w.repeat(2, 1) for w in wanted], [a.repeat(2, 1) for a in actual])
    assert float(twice) == pytest.approx(float(distance(wanted, actual)))


@pytest.mark.parametrize(
    ("distance", "factor"), [(all_layers_distance, 0.5), (spectral_distance, 1)]
)
def test_a_layer_of_twice_the_units_weighs_half_and_a_graph_as_before(
    distance: Any, factor: float
) -> None:
    wanted, actual = random_pairs(6)
    wide = distance([wanted[0].repeat(1, 2)], [actual[0].repeat(1, 2)])
    assert float(wide) == pytest.approx(factor * float(distance(wanted, actual)))


def expected_distance(
    variant: str, records: ActivationRecords, targets: list[Array], layers: list[Array]
) -> float:
    """The loss of a variant from pre-ReLU activations N×U by layer, in float64."""
    if variant == "top-layer":
        return rectified(targets[0], layers[-1])
    if variant.startswith("all-layers"):
        return sum(rectified(w, a) / w.shape[1] for w, a in zip(targets, layers, strict=True))
    units = [layers[0].reshape(len(layers[0]), 5, 36).mean(2), *layers[1:]]
    graphs = [records.joint] if variant == "spectral-all" else list(records.pairs)
    total = 0.0
    for graph, wanted in zip(graphs, targets, strict=True):
        signal = np.concatenate([units[i] for i in graph.layers], axis=1)
        center, scale, basis = (
            t.double().numpy() for t in (graph.center, graph.scale, graph.basis)
        )
        coefficients = (signal - center) / scale @ basis
        total += np.square(wanted - coefficients).mean()
    return total


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_first_logged_loss_is_the_variants_formula(
    teacher: nn.Module, records: ActivationRecords, variant: str
) -> None:
    problem, run = posed(teacher, records, inversion_images=6, inversion_steps=1)
    chosen = method(variant=variant, clamp=False)
    reconstruction = chosen.reconstruction(problem)
    labels = torch.tensor([0, 2, 1, 1, 0, 2])
    optimization = PixelOptimization(run, 6, 0.07)
    chosen.reconstruct(
        problem, run, reconstruction, labels, torch.Generator().manual_seed(4), optimization
    )
    (logged,) = run.curves["synthesis/loss"]["value"]

    stream = torch.Generator().manual_seed(4)
    pixels = 0.15 + 0.1 * torch.randn(6, *IMAGE_SHAPE, generator=stream)
    targets = [
        target.double().numpy() for target in chosen.reconstruction(problem).draw(labels, stream)
    ]
    images = ((pixels - 0.5) / 0.25).double()
    network = TwoHidden().double()
    network.load_state_dict(teacher.state_dict())
    with torch.no_grad():
        conv = network.conv(images).flatten(1)
        fc = network.fc(F.relu(conv))
        logits = network.classifier(F.relu(fc)) / 8
    expected = expected_distance(variant, records, targets, [x.numpy() for x in (conv, fc, logits)])
    assert logged == pytest.approx(expected, rel=1e-4)


def test_dropout_is_as_released(teacher: nn.Module, records: ActivationRecords) -> None:
    # Activations are compared before the filter and the ReLU, and with unfiltered targets; each
    # image has a filter of its own, the input too, and what is kept is not scaled up.
    problem, run = posed(teacher, records, inversion_images=6, inversion_steps=1)
    chosen = method(variant="all-layers-dropout", clamp=False)
    labels = torch.tensor([0, 2, 1, 1, 0, 2])
    optimization = PixelOptimization(run, 6, 0.07)
    stream = torch.Generator().manual_seed(4)
    chosen.reconstruct(problem, run, chosen.reconstruction(problem), labels, stream, optimization)
    (logged,) = run.curves["synthesis/loss"]["value"]

    stream = torch.Generator().manual_seed(4)
    pixels = 0.15 + 0.1 * torch.randn(6, *IMAGE_SHAPE, generator=stream)
    unfiltered = method(variant="all-layers").reconstruction(problem)
    targets = [target.double().numpy() for target in unfiltered.draw(labels, stream)]
    kept_input, kept_conv, kept_fc = (
        (torch.rand(6, *shape, generator=stream) >= p).double().numpy()
        for shape, p in ((IMAGE_SHAPE, 0.2), ((5, 6, 6), 0.5), ((12,), 0.4))
    )
    weights = {name: value.double() for name, value in teacher.state_dict().items()}
    images = torch.from_numpy((pixels.double().numpy() - 0.5) / 0.25 * kept_input)
    conv = F.conv2d(images, weights["conv.weight"], weights["conv.bias"]).numpy()
    passed = (np.maximum(conv, 0) * kept_conv).reshape(6, -1)
    fc = passed @ weights["fc.weight"].numpy().T + weights["fc.bias"].numpy()
    passed = np.maximum(fc, 0) * kept_fc
    logits = passed @ weights["classifier.weight"].numpy().T + weights["classifier.bias"].numpy()
    activations = [conv.reshape(6, -1), fc, logits / 8]
    assert logged == pytest.approx(
        expected_distance("all-layers", records, targets, activations), rel=1e-4
    )


def test_filters_are_drawn_anew_for_every_batch_and_whole_channels_stay_together() -> None:
    network = nn.Sequential(
        nn.Dropout(0.25), nn.Conv2d(1, 64, 3), nn.Dropout2d(0.5), nn.Dropout(0.0)
    )
    filters = DropoutFilters(network.eval(), torch.zeros(1, 1, 8, 8))
    stream = torch.Generator().manual_seed(0)
    filters.draw(50, stream)
    first = dict(filters.filters)
    filters.draw(50, stream)
    assert first.keys() == {"0", "2"}  # one that drops nothing needs no filter
    assert not torch.equal(first["0"], filters.filters["0"])
    assert sorted(first["0"].unique().tolist()) == [0.0, 1.0]
    assert float((first["0"] == 0).float().mean()) == pytest.approx(0.25, abs=0.02)
    assert first["2"].shape == (50, 64, 1, 1)
    images = torch.ones(50, 1, 8, 8)
    with filters.applied():
        filtered = network(images)
    silent = filters.filters["2"][:, :, 0, 0] == 0
    assert (filtered[silent] == 0).all()
    assert (filtered[~silent] != 0).any()
    assert not has_hooks(network)


def test_the_images_of_dropout_do_not_depend_on_how_a_batch_is_computed_in_parts(
    teacher: nn.Module, records: ActivationRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = synthesized(teacher, records, variant="all-layers-dropout", batch=12)
    monkeypatch.setattr(metadata_module, "PART", 5 * 195)  # five images of 180 + 12 + 3 units
    parts, _ = synthesized(teacher, records, variant="all-layers-dropout", batch=12)
    torch.testing.assert_close(parts.images.float(), whole.images.float(), atol=2e-3, rtol=0)


def test_a_teacher_without_dropout_layers_is_refused_as_by_the_released_code(
    records: ActivationRecords,
) -> None:
    network = tiny_network()
    problem, _ = posed(network, records)
    assert "this teacher has none" in one_line(
        method(variant="all-layers-dropout").supports(problem) or ""
    )
    assert method(variant="all-layers").supports(problem) is None
    with pytest.raises(ValueError, match="no dropout layer"):
        method(variant="all-layers-dropout").reconstruction(problem)


def test_only_the_variant_that_changed_has_another_version() -> None:
    def version(**params: Any) -> int:
        return Metadata.version_of(Metadata.build_params(params))

    assert version(variant="all-layers-dropout") == 2
    assert {version(variant=v) for v in VARIANTS} == {1}
    assert Metadata.versions() == {1, 2}


def test_runs_from_before_the_dropout_rate_went_keep_their_identity() -> None:
    recorded = Metadata.build_params({}).recorded()
    assert recorded["dropout"] == 0.5
    assert Metadata.build_params(recorded) == Metadata.build_params({})
    assert Metadata.Params(**recorded) == Metadata.build_params({})
    with pytest.raises(ParameterError, match="no parameter 'dropout'"):
        Metadata.build_params({"dropout": 0.3})


# The whole method


@pytest.mark.parametrize("variant", VARIANTS)
def test_pixels_approach_the_drawn_activations(
    teacher: nn.Module, records: ActivationRecords, variant: str
) -> None:
    numbers = {"inversion_images": 32, "inversion_steps": 40}
    _, run = synthesized(teacher, records, numbers, variant=variant)
    losses = run.curves["synthesis/loss"]["value"]
    assert losses[-1] < 0.8 * losses[0]


def test_a_bank_is_balanced_shuffled_and_counted(
    teacher: nn.Module, records: ActivationRecords
) -> None:
    bank, run = synthesized(teacher, records, batch=8)
    assert bank.images.shape == (31, *IMAGE_SHAPE)
    assert bank.held_out == 3
    assert bank.labels is not None
    assert sorted(bank.labels.bincount().tolist()) == [10, 10, 11]
    assert bank.labels.tolist() != sorted(bank.labels.tolist())
    assert run.ledger.synthetic_images == 31
    assert run.ledger.teacher_forward == run.ledger.teacher_backward == 31 * 4
    assert not has_hooks(teacher)


def test_pixels_stay_in_the_range_of_images_unless_told_otherwise(
    teacher: nn.Module, records: ActivationRecords
) -> None:
    def pixels(clamp: bool) -> Tensor:
        bank, _ = synthesized(teacher, records, clamp=clamp, pixel_lr=0.3)
        return bank.images.float() * 0.25 + 0.5

    assert float(pixels(True).min()) >= -1e-3
    assert float(pixels(True).max()) <= 1 + 1e-3
    assert float(pixels(False).min()) < -0.1


def test_photographs_have_the_start_and_the_rate_of_the_released_code_for_them() -> None:
    def settings(family: str) -> tuple[float, float, float]:
        params: Any = Metadata.build_params({}, family)
        return params.initial_mean, params.initial_std, params.pixel_lr

    assert settings("mnist") == settings("digits") == (0.15, 0.1, 0.07)
    assert settings("cifar10") == settings("svhn") == (0.44, 0.29, 0.05)


def test_an_image_does_not_depend_on_the_others_of_its_batch(
    teacher: nn.Module, records: ActivationRecords
) -> None:
    problem, run = posed(teacher, records)
    chosen = method()

    class Fixed:
        listens_to = records.hidden
        filters = None

        def draw(self, labels: Tensor, stream: torch.Generator) -> list[Tensor]:
            return [layer.mean[labels].clamp(min=0) for layer in records.layers]

        laid_out = staticmethod(chosen.reconstruction(problem).laid_out)
        distance = staticmethod(chosen.reconstruction(problem).distance)

    def first_image(labels: list[int]) -> Tensor:
        stream, optimization = torch.Generator().manual_seed(0), PixelOptimization(run, 31, 0.07)
        images = chosen.reconstruct(
            problem, run, Fixed(), torch.tensor(labels), stream, optimization
        )
        return images[0].float()

    torch.testing.assert_close(first_image([1]), first_image([1, 2, 0]), atol=2e-2, rtol=0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_parts_of_a_batch_are_what_the_batch_would_have_been(
    teacher: nn.Module, records: ActivationRecords, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, run = synthesized(teacher, records, variant=variant)
    units = sum(layer.mean.shape[1] for layer in records.layers)
    monkeypatch.setattr("methods.metadata.PART", 3 * units)  # three images, then one that is left
    parts, again = synthesized(teacher, records, variant=variant)
    torch.testing.assert_close(parts.images, whole.images, atol=5e-3, rtol=5e-3)
    losses = [r.curves["synthesis/loss"]["value"] for r in (run, again)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert run.ledger.counts() == again.ledger.counts()


def test_hooks_are_removed_when_a_run_is_interrupted(
    teacher: nn.Module, records: ActivationRecords
) -> None:
    problem, run = posed(teacher, records)

    def interrupt(*event: Any) -> None:
        raise KeyboardInterrupt

    run._progress = interrupt
    with pytest.raises(KeyboardInterrupt):
        method().synthesize(problem, run)
    assert not has_hooks(teacher)


class KeptInMemory:
    """Keeps the state of the last step."""

    def __init__(self) -> None:
        self.kept: tuple[int, dict[str, Any]] | None = None

    def due(self) -> bool:
        return False

    def save(self, loop: str, step: int, state: dict[str, Any]) -> None:
        self.kept = step, copy.deepcopy(state)

    def load(self, loop: str) -> tuple[int, dict[str, Any]] | None:
        return self.kept


@pytest.mark.parametrize("variant", [*VARIANTS, "all-layers-dropout"])
@pytest.mark.parametrize("stop_after", [1, 6, 8])
def test_an_interrupted_synthesis_goes_on_in_the_middle_with_equal_images(
    teacher: nn.Module, records: ActivationRecords, variant: str, stop_after: int
) -> None:
    whole, run = synthesized(teacher, records, variant=variant, batch=12)
    keeper, seen = KeptInMemory(), []
    for attempt in range(2):
        problem, again = posed(teacher, records)
        again.keeper = keeper
        again._progress = lambda phase, step, total, loss: seen.append(step)
        again._stopping = lambda last=attempt: "" if last or len(seen) < stop_after else "enough"
        if attempt:
            bank = method(variant=variant, batch=12).synthesize(problem, again)
        else:
            with pytest.raises(Stopped):
                method(variant=variant, batch=12).synthesize(problem, again)
    assert seen == list(range(1, 13))
    assert isinstance(bank, ImageBank)
    assert torch.equal(bank.images, whole.images)
    assert again.curves == run.curves
    assert again.ledger.counts() == run.ledger.counts()


def test_a_budget_without_pixel_optimisation_is_refused_in_one_line(
    teacher: nn.Module, records: ActivationRecords
) -> None:
    problem, run = posed(teacher, records, inversion_images=0, inversion_steps=0)
    with pytest.raises(ValueError, match="inversion_images") as error:
        method().synthesize(problem, run)
    assert "methods that optimise pixels" in one_line(str(error.value))


def test_a_segmentation_teacher_is_not_supported(
    teacher: nn.Module, records: ActivationRecords
) -> None:
    problem, _ = posed(teacher, records)
    assert method().supports(problem) is None
    problem.task_type = "segmentation"
    assert one_line(method().supports(problem) or "")
