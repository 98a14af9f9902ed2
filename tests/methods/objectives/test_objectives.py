from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Literal

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from benchmark.contract.checks import other_values
from methods.acceleration.optimizers import Adam
from methods.base.method import Method
from methods.base.objective import Distillation, Objective, Supervised, TransferObjective
from methods.base.problem import Access, Problem
from methods.base.run import Run
from methods.base.samples import Batch, ImageBank
from methods.baselines import KDReal, Noise, StudentSupervised
from methods.dafl import DAFL
from methods.deep_inversion import DeepInversion
from methods.losses.features import pairwise_loss
from methods.losses.predictions import label_loss, pixelwise_loss
from methods.networks.quantization import (
    ActivationQuantizer,
    packed_kib,
    to_integers,
    why_not,
    with_quantizers,
)
from methods.objectives import knowledge_adaptation
from methods.objectives.features import FeatureObjective, feature_shape
from methods.objectives.hinton import Hinton
from methods.objectives.pixelwise import score_map
from methods.objectives.registry import OWN, discover_objectives
from methods.settings.params import ParameterError
from tests.helpers import one_line, tiny_problem
from tests.segmentation import posed, scenes, segmenter

OBJECTIVES = discover_objectives()
every_objective = pytest.mark.parametrize("cls", OBJECTIVES.values(), ids=OBJECTIVES.keys())


def objective(name: str, **params: Any) -> TransferObjective:
    cls = OBJECTIVES[name]
    return cls(cls.build_params(params))


def seeing_enough(chosen: TransferObjective | None) -> type[Method]:
    """KD on real images, or the method with labels where the objective needs them."""
    return StudentSupervised if isinstance(chosen, Hinton) else KDReal


def fitted(
    chosen: TransferObjective | None,
    method: type[Method] | None = None,
    seed: int = 0,
    **budget: Any,
) -> tuple[nn.Module, Run]:
    method = method or seeing_enough(chosen)
    problem, run = posed(method.access, seed, **budget)
    approach = method(method.build_params({}, "camvid"))
    approach.transfer = chosen
    return approach.fit(problem, run), run


def bits(chosen: TransferObjective, seed: int = 0) -> str:
    student, run = fitted(chosen, seed=seed)
    weights = [value.tolist() for value in student.state_dict().values() if value is not None]
    return f"{weights} {sorted(run.curves.items())}"


def losses(run: Run) -> list[float]:
    return run.curves["distillation/loss"]["value"]


# What every objective keeps


def test_every_file_of_the_folder_is_found_by_its_name() -> None:
    assert set(OBJECTIVES) == {
        "pixelwise",
        "structured",
        "knowledge-adaptation",
        "attention-transfer",
        "fitnets",
        "quantized",
        "hinton",
    }
    assert OWN not in OBJECTIVES


@every_objective
def test_it_is_described_and_so_are_its_parameters(cls: type[TransferObjective]) -> None:
    assert cls.title
    assert cls.paper
    assert cls.__doc__
    for name, field in cls.Params.model_fields.items():
        info = cls.Params.info(name)
        assert field.description
        assert info.source
        assert info.phase == "distillation"


@every_objective
def test_it_lowers_its_loss_and_makes_a_student_that_sees(cls: type[TransferObjective]) -> None:
    student, run = fitted(cls(), student_steps=60, student_lr=1e-2)
    curve = run.curves.get("full-precision/loss", run.curves["distillation/loss"])["value"]
    assert sum(curve[-5:]) < 0.7 * sum(curve[:5])
    images, labels = scenes(16, seed=9)
    known = labels != 255
    right = student.eval()(images).argmax(dim=1) == labels
    assert right[known].float().mean() > 0.7
    assert run.ledger.student_steps == 60


