"""Optimising the pixels of a batch of images, for the methods that train no generator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from methods.base import Run
from methods.sources import ImageBank

Terms = dict[str, Tensor]
"""Named scalars of one step; ``loss``, their total with gradient, comes first."""


class PixelOptimization:
    """The budget's images, a batch at a time, each batch for the budget's steps of Adam.

    Args:
        run: budget and logging; the curves run over the steps of all batches.
        batch: images per batch; the last one may be smaller.
        learning_rate: Adam's, in the units of the images.
        keep: of a batch's iterates, the one with the least loss or the last.

    Raises:
        ValueError: when the budget gives no images or steps to such methods.
    """

    def __init__(
        self,
        run: Run,
        batch: int,
        learning_rate: float,
        keep: Literal["best", "last"] = "last",
    ) -> None:
        images, self.steps = run.budget.inversion_images, run.budget.inversion_steps
        if images < 2 or self.steps < 1:
            raise ValueError(
                f"budget '{run.budget.name}' gives nothing to methods that optimise pixels; set "
                "its inversion_images (at least 2) and inversion_steps"
            )
        self.sizes = [len(part) for part in torch.arange(images).split(batch)]
        self.learning_rate = learning_rate
        self.keep = keep
        self._run = run
        self._taken = 0

    def optimize(
        self,
        start: Tensor,
        loss: Callable[[Tensor], Terms],
        project: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Images that minimise ``loss``, B×C×H×W, starting from ``start``, which is left alone.

        Args:
            start: B×C×H×W.
            loss: of the batch.
            project: applied to the images after every step.

        Raises:
            Diverged: when a term is NaN or infinite.
        """
        images = start.clone().requires_grad_()
        optimizer = torch.optim.Adam([images], lr=self.learning_rate)
        best, least = start, torch.full((), torch.inf, device=start.device)
        total = self.steps * len(self.sizes)
        for _ in range(self.steps):
            terms = loss(images)
            self._run.log("synthesis", self._taken, total, **terms)
            self._taken += 1
            if self.keep == "best":
                # Copied before the update in place, which would otherwise change the best as well.
                lower = terms["loss"].detach() < least
                best = torch.where(lower, images.detach(), best)
                least = torch.where(lower, terms["loss"].detach(), least)
            # Of the batch's sum: the gradient of a mean over thousands of images would drown in
            # Adam's eps. Only the images get a gradient, not a student that the loss may contain.
            (images.grad,) = torch.autograd.grad(terms["loss"] * len(images), images)
            optimizer.step()
            if project is not None:
                images.data = project(images.data)
        self._run.ledger.synthetic_images += len(images)
        return best if self.keep == "best" else images.detach()


def balanced_labels(count: int, num_classes: int) -> Tensor:
    """0, 1, …, K−1, 0, 1, …: every class equally often, up to one."""
    return torch.arange(count) % num_classes


def jitter(images: Tensor, most: int, flip: bool, stream: torch.Generator) -> Tensor:
    """The batch rolled by up to ``most`` pixels each way and, if ``flip``, mirrored half the time.

    One shift for the whole batch, as released by DeepInversion.
    """
    down, right, mirror = (
        int(torch.randint(low, high, (), generator=stream))
        for low, high in ((-most, most + 1), (-most, most + 1), (0, 2))
    )
    if down or right:
        images = torch.roll(images, (down, right), dims=(2, 3))
    return images.flip(3) if flip and mirror else images


def validation_share(run: Run, images: int) -> int:
    """How many of ``images`` are kept for validation: the budget's number, at most a tenth."""
    return max(1, min(run.budget.validation_images, images // 10))


def shuffled_bank(images: Tensor, run: Run) -> ImageBank:
    """A bank of ``images`` in random order, so that those held out are of every class."""
    order = torch.randperm(len(images), generator=run.stream("bank-order"))
    # Half precision, like every bank of synthetic images (see `methods.sources.bank_of`).
    images = images.to("cpu", torch.float16)[order]
    return ImageBank(images, validation_share(run, len(images)), device=run.device)
