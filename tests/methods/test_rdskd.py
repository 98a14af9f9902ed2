from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from methods.base.method import Method
from methods.base.samples import ImageBank, OnlineSource
from methods.losses.images import diversity_seeking_loss, mode_seeking_loss
from methods.rdskd import MSKD, RDSKD, _PreviousLoss, halves
from methods.synthesis.generator import GeneratedBatch
from tests.helpers import tiny_run

SMALL = {"latent_dim": 5, "generator_width": 4}
Curves = dict[str, list[float]]


def references(epoch_steps: int, rule: Any, losses: list[float]) -> list[float]:
    """The reference value at every step, as the method asks for it."""
    history, seen = _PreviousLoss(epoch_steps, rule), []
    for step, loss in enumerate(losses):
        seen.append(float(history.of("one_hot")))
        history.after("one_hot", step, torch.tensor(loss))
    return seen


def synthesis_curves(method: Method, seed: int = 0, **numbers: Any) -> Curves:
    problem, run = tiny_run(seed, **{"synthesis_steps": 12, "epoch_steps": 4, **numbers})
    method.synthesize(problem, run)
    prefix = "synthesis/"
    return {
        name.removeprefix(prefix): curve["value"]
        for name, curve in run.curves.items()
        if name.startswith(prefix)
    }


def rdskd(**params: Any) -> Method:
    return RDSKD(RDSKD.build_params({**SMALL, **params}))


def mskd(**params: Any) -> Method:
    return MSKD(MSKD.build_params({**SMALL, **params}))


# The rule for "the previous epoch's loss"


def test_released_rule_keeps_the_second_step_of_every_epoch() -> None:
    losses = [float(value) for value in range(100, 112)]  # three epochs of four steps
    expected = [
        *(0.0, 0.0, 101.0, 101.0),  # nothing is stored before the second step is over
        *(101.0, 101.0, 105.0, 105.0),
        *(105.0, 105.0, 109.0, 109.0),
    ]
    assert references(4, "released", losses) == expected


def test_epoch_mean_rule_keeps_the_mean_of_the_epoch_before() -> None:
    losses = [1.0, 2.0, 3.0, 6.0, 10.0, 20.0, 30.0, 40.0, 7.0, 7.0, 7.0, 7.0]
    assert references(4, "epoch-mean", losses) == [0.0] * 4 + [3.0] * 4 + [25.0] * 4


def test_an_epoch_of_one_step_refers_to_the_step_before() -> None:
    for rule in ("released", "epoch-mean"):
        assert references(1, rule, [5.0, 6.0, 7.0]) == [0.0, 5.0, 6.0]


def test_every_term_has_a_reference_of_its_own() -> None:
    history = _PreviousLoss(2, "released")
    for step in range(2):
        history.after("one_hot", step, torch.tensor(1.0 + step))
        history.after("entropy", step, torch.tensor(-1.0 - step))
    assert history.of("one_hot") == 2.0
    assert history.of("entropy") == -2.0


# The generator's loss


@pytest.mark.parametrize("rule", ["released", "epoch-mean"])
def test_loss_is_the_sum_of_the_exponential_terms_and_diversity(rule: Any) -> None:
    curves = synthesis_curves(rdskd(previous=rule))
    assert curves.keys() == {"loss", "one_hot", "entropy", "diversity"}
    one_hot = references(4, rule, curves["one_hot"])
    entropy = references(4, rule, curves["entropy"])
    for step, total in enumerate(curves["loss"]):
        expected = (
            math.exp(curves["one_hot"][step] - one_hot[step])
            + math.exp(curves["entropy"][step] - entropy[step])
            + curves["diversity"][step]
        )
        assert total == pytest.approx(expected, rel=1e-5)


def test_without_the_exponential_the_plain_losses_are_added() -> None:
    curves = synthesis_curves(rdskd(exponential=False))
    for step, total in enumerate(curves["loss"]):
        parts = (curves[name][step] for name in ("one_hot", "entropy", "diversity"))
        assert total == pytest.approx(sum(parts), rel=1e-5)


