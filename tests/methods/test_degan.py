from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from methods.base.ledger import Ledger
from methods.base.method import Method
from methods.base.objective import Distillation
from methods.base.problem import Access, Problem
from methods.base.run import Run
from methods.base.samples import Batch, ImageBank, MixedSource, OnlineSource
from methods.baselines import AlternativeData
from methods.degan import DCGAN, DeGAN, adversarial_loss, discriminator_input, teacher_input
from methods.losses.predictions import (
    entropy_loss,
    information_entropy_loss,
    weighted_diversity_loss,
)
from methods.networks.generators import DCGANDiscriminator, DCGANGenerator
from methods.settings.params import ParameterError
from tests.helpers import IMAGE_SHAPE, tiny_budget, tiny_problem, tiny_run

SMALL = {"latent_dim": 16, "width": 2}


def posed(seed: int = 0, **budget: Any) -> tuple[Problem, Run]:
    """The tiny problem with forty proxy images in its input space."""
    stream = torch.Generator().manual_seed(9)
    pixels = torch.rand(40, *IMAGE_SHAPE, generator=stream)
    ledger = Ledger()
    problem = tiny_problem(
        Access.PROXY_IMAGES, {Access.PROXY_IMAGES: (pixels - 0.5) / 0.25}, ledger=ledger
    )
    return problem, Run(tiny_budget(**budget), seed, ledger=ledger)


def degan(**params: Any) -> Method:
    return DeGAN(DeGAN.build_params({**SMALL, **params}))


def dcgan(**params: Any) -> Method:
    return DCGAN(DCGAN.build_params({**SMALL, **params}))


def bank(method: Method, seed: int = 0) -> tuple[Tensor, Run]:
    problem, run = posed(seed)
    samples = method.synthesize(problem, run)
    assert isinstance(samples, ImageBank)
    return samples.images, run


def curve(run: Run, name: str) -> list[float]:
    return run.curves[f"synthesis/{name}"]["value"]


# Losses


@pytest.mark.parametrize("shape", [(5, 4), (3, 4, 2, 5)], ids=["BxK", "BxKxHxW"])
def test_entropy_loss_is_the_mean_over_samples_of_their_entropies(shape: tuple[int, ...]) -> None:
    logits = 2 * torch.randn(shape, generator=torch.Generator().manual_seed(0)).double()
    entropies = []
    for row in np.moveaxis(logits.numpy(), 1, -1).reshape(-1, 4):
        p = np.exp(row) / np.exp(row).sum()
        entropies.append(-sum(q * math.log(q) for q in p))
    expected = sum(entropies) / len(entropies)
    assert entropy_loss(logits).item() == pytest.approx(expected, rel=1e-10)


