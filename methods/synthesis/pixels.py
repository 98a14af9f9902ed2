"""Optimising the pixels of a batch of images, for the methods that train no generator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Literal

import torch
from torch import Tensor

from methods.acceleration.optimizers import Adam
from methods.base.run import Run
from methods.base.samples import ImageBank
from methods.base.states import Part

Terms = dict[str, Tensor]
"""Named scalars of one step; ``loss``, their total with gradient, comes first."""


class PixelOptimization:
    """The budget's images, a batch at a time, each batch for the budget's steps of Adam.

    Args:
        run: budget and logging; the curves run over the steps of all batches.
        batch: images per batch; the last one may be smaller.
        learning_rate: Adam's, in the units of the images.
        keep: of a batch's iterates, the one with the least loss or the last.
        resumable: whether nothing but this, and ``beside``, changes from step to step.
        beside: what the losses change, for `Run.steps`.

    Raises:
        ValueError: when the budget gives no images or steps to such methods.
    """

    def __init__(
        self,
        run: Run,
        batch: int,
        learning_rate: float,
        keep: Literal["best", "last"] = "last",
        resumable: bool = True,
        beside: Mapping[str, Part] | None = None,
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
        self._begun = 0
        self._finished: list[Tensor] = []
        self._current: _Iterate | None = None
        self._kept: dict[str, Any] | None = None
        self._total = self.steps * len(self.sizes)
        self._steps = (
            run.steps("synthesis", self._total, images=self, **(beside or {}))
            if resumable
            else iter(range(self._total))
        )

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
            Stopped: after a step, when the run was asked to stop.
        """

        def differentiate(images: Tensor) -> tuple[Terms, Tensor]:
            terms = loss(images)
            # Of the batch's sum: the gradient of a mean over thousands of images would drown in
            # Adam's eps. Only the images get a gradient, not a student that the loss may contain.
            (gradient,) = torch.autograd.grad(terms["loss"] * len(images), images)
            return terms, gradient

        return self.descend(start, differentiate, project)

    def descend(
        self,
        start: Tensor,
        differentiate: Callable[[Tensor], tuple[Terms, Tensor]],
        project: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """`optimize` for losses that give their own gradient, B×C×H×W, beside their terms."""
        self._begun += 1
        if self._begun <= len(self._finished):
            return self._finished[self._begun - 1]
        current = self._current = _Iterate(start, self.learning_rate)
        if self._kept is not None:
            current.load_state_dict(self._kept)
            self._kept = None
        images = current.images
        while current.taken < self.steps:
            step = next(self._steps)
            terms, gradient = differentiate(images)
            self._run.log("synthesis", step, self._total, **terms)
            if self.keep == "best":
                current.remember(terms["loss"].detach())
            images.grad = gradient.contiguous()
            current.optimizer.step()
            if project is not None:
                images.data = project(images.data)
            current.taken += 1
        self._run.ledger.synthetic_images += len(images)
        self._finished.append(current.best if self.keep == "best" else images.detach())
        self._current = None
        if len(self._finished) == len(self.sizes):
            next(self._steps, None)  # the loop is over, and may be kept as that
        return self._finished[-1]

    def state_dict(self) -> dict[str, Any]:
        """The batches that are done, and where the one in work is."""
        current = None if self._current is None else self._current.state_dict()
        return {"finished": list(self._finished), "current": current}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Hand out what is done, and go on from there."""
        device = self._run.device
        self._finished = [images.to(device) for images in state["finished"]]
        self._kept = state["current"]


class _Iterate:
    """A batch while its pixels are optimised, and the best it has been."""

    def __init__(self, start: Tensor, learning_rate: float) -> None:
        # One layout for pixels and gradients, over which the fused optimiser walks in step.
        self.images = start.clone(memory_format=torch.contiguous_format).requires_grad_()
        self.optimizer = Adam([self.images], lr=learning_rate, fused=True)
        self.best, self.least = start, torch.full((), torch.inf, device=start.device)
        self.taken = 0

    def remember(self, loss: Tensor) -> None:
        """Keep the images if their loss is the least so far."""
        # Copied before the update in place, which would otherwise change the best as well.
        lower = loss < self.least
        self.best = torch.where(lower, self.images.detach(), self.best)
        self.least = torch.where(lower, loss, self.least)

    def state_dict(self) -> dict[str, Any]:
        return {
            "images": self.images.detach(),
            "optimizer": self.optimizer.state_dict(),
            "best": self.best,
            "least": self.least,
            "taken": self.taken,
        }

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        device = self.images.device
        self.images.data.copy_(state["images"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best, self.least = state["best"].to(device), state["least"].to(device)
        self.taken = state["taken"]


def balanced_labels(count: int, num_classes: int, first: int = 0) -> Tensor:
    """0, 1, …, K−1, 0, 1, … from turn ``first`` on: every class equally often, up to one."""
    return (torch.arange(count) + first) % num_classes


def first_turns(sizes: Sequence[int], turns: int) -> list[int]:
    """Which turn each batch begins with, so that all images have every turn about equally often.

    A batch goes on where the one before ended. One of ten rounds and more begins anew, for what it
    has too many of a turn is at most a tenth.

    Args:
        sizes: of the batches.
        turns: in a round, one per class for instance.
    """
    ends = accumulate(sizes)
    return [
        0 if size >= 10 * turns else (end - size) % turns
        for size, end in zip(sizes, ends, strict=True)
    ]


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


def shuffled_bank(images: Tensor, run: Run) -> ImageBank:
    """A bank of ``images`` in random order, so that those held out are of every class."""
    order = torch.randperm(len(images), generator=run.stream("bank-order"))
    # Half precision, like every bank of synthetic images (see `methods.base.drawn_images.bank_of`).
    images = images.to("cpu", torch.float16)[order]
    return ImageBank(images, run.budget.held_out(len(images)), device=run.device)