@pytest.mark.parametrize("off", ["one_hot", "entropy"])
def test_a_loss_that_is_off_leaves_the_total(off: str) -> None:
    curves = synthesis_curves(rdskd(**{off: False}, exponential=False))
    assert off not in curves
    left = ({"one_hot", "entropy"} - {off}).pop()
    for step, total in enumerate(curves["loss"]):
        assert total == pytest.approx(curves[left][step] + curves["diversity"][step], rel=1e-5)


def test_diversity_weight_scales_its_term() -> None:
    first = {weight: synthesis_curves(rdskd(diversity_weight=weight)) for weight in (0.0, 1.0, 8.0)}
    assert first[0.0]["diversity"] == [0.0] * 12
    assert first[8.0]["diversity"][0] == pytest.approx(8 * first[1.0]["diversity"][0])
    assert first[8.0]["one_hot"][0] == first[1.0]["one_hot"][0]


def test_switching_a_loss_changes_what_is_learnt() -> None:
    default = synthesis_curves(rdskd())["diversity"]
    for changed in ({"one_hot": False}, {"entropy": False}, {"exponential": False}):
        assert synthesis_curves(rdskd(**changed))["diversity"][-1] != default[-1]
    assert synthesis_curves(rdskd())["diversity"] == default


def batch_of(count: int) -> GeneratedBatch:
    stream = torch.Generator().manual_seed(0)
    shapes = [(count, 5), (count, 1, 8, 8), (count, 6), (count, 3)]
    return GeneratedBatch(*(torch.randn(*shape, generator=stream) for shape in shapes))


def test_rdskd_compares_the_halves_of_a_batch_by_the_teachers_probabilities() -> None:
    batch = batch_of(8)
    probs = batch.logits.softmax(1)
    expected = diversity_seeking_loss(batch.images[:4], batch.images[4:], probs[:4], probs[4:])
    torch.testing.assert_close(rdskd().diversity(batch), expected)
    torch.testing.assert_close(rdskd(diversity_weight=3.0).diversity(batch), 3 * expected)


@pytest.mark.parametrize("norm", ["l1-mean", "frobenius"])
def test_mskd_compares_them_by_their_latents(norm: Any) -> None:
    batch = batch_of(8)
    expected = mode_seeking_loss(
        batch.images[:4], batch.images[4:], batch.latents[:4], batch.latents[4:], norm
    )
    torch.testing.assert_close(mskd(norm=norm, diversity_weight=2.0).diversity(batch), 2 * expected)


def test_an_odd_batch_leaves_its_last_sample_without_a_pair() -> None:
    first, second = halves(torch.arange(7))
    assert (first.tolist(), second.tolist()) == ([0, 1, 2], [3, 4, 5])


# The whole method


@pytest.mark.parametrize("method", [rdskd, mskd])
def test_a_run_costs_what_the_budget_says(method: Any) -> None:
    problem, run = tiny_run()  # 4 steps of 8, then 24 + 6 images
    samples = method().synthesize(problem, run)
    assert isinstance(samples, ImageBank)
    assert (len(samples), samples.held_out) == (24, 6)
    assert run.ledger.teacher_forward == run.ledger.teacher_backward == 4 * 8
    assert run.ledger.synthetic_images == 4 * 8 + 24 + 6


def test_a_budget_without_a_bank_draws_fresh_images() -> None:
    problem, run = tiny_run(images=0)
    student = rdskd().fit(problem, run)
    assert isinstance(student, torch.nn.Module)
    assert isinstance(rdskd().synthesize(problem, run), OnlineSource)
    assert run.ledger.student_steps == 6


def test_same_seed_makes_the_same_images() -> None:
    def images(seed: int) -> torch.Tensor:
        problem, run = tiny_run(seed)
        return rdskd().synthesize(problem, run).images  # type: ignore[attr-defined]

    assert torch.equal(images(1), images(1))
    assert not torch.equal(images(1), images(2))


def test_temperature_and_mode_of_drawing_leave_the_generators_training_alone() -> None:
    default = synthesis_curves(rdskd())
    assert synthesis_curves(rdskd(temperature=2.0)) == default
    assert synthesis_curves(rdskd(generator_mode="train")) == default
