"""Samples from a function that draws images: a bank or fresh images, as the budget says."""

from __future__ import annotations

import torch

from methods.base.run import Run
from methods.base.samples import Draw, ImageBank, OnlineSource, SampleSource


def samples_from(draw: Draw, run: Run) -> SampleSource:
    """A bank drawn once, or fresh images at every step where the budget's ``images`` is 0."""
    budget = run.budget
    if budget.images == 0:
        return fresh_from(draw, run)
    bank = bank_of(
        draw,
        budget.images,
        budget.validation_images,
        budget.synthesis_batch,
        run.stream("bank"),
        run.device,
    )
    run.ledger.synthetic_images += len(bank.images)
    return bank


def fresh_from(draw: Draw, run: Run) -> OnlineSource:
    """Fresh images at every step, whatever the budget says, which are counted."""

    def count(images: int) -> None:
        run.ledger.synthetic_images += images

    return OnlineSource(draw, count)


def bank_of(
    draw: Draw, count: int, held_out: int, batch: int, stream: torch.Generator, device: torch.device
) -> ImageBank:
    """Draw a bank of ``count`` training and ``held_out`` validation images, ``batch`` at a time.

    Images are stored as float16, which takes half the memory; a fresh bank and one read from a
    cache then have the same bits.
    """
    total = count + held_out
    sizes = [batch] * (total // batch) + ([total % batch] if total % batch else [])
    images = torch.cat([draw(size, stream).to("cpu", torch.float16) for size in sizes])
    return ImageBank(images, held_out, device=device)