@every_objective
def test_equal_seeds_give_equal_bits_whatever_the_global_generator_holds(
    cls: type[TransferObjective],
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        first = bits(cls(), seed=3)
        torch.manual_seed(2)
        assert bits(cls(), seed=3) == first
        assert bits(cls(), seed=4) != first


def alternatives(name: str, parameter: str) -> Iterator[TransferObjective]:
    """The objective with other values of a parameter, but for those that are out of bounds."""
    for value in other_values(OBJECTIVES[name].build_params({}), parameter):
        with contextlib.suppress(ParameterError):
            yield objective(name, **{parameter: value})


@pytest.mark.parametrize(
    ("name", "parameter"),
    [
        (name, parameter)
        for name, cls in OBJECTIVES.items()
        for parameter in cls.Params.model_fields
    ],
)
def test_every_parameter_acts(name: str, parameter: str) -> None:
    usual = bits(OBJECTIVES[name]())
    assert any(bits(other) != usual for other in alternatives(name, parameter))


@every_objective
def test_bad_parameters_are_answered_in_one_line(cls: type[TransferObjective]) -> None:
    name = next(iter(cls.Params.model_fields))
    for overrides in ({f"{name}x": 1}, {name: -1}):
        with pytest.raises(ParameterError) as caught:
            cls.build_params(overrides)
        message = one_line(str(caught.value))
        assert cls.name in message
        assert name in message


@every_objective
def test_classification_is_either_supported_or_refused_in_one_line(
    cls: type[TransferObjective],
) -> None:
    labelled = issubclass(cls, Hinton)
    problem = tiny_problem(seeing_enough(cls()).access)
    answer = cls().supports(problem)
    if cls.name in {"pixelwise", "structured", "knowledge-adaptation"}:
        assert answer is not None
        assert "classification" in one_line(answer)
        return
    assert answer is None
    _, run = posed()
    labels = torch.arange(20) % problem.num_classes if labelled else None
    bank = ImageBank(torch.randn(20, *problem.image_shape), 4, labels)
    student = Noise(Noise.build_params({})).distill(problem, bank, run)
    assert losses(run)[-1] < 1e4
    assert student(torch.zeros(2, *problem.image_shape)).shape == (2, problem.num_classes)


@every_objective
def test_the_teacher_is_left_alone(cls: type[TransferObjective]) -> None:
    kind = seeing_enough(cls())
    problem, run = posed(kind.access)
    before = {name: value.clone() for name, value in problem.teacher.network.state_dict().items()}
    method = kind(kind.build_params({}))
    method.transfer = cls()
    method.fit(problem, run)
    after = problem.teacher.network.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert not any(module.training for module in problem.teacher.network.modules())


# Labels, and the method's own loss


def one_batch(problem: Problem) -> Batch:
    images, labels = scenes(6, seed=2)
    with torch.no_grad():
        return Batch(images, labels, problem.teacher(images))


def loss_on(chosen: TransferObjective, own: Objective, access: Access) -> tuple[float, Any]:
    """The loss of an untrained student on one batch, and what its terms are made of."""
    problem, run = posed(access)
    student = problem.make_student()
    chosen.on(own).attach(student, problem, run)
    batch = one_batch(problem)
    loss = chosen(student, batch).item()
    fresh = problem.make_student()
    return loss, (fresh, problem.teacher.network, batch)


@pytest.mark.parametrize("labelled", [True, False])
def test_structured_adds_its_terms_and_uses_labels_only_where_they_may_be_seen(
    labelled: bool,
) -> None:
    access = Access.TRAIN_IMAGES | (Access.TRAIN_LABELS if labelled else Access(0))
    chosen = objective("structured", pair_weight=3.0, pixel_weight=2.0)
    loss, (student, teacher, batch) = loss_on(chosen, Distillation(1.0), access)
    logits = student(batch.images)
    expected = 2 * pixelwise_loss(score_map(logits, 4), score_map(batch.teacher_logits, 4))
    mine, theirs = (
        network.forward_head(network.forward_features(batch.images), pre_logits=True)
        for network in (student, teacher)
    )
    mine = nn.functional.interpolate(mine, theirs.shape[2:], mode="bilinear")
    expected += 3 * pairwise_loss(mine, theirs, 0.5)
    if labelled:
        expected += label_loss(logits, batch.labels)
    assert loss == pytest.approx(expected.item(), rel=1e-5)


@every_objective
def test_balanced_classes_reach_the_cross_entropy_of_every_objective(
    cls: type[TransferObjective],
) -> None:
    """A parameter of the method must not be dropped by an objective put on it."""

    def first_loss(balanced: bool) -> float:
        problem, run = posed(StudentSupervised.access)
        problem.train_labels[:, :3] = 2  # so that classes are unequally frequent
        method = StudentSupervised(StudentSupervised.build_params({"class_balanced": balanced}))
        method.transfer = cls()
        method.fit(problem, run)
        name = "full-precision" if "full-precision/loss" in run.curves else "distillation"
        return run.curves[f"{name}/loss"]["value"][0]

    assert first_loss(True) != first_loss(False)


def test_score_maps_are_what_the_head_upsampled() -> None:
    coarse = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    smooth = nn.functional.avg_pool2d(coarse, 3, stride=1, padding=1)
    fine = nn.functional.interpolate(smooth, scale_factor=8.0, mode="bilinear")
    back = score_map(fine, 8)
    assert (back - smooth).abs().max() < 0.1 * smooth.abs().max()
    assert score_map(fine, 1) is fine


@pytest.mark.parametrize("own", [Distillation(2.0), Supervised()])
@pytest.mark.parametrize(
    ("name", "weight"), [("attention-transfer", "beta"), ("fitnets", "hint_weight")]
)
def test_feature_terms_are_added_to_the_method_s_own_loss(
    own: Distillation | Supervised, name: str, weight: str
) -> None:
    access = Access.TRAIN_IMAGES | Access.TRAIN_LABELS
    light, (student, _, batch) = loss_on(objective(name, **{weight: 1e-9}), own, access)
    assert light == pytest.approx(own(student, batch).item(), rel=1e-4)
    one, _ = loss_on(objective(name, **{weight: 1.0}), own, access)
    two, _ = loss_on(objective(name, **{weight: 2.0}), own, access)
    assert two - light == pytest.approx(2 * (one - light), rel=1e-3)


@pytest.mark.parametrize("name", ["structured", "fitnets", "knowledge-adaptation"])
def test_terms_are_computed_in_float32_whatever_the_networks_compute_in(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = objective(name)
    assert isinstance(chosen, FeatureObjective)
    problem, run = posed(KDReal.access)
    bank = KDReal().synthesize(problem, run)
    student, _ = chosen.prepare(problem.make_student(), problem, bank, run)
    chosen.on(Distillation(1.0)).attach(student, problem, run)
    batch = one_batch(problem)
    maps = {id(n): chosen._maps(n, batch.images) for n in (student, problem.teacher)}
    monkeypatch.setattr(chosen, "_maps", lambda network, images: maps[id(network)])
    plain = chosen(student, batch)
    with torch.autocast("cpu", torch.bfloat16):
        assert chosen(student, batch) == plain


@pytest.mark.parametrize("name", ["fitnets", "knowledge-adaptation"])
def test_trainable_parts_learn_with_the_student(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = objective(name)
    start: list[Tensor] = []
    attach = chosen.attach

    def remember(*arguments: Any) -> None:
        attach(*arguments)
        start.extend(part.detach().clone() for part in chosen.parameters())

    monkeypatch.setattr(chosen, "attach", remember)
    fitted(chosen)
    moved = [not torch.equal(a, b) for a, b in zip(start, chosen.parameters(), strict=True)]
    assert any(moved)


def test_the_auto_encoder_learns_and_its_encoder_is_frozen() -> None:
    chosen = objective("knowledge-adaptation", autoencoder_share=1.0, autoencoder_lr=1e-2)
    _, run = fitted(chosen, student_steps=40)
    curve = run.curves["auto-encoder/loss"]["value"]
    assert curve[-1] < 0.8 * curve[0]
    assert not any(part.requires_grad for part in chosen.encoder.parameters())  # type: ignore[attr-defined]
    assert run.ledger.student_steps == 40


def test_the_auto_encoder_is_optimised_by_one_kernel_like_everything_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Adam] = []

    def optimizer(*args: Any, **options: Any) -> Adam:
        made.append(Adam(*args, **options))
        return made[-1]

    monkeypatch.setattr(knowledge_adaptation, "Adam", optimizer)
    fitted(objective("knowledge-adaptation"))
    assert [optimizer.defaults["fused"] for optimizer in made] == [True]


def test_the_teacher_is_asked_once_a_step_for_features_and_logits() -> None:
    _, run = fitted(objective("attention-transfer"))
    assert run.ledger.teacher_forward == 6 * 8
    assert run.ledger.teacher_backward == 0


def test_looking_at_the_shape_of_features_leaves_a_network_as_it_is() -> None:
    network = segmenter(0, 4).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert feature_shape(network, (1, 16, 16)) == (8, 4, 4)
    assert network.training
    assert all(torch.equal(network.state_dict()[name], value) for name, value in before.items())


# Where an objective cannot go


def test_attention_needs_more_than_one_position() -> None:
    problem, _ = posed()
    problem.image_shape = (1, 2, 2)
    answer = objective("attention-transfer").supports(problem)
    assert answer is not None
    assert "one position" in one_line(answer)


def test_a_student_that_cannot_be_traced_is_not_quantised() -> None:
    class Branching(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images if images.sum() > 0 else -images

    problem, _ = posed()
    problem.make_student = Branching
    answer = objective("quantized").supports(problem)
    assert answer is not None
    assert "cannot be traced" in one_line(answer)


@pytest.mark.parametrize(
    ("method", "params"), [(DAFL, {"schedule": "joint"}), (DeepInversion, {"adaptive": True})]
)
@every_objective
def test_preparation_and_joint_training_are_refused_together(
    method: type[Method], params: dict[str, Any], cls: type[TransferObjective]
) -> None:
    def answer_with(params: dict[str, Any]) -> str | None:
        approach = method(method.build_params(params))
        approach.transfer = cls()
        return approach.supports(tiny_problem())

    answer = answer_with(params)
    assert (answer is not None) == cls.needs_samples_first
    if answer is not None:
        assert cls.name in one_line(answer)
    assert answer_with({}) is None


def test_an_own_loss_that_is_not_of_the_logits_is_refused() -> None:
    class Odd(Objective):
        def __call__(self, student: nn.Module, batch: Batch) -> Tensor:
            return student(batch.images).sum()

    with pytest.raises(TypeError, match=r"'fitnets'.*Odd"):
        objective("fitnets").on(Odd())


def test_a_method_s_own_objective_is_used_when_none_is_put_on_it() -> None:
    problem, _ = posed()
    own = Noise(Noise.build_params({"temperature": 3.0})).student_objective(problem)
    assert isinstance(own, Distillation)
    assert own.temperature == 3.0
    method = StudentSupervised()
    method.transfer = objective("fitnets")
    assert isinstance(method.student_objective(problem), FeatureObjective)


# Quantisation


def quantizers(student: nn.Module) -> list[ActivationQuantizer]:
    return [module for module in student.modules() if isinstance(module, ActivationQuantizer)]


@pytest.mark.parametrize("bits", [8, 4])
def test_fake_quantised_weights_have_no_more_levels_than_their_bits(bits: Literal[8, 4]) -> None:
    student = with_quantizers(segmenter(0, 8), torch.zeros(1, 1, 16, 16), bits)
    student(scenes(8)[0].float())
    convolutions = [module for module in student.modules() if hasattr(module, "weight_fake_quant")]
    assert len(convolutions) == 4
    for convolution in convolutions:
        for kernel in convolution.weight_fake_quant(convolution.weight):
            assert len(kernel.unique()) <= 2**bits
    assert any(len(kernel.unique()) > 4 for kernel in convolutions[1].weight)


def test_batch_norms_with_an_activation_follow_the_mode_of_the_student() -> None:
    """Traced as functions, timm's would take statistics of the test batch for ever."""
    student = segmenter(0, 4)
    student.norm1 = BatchNormAct2d(4)  # type: ignore[assignment]
    assert not why_not(student)
    quantised = with_quantizers(student, torch.zeros(1, 1, 16, 16), 8)
    images = scenes(8)[0].float()
    quantised(images)
    quantised.eval()
    torch.testing.assert_close(quantised(images)[:1], quantised(images[:1]))
    assert isinstance(student.norm1, BatchNormAct2d)


def test_functions_with_a_mode_are_not_quantised() -> None:
    class Forgetful(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return nn.functional.dropout(images, training=self.training)

    assert "dropout" in one_line(why_not(Forgetful()))


def test_eval_mode_learns_nothing_from_the_images_it_sees() -> None:
    student = with_quantizers(segmenter(0, 4), torch.zeros(1, 1, 16, 16), 8)
    student(scenes(8)[0].float())
    scales = [quantizer.scale.clone() for quantizer in quantizers(student)]
    student.eval()(100 * scenes(8)[0].float())
    assert scales
    pairs = zip(scales, quantizers(student), strict=True)
    assert all(torch.equal(scale, quantizer.scale) for scale, quantizer in pairs)
    student.train()(100 * scenes(8)[0].float())
    pairs = zip(scales, quantizers(student), strict=True)
    assert any(not torch.equal(scale, quantizer.scale) for scale, quantizer in pairs)


def test_the_student_converges_in_full_precision_before_it_is_quantised() -> None:
    chosen = objective("quantized", full_precision_share=0.75)
    student, run = fitted(chosen, student_steps=40)
    assert len(run.curves["full-precision/loss"]["step"]) == 30
    assert len(losses(run)) == 10
    assert quantizers(student)
    assert not quantizers(chosen.full_precision)  # type: ignore[attr-defined]


def test_the_integer_network_agrees_with_the_simulation() -> None:
    chosen = objective("quantized")
    student, _ = fitted(chosen, student_steps=40, student_lr=1e-2)
    images = scenes(16, seed=9)[0].float()
    simulated, integers = student.eval()(images), to_integers(student)(images)
    assert (simulated.argmax(1) == integers.argmax(1)).float().mean() > 0.95
    assert set(chosen.variants(student)) == {"full_precision", "int8"}


def test_four_bits_stay_simulated() -> None:
    chosen = objective("quantized", bits=4)
    student, _ = fitted(chosen)
    assert set(chosen.variants(student)) == {"full_precision"}


def test_four_bits_take_what_packed_weights_scales_and_biases_take() -> None:
    chosen = objective("quantized", bits=4)
    student, _ = fitted(chosen)
    # Weights and output channels of the four layers. Each has a bias, three from a BatchNorm; the
    # input and every layer's output have a quantiser, of a scale and a zero point.
    layers = [(1 * 4 * 9, 4), (4 * 8 * 9, 8), (8 * 4 * 9, 4), (4 * 3, 3)]
    expected = sum(weights / 2 + 4 * outputs + 4 * outputs for weights, outputs in layers) + 5 * 5
    assert chosen.sizes(student) == {"int4": pytest.approx(expected / 1024)}
    assert chosen.sizes(student.train()) == chosen.sizes(student.eval())
    assert objective("quantized").sizes(student) == {}


def test_what_is_not_quantised_is_counted_in_its_own_type() -> None:
    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            convolution = nn.Sequential(nn.Conv2d(1, 3, 3, bias=False))
            self.inner = with_quantizers(convolution, torch.zeros(1, 1, 8, 8), 4)
            self.norm = nn.BatchNorm2d(5)
            self.again = self.norm

    # 27 weights of half a byte round up to 14 bytes; three scales; two activation quantisers; and
    # of the BatchNorm two parameters and two statistics a channel, once.
    bytes_taken = 14 + 3 * 4 + 2 * 5 + 5 * 4 * 4
    assert packed_kib(Beside(), 4) == pytest.approx(bytes_taken / 1024)
    assert packed_kib(Beside(), 8) == pytest.approx((bytes_taken + 13) / 1024)


# Soft targets and labels


def test_hinton_s_loss_is_its_formula_with_void_left_out() -> None:
    images, labels = scenes(4, seed=2)
    problem, run = posed(Access.TRAIN_IMAGES | Access.TRAIN_LABELS)
    student = problem.make_student().eval()
    chosen = objective("hinton", soft_weight=0.7, temperature=3.0).on(Supervised())
    chosen.attach(student, problem, run)
    theirs = problem.teacher(images)
    with torch.no_grad():
        found = chosen(student, Batch(images, labels, theirs))
        s, t = (x.double().movedim(1, -1).flatten(0, 2) for x in (student(images), theirs))
    p, q = (torch.exp(x / 3) / torch.exp(x / 3).sum(1, keepdim=True) for x in (s, t))
    soft = 9 * (q * torch.log(q / p)).sum(1).mean()
    known = labels.flatten() != 255
    chance = torch.exp(s) / torch.exp(s).sum(1, keepdim=True)
    right = chance[known][torch.arange(int(known.sum())), labels.flatten()[known]]
    torch.testing.assert_close(found.double(), 0.7 * soft - 0.3 * right.log().mean())


def test_hinton_is_refused_where_no_labels_may_be_seen() -> None:
    problem, _ = posed(Access.TRAIN_IMAGES)
    assert "needs true labels" in (objective("hinton").supports(problem) or "")
