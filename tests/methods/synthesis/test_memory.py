"""The pool of images: 8 bits, held-out images, capacity, state."""

from __future__ import annotations

import pytest
import torch

from methods.synthesis.memory import Pool
from tests.helpers import IMAGE_SHAPE, tiny_run


def pool(capacity: int = 0, **budget: int) -> Pool:
    problem, run = tiny_run(**budget)
    return Pool(problem, run, capacity)


def images(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, *IMAGE_SHAPE, generator=torch.Generator().manual_seed(seed))


def test_images_are_kept_as_pixels_of_8_bits_rounded_down() -> None:
    kept = pool()
    # The tiny problem's pixels are images / 4 + 1 / 2.
    levels = torch.tensor([-3.0, -2.0, 0.0, 0.9999, 2.0, 3.0])
    kept.add(levels.view(-1, 1, 1, 1).expand(-1, *IMAGE_SHAPE))
    held_out = kept.validation(10, torch.Generator())
    found = torch.cat([kept.take(torch.arange(len(kept))), held_out])[:, 0, 0, 0]
    pixels = (levels.double() * 0.25 + 0.5).clamp(0, 1)
    expected = ((pixels * 255).floor() / 255 - 0.5) / 0.25
    assert torch.allclose(found.double().sort().values, expected.sort().values, atol=1e-5)


def test_every_image_is_learnt_from_or_held_out_and_the_ledger_counts_it() -> None:
    problem, run = tiny_run(validation_images=6)
    kept = Pool(problem, run)
    for turn in range(5):
        kept.add(images(20, turn))
    held_out = kept.validation(100, torch.Generator())
    assert (len(kept), len(held_out)) == (94, 6)
    assert run.ledger.synthetic_images == 100
    learnt = kept.take(torch.arange(len(kept)))
    assert len(torch.unique(torch.cat([learnt, held_out]), dim=0)) == 100


def test_one_image_is_always_left_to_learn_from() -> None:
    kept = pool()
    kept.add(images(1))
    assert len(kept) == 1


def test_the_oldest_images_leave_a_full_pool() -> None:
    kept = pool(capacity=30)
    for turn in range(4):
        kept.add(images(20, turn))
    assert len(kept) == 30
    last = pool()
    last.add(images(20, 3))
    newest = last.take(torch.arange(len(last))).flatten(1).sum(1).sort().values
    assert torch.isin(newest, kept.take(torch.arange(30)).flatten(1).sum(1)).sum() >= 18


def test_batches_are_drawn_from_the_pool_as_it_is() -> None:
    kept = pool()
    batches = kept.batches(8, torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="empty memory"):
        next(batches)
    kept.add(images(3))
    assert len(next(batches).images) == 8, "with replacement"


def test_a_pool_that_goes_on_draws_the_same_batches() -> None:
    first, second = pool(), pool()
    first.add(images(30))
    draws = first.batches(8, torch.Generator().manual_seed(0))
    next(draws)
    second.load_state_dict(first.state_dict())
    again = second.batches(8, torch.Generator())
    again.load_state_dict(draws.state_dict())
    for kept in (first, second):
        kept.add(images(10, 1))
    assert torch.equal(next(draws).images, next(again).images)
