"""Fast: meta-gradients, what a round makes, what is refused."""

from __future__ import annotations

import copy
from typing import Any

import torch

from methods.base.problem import Problem
from methods.base.run import Run
from methods.fast import Fast, FastGame
from methods.networks.batch_norm import batch_norm_layers
from methods.synthesis.inversion import BestIterate, target_labels
from tests.helpers import tiny_run


def fast(**params: Any) -> Fast:
    sizes = {"latent_dim": 5, "width": 4, "augmentation": "none"}
    return Fast(Fast.build_params({**sizes, **params}))


def game(problem: Problem, run: Run, **params: Any) -> FastGame:
    found = fast(**params).game(problem, run)
    assert isinstance(found, FastGame)
    return found


def gradients_of_a_turn(meta: str) -> tuple[list[torch.Tensor], FastGame, dict[str, torch.Tensor]]:
    """The meta-gradient of one turn, and the meta-generator before it."""
    problem, run = tiny_run(synthesis_steps=4)
    played = game(problem, run, meta=meta, inner_steps=2, adversarial=0.0, momentum=0.0)
    before = {name: p.detach().clone() for name, p in played.generator.state_dict().items()}
    seen: list[torch.Tensor] = []

    def note(optimizer: Any, args: Any, kwargs: Any) -> None:
        seen.extend(p.grad.clone() for p in played.generator.parameters())  # type: ignore[union-attr]

    played.meta.register_step_pre_hook(note)
    played.make(problem.make_student(), 0.0)
    return seen, played, before


def test_the_meta_gradient_is_the_sum_of_those_of_the_inner_steps() -> None:
    found, _, before = gradients_of_a_turn("sum-fomaml")
    # The same turn by hand, with torch's own Adam.
    problem, run = tiny_run(synthesis_steps=4)
    other = game(problem, run, inner_steps=2, adversarial=0.0, momentum=0.0)
    generator = copy.deepcopy(other.generator)
    generator.load_state_dict(before)
    latents = torch.randn(run.budget.synthesis_batch, 5, generator=other.draws).requires_grad_()
    labels = target_labels("random", run.budget.synthesis_batch, 3, other.draws)
    optimizer = torch.optim.Adam(
        [{"params": list(generator.parameters()), "lr": 3e-3}, {"params": [latents], "lr": 0.01}],
        betas=(0.5, 0.999),
    )
    expected = [torch.zeros_like(p) for p in generator.parameters()]
    for _ in range(2):
        with other.inversion.turn():
            loss = other.inversion.terms(generator(latents), labels, None)["loss"]
            optimizer.zero_grad()
            loss.backward()
        for total, parameter in zip(expected, generator.parameters(), strict=True):
            assert parameter.grad is not None
            total += parameter.grad
        optimizer.step()
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-5)


def test_the_meta_generators_batch_norm_statistics_never_move() -> None:
    _, played, before = gradients_of_a_turn("sum-fomaml")
    after = played.generator.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert not any("running" in name or "tracked" in name for name in moved)


def test_without_meta_learning_the_generator_itself_goes_on() -> None:
    found, played, before = gradients_of_a_turn("none")
    assert found == []
    after = played.generator.state_dict()
    assert not torch.equal(before["norm1.running_mean"], after["norm1.running_mean"])


def test_a_round_adds_a_batch_to_the_pool_and_spends_its_inner_steps() -> None:
    problem, run = tiny_run(synthesis_steps=8, synthesis_batch=10, student_steps=6)
    fast(inner_steps=2, warm_up=0.0).fit(problem, run)
    ledger = run.ledger
    assert ledger.synthetic_images == 4 * 10
    assert ledger.teacher_backward == 8 * 10
    # Every image once in each inner step, and the student's batches anew.
    assert ledger.teacher_forward == 8 * 10 + 6 * run.budget.student_batch
    assert ledger.student_steps == 6


def test_the_adversarial_term_waits_for_the_end_of_the_warm_up() -> None:
    problem, run = tiny_run(synthesis_steps=8, student_steps=6)
    played = game(problem, run, warm_up=0.5)
    student = problem.make_student()
    assert "adversarial" not in played.make(student, 0.49)
    assert "adversarial" in played.make(student, 0.5)


def test_the_best_images_are_those_before_the_step_and_own_their_memory() -> None:
    best, images = BestIterate(), torch.zeros(2, 1, 2, 2)
    for value, loss in ((1.0, 5.0), (2.0, 3.0), (3.0, 4.0)):
        images.fill_(value)
        best.remember(images, torch.tensor(loss))
    images.fill_(9.0)
    assert torch.equal(best.images, torch.full((2, 1, 2, 2), 2.0))


def test_balanced_labels_have_every_class_equally_often() -> None:
    stream = torch.Generator().manual_seed(0)
    counts = target_labels("balanced", 34, 10, stream).bincount(minlength=10)
    assert counts.min() == 3
    assert counts.max() == 4
    assert len(target_labels("random", 34, 10, stream)) == 34


def test_a_teacher_without_batch_norm_is_refused_in_one_line() -> None:
    problem, _ = tiny_run()
    for layer in batch_norm_layers(problem.teacher.network):
        layer.running_mean = layer.running_var = None
    message = fast().supports(problem)
    assert message is not None
    assert "BatchNorm" in message
    assert fast(bn_weight=0.0).supports(problem) is None