def test_entropy_loss_does_not_grow_with_the_batch_but_with_the_classes() -> None:
    logits = torch.randn(6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    thrice = entropy_loss(logits.repeat(3, 1))
    torch.testing.assert_close(thrice, entropy_loss(logits))
    for classes in (2, 7, 100):
        assert entropy_loss(torch.zeros(3, classes)).item() == pytest.approx(math.log(classes))
        certain = 1e4 * torch.eye(classes)
        certain.requires_grad_(True)
        loss = entropy_loss(certain)
        loss.backward()
        assert loss.item() == pytest.approx(0, abs=1e-12)
        assert certain.grad is not None
        assert certain.grad.isfinite().all()


@pytest.mark.parametrize("real", [True, False])
def test_adversarial_loss_is_the_mean_cross_entropy_with_one_verdict(real: bool) -> None:
    logits = [-3.0, -0.5, 0.0, 2.0]
    chances = [1 / (1 + math.exp(-z)) for z in logits]
    expected = -sum(math.log(p if real else 1 - p) for p in chances) / 4
    loss = adversarial_loss(torch.tensor(logits), real)
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert adversarial_loss(torch.tensor(logits * 3), real).item() == pytest.approx(expected)


# The game


@pytest.mark.parametrize(("entropy", "diversity"), [(0.0, 5.0), (3.0, 0.0), (0.5, 2.0)])
def test_generator_loss_is_the_weighted_sum_of_its_terms(entropy: float, diversity: float) -> None:
    _, run = bank(degan(entropy_weight=entropy, diversity_weight=diversity))
    weights = {"entropy": entropy, "diversity": diversity}
    used = {name: weight for name, weight in weights.items() if weight}
    assert {f"synthesis/{name}" for name in used} == run.curves.keys() & {
        "synthesis/entropy",
        "synthesis/diversity",
    }
    for step, total in enumerate(curve(run, "loss")):
        terms = sum(weight * curve(run, name)[step] for name, weight in used.items())
        assert total == pytest.approx(curve(run, "adversarial")[step] + terms, rel=1e-5)


def test_the_first_verdicts_are_those_of_the_formula() -> None:
    """The discriminator is asked about proxy images in [−1, 1] and about generated ones."""
    problem, run = posed()
    DCGAN(DCGAN.build_params(SMALL)).synthesize(problem, run)
    with run.seeded("generator"):
        generator = DCGANGenerator(16, IMAGE_SHAPE, 2)
    with run.seeded("discriminator"):
        discriminator = DCGANDiscriminator(IMAGE_SHAPE, 2)
    chosen = torch.randint(40, (8,), generator=run.stream("proxy-batches"))
    pixels = problem.proxy_images[chosen] * 0.25 + 0.5
    with torch.no_grad():
        fake = generator(torch.randn(8, 16, generator=run.stream("generator-latents")))
        on_real = discriminator(pixels * 2 - 1).double().numpy()
        on_fake = discriminator(fake).double().numpy()
    expected = np.log1p(np.exp(-on_real)).mean() + np.log1p(np.exp(on_fake)).mean()
    assert curve(run, "discriminator")[0] == pytest.approx(expected, rel=1e-4)


def test_dcgan_is_degan_without_its_weights_to_the_bit() -> None:
    runs = []
    for method in (dcgan(), degan(entropy_weight=0.0, diversity_weight=0.0)):
        problem, run = posed()
        student = method.fit(problem, run)
        ledger = run.ledger
        costs = (ledger.counts(), ledger.work, [*ledger.seconds])
        runs.append((student.state_dict(), run.curves, costs))
    (weights, *facts), (other_weights, *other_facts) = runs
    assert facts == other_facts
    assert all(torch.equal(weights[name], other_weights[name]) for name in weights)


@pytest.mark.parametrize("weight", ["entropy_weight", "diversity_weight"])
def test_the_teacher_pulls_the_generator_where_its_term_is_small(weight: str) -> None:
    term = weight.removesuffix("_weight")
    off = {"entropy_weight": 0.0, "diversity_weight": 0.0}

    def last(value: float) -> float:
        problem, run = posed(synthesis_steps=12, synthesis_batch=16)
        # The tiny teacher is undecided about everything; this one has opinions.
        problem.teacher.network.classifier.weight.data.mul_(30)
        degan(learning_rate=2e-2, **{**off, weight: value}).synthesize(problem, run)
        return curve(run, term)[-1]

    assert last(50.0) < last(1e-6) - 0.01


def test_the_teacher_is_asked_for_every_generated_image_and_only_if_it_is_heard() -> None:
    costs = []
    for method in (degan(), dcgan()):
        problem, run = posed()  # 4 steps of 8, a bank of 24 + 6
        method.fit(problem, run)
        assert run.ledger.synthetic_images == 4 * 8 + 24 + 6
        costs.append((run.ledger.teacher_forward, run.ledger.teacher_backward))
    assert costs == [(4 * 8 + 24, 4 * 8), (24, 0)]


def test_same_seed_gives_the_same_images() -> None:
    assert torch.equal(bank(degan(), 5)[0], bank(degan(), 5)[0])
    assert not torch.equal(bank(degan(), 5)[0], bank(degan(), 6)[0])


# What the teacher sees


def test_generated_images_are_pixels_in_the_teacher_s_normalisation() -> None:
    images, _ = bank(degan(learning_rate=0.1))
    pixels = images.float() * 0.25 + 0.5
    assert pixels.min() >= -1e-3
    assert pixels.max() <= 1 + 1e-3
    assert pixels.std() > 0.01


def test_the_two_input_spaces_map_onto_each_other() -> None:
    problem, _ = posed()
    corners = torch.tensor([-1.0, 0.0, 1.0]).view(1, 1, 1, 3)
    seen = teacher_input(corners, problem)
    assert seen.flatten().tolist() == pytest.approx([-2.0, 0.0, 2.0])  # (pixel − 0.5) / 0.25
    torch.testing.assert_close(discriminator_input(seen, problem), corners)


def test_images_are_drawn_in_eval_mode() -> None:
    """An image does not depend on what else is drawn with it."""
    problem, run = posed(images=0)
    source = degan().synthesize(problem, run)
    assert isinstance(source, OnlineSource)
    alone = source.validation(1, torch.Generator().manual_seed(3))
    among_others = source.validation(5, torch.Generator().manual_seed(3))
    torch.testing.assert_close(alone[0], among_others[0])


# Networks


@pytest.mark.parametrize(
    ("side", "inwards"),
    [
        (8, [64, 128]),
        (16, [64, 128, 256]),
        (32, [64, 128, 256, 512]),
        (64, [64, 128, 256, 512]),
        (128, [64, 128, 256, 512, 1024]),
    ],
)
def test_networks_have_the_published_widths(side: int, inwards: list[int]) -> None:
    with torch.device("meta"):
        generator = DCGANGenerator(100, (3, side, side))
        discriminator = DCGANDiscriminator((3, side, side))
        images = generator(torch.randn(2, 100))
        logits = discriminator(images)
    assert images.shape == (2, 3, side, side)
    assert logits.shape == (2,)
    convolutions = [m for m in generator.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert [m.out_channels for m in convolutions] == [*reversed(inwards), 3]
    assert [m.out_channels for m in discriminator.modules() if isinstance(m, nn.Conv2d)] == [
        *inwards,
        1,
    ]
    norms = [m for m in discriminator.modules() if isinstance(m, nn.BatchNorm2d)]
    assert [m.num_features for m in norms] == inwards[1:]


def test_weights_start_as_dcgan_s() -> None:
    torch.manual_seed(0)
    for network in (DCGANGenerator(50, (1, 16, 16), 16), DCGANDiscriminator((1, 16, 16), 16)):
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                if module.weight.numel() > 1000:
                    assert module.weight.std().item() == pytest.approx(0.02, rel=0.1)
                assert module.weight.abs().max() < 0.1
                assert module.bias is None
            if isinstance(module, nn.BatchNorm2d):
                assert module.weight.mean().item() == pytest.approx(1, abs=0.02)
                assert 0 < module.weight.std() < 0.05
                assert module.bias.abs().max() == 0


@pytest.mark.parametrize("shape", [(3, 28, 28), (1, 32, 16), (3, 4, 4), (3, 96, 96)])
def test_other_image_sizes_are_declined_in_one_line(shape: tuple[int, int, int]) -> None:
    problem, _ = posed()
    problem.image_shape = shape
    reason = degan().supports(problem)
    assert reason is not None
    assert f"{shape[1]}×{shape[2]}" in reason
    assert "\n" not in reason
    for network in (DCGANGenerator, DCGANDiscriminator):
        with pytest.raises(ValueError, match=r"power|side"):
            network(7, shape) if network is DCGANGenerator else network(shape)
    problem.image_shape = (3, 64, 64)
    assert degan().supports(problem) is None


# Alternative data


def test_alternative_data_are_the_proxy_images_in_another_order() -> None:
    images, run = bank(AlternativeData())
    proxies = posed()[0].proxy_images
    assert not torch.equal(images, proxies)
    assert torch.equal(images.flatten(1).sort(dim=0)[0], proxies.flatten(1).sort(dim=0)[0])
    assert run.ledger.synthetic_images == run.ledger.teacher_forward == 0


def test_alternative_data_that_lie_sorted_are_not_validated_on_their_end_alone() -> None:
    problem, run = tiny_run(validation_images=20)
    lying = torch.arange(200.0).view(-1, 1, 1, 1).expand(-1, *IMAGE_SHAPE)
    problem = tiny_problem(Access.PROXY_IMAGES, {Access.PROXY_IMAGES: lying})
    samples = AlternativeData().synthesize(problem, run)
    held_out = samples.validation(20, run.stream("validation"))[:, 0, 0, 0]
    assert len(held_out) == 20
    assert held_out.min() < 100 < held_out.max()


# Segmentation's options


@pytest.mark.parametrize(
    ("diversity", "term"),
    [("plain", information_entropy_loss), ("weighted", weighted_diversity_loss), ("none", None)],
)
def test_the_diversity_term_can_be_chosen(diversity: str, term: Any) -> None:
    method = degan(diversity=diversity, entropy_weight=2.0)
    names = {"plain": "diversity", "weighted": "weighted_diversity"}
    expected = {"entropy": 2.0, **({names[diversity]: 5.0} if term else {})}
    assert isinstance(method, DeGAN)
    assert method.teacher_weights() == expected
    _, run = bank(method)
    logged = {name.removeprefix("synthesis/") for name in run.curves}
    assert set(expected) <= logged
    assert not ({"diversity", "weighted_diversity"} - set(expected)) & logged


def test_a_weight_without_its_term_is_refused() -> None:
    with pytest.raises(ParameterError, match="diversity=none"):
        DeGAN.build_params({"diversity": "none", "diversity_weight": 10.0})
    with pytest.raises(ParameterError, match="diversity_weight=0"):
        DeGAN.build_params({"diversity": "weighted", "diversity_weight": 0.0})


def test_the_papers_segmentation_row_has_entropy_and_no_diversity() -> None:
    usual = DeGAN(DeGAN.build_params({}, "camvid"))
    assert usual.teacher_weights() == {"entropy": 10.0}
    weighted = {"entropy_weight": 0.0, "diversity": "weighted", "diversity_weight": 10.0}
    best = DeGAN(DeGAN.build_params(weighted, "camvid"))
    assert best.teacher_weights() == {"weighted_diversity": 10.0}


def test_parameters_added_later_are_not_recorded_while_they_change_nothing() -> None:
    old = {
        "latent_dim": 100,
        "width": 32,
        "learning_rate": 2e-4,
        "beta1": 0.5,
        "temperature": 20.0,
    }
    assert DCGAN.build_params({"width": 32}).recorded() == old
    old |= {"entropy_weight": 0.0, "diversity_weight": 5.0}
    assert DeGAN.build_params({"width": 32}).recorded() == old
    changed = DeGAN.build_params({"width": 32, "mix": 0.5, "diversity": "weighted"})
    assert changed.recorded() == {**old, "mix": 0.5, "diversity": "weighted"}
    for params in (changed, DeGAN.build_params({}, "camvid")):
        assert DeGAN.Params(**params.recorded()) == params


@pytest.mark.parametrize("make", [dcgan, degan])
@pytest.mark.parametrize(("mix", "proxies"), [(0.0, 0), (0.25, 2), (0.5, 4), (0.9, 7), (1.0, 8)])
def test_every_student_batch_holds_the_asked_share_of_proxy_images(
    make: Any, mix: float, proxies: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, run = posed(student_steps=12)
    known = {tuple(image.flatten().tolist()) for image in problem.proxy_images}
    counts, sizes = [], []

    class Watching(Distillation):
        def __call__(self, student: nn.Module, batch: Batch) -> Tensor:
            counts.append(sum(tuple(i.flatten().tolist()) in known for i in batch.images))
            sizes.append(len(batch.images))
            assert batch.teacher_logits is not None
            torch.testing.assert_close(batch.teacher_logits, problem.teacher(batch.images))
            return super().__call__(student, batch)

    method = make(mix=mix)
    monkeypatch.setattr(method, "objective", lambda problem: Watching(1.0))
    method.fit(problem, run)
    assert counts == [proxies] * 12
    assert sizes == [8] * 12


def test_mixing_leaves_the_generated_images_alone() -> None:
    """So every share of Figure 6 is distilled from one cached synthesis."""
    assert torch.equal(bank(degan())[0], bank(degan(mix=0.5))[0])
    assert "mix" not in degan(mix=0.5).params.of_phase("synthesis")


def test_a_mixture_is_distilled_by_the_shared_loop() -> None:
    assert DeGAN.distill is Method.distill
    problem, run = posed()
    samples = degan(mix=0.5).synthesize(problem, run)
    assert isinstance(degan(mix=0.5).student_samples(problem, samples, run), MixedSource)
    assert degan().student_samples(problem, samples, run) is samples


def test_on_segmentation_the_row_called_degan_has_entropy_and_no_diversity() -> None:
    for family in ("camvid", "voc2012"):
        method = DeGAN(DeGAN.build_params({}, family))
        assert method.teacher_weights() == {"entropy": 10.0}
