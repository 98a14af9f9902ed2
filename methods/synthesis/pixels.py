"""Optimising the pixels of images, for methods that train no generator."""

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
"""Named scalars of one step; ``loss``, their total, comes first."""


class PixelOptimization:
    """Optimises the budget's images batch by batch, each for the budget's number of Adam steps.

    Args:
        run: gives budget and logging; the curves run over the steps of all batches.
        batch: images per batch, of which the last may be smaller; or the sizes of all batches.
        learning_rate: learning rate of Adam, in the units of the images.
        keep: which iterate of a batch is returned: the one with the least loss, or the last.
        resumable: whether the steps change nothing but the images and ``parts``.
        parts: what the losses change, as parts for `Run.steps`.
        one_adam: whether one Adam optimises all batches, image i of a batch with the moments that
            image i of the batch before left, instead of a new one each. The first batch must be
            the largest.
        betas: decays of Adam's two moments.
        schedule: gives the factor of the learning rate from the step of a batch, counted from 0,
            and the number of its steps; None for a constant rate.

    Raises:
        ValueError: when the budget gives no images or steps to such methods.
    """

    def __init__(
        self,
        run: Run,
        batch: int | Sequence[int],
        learning_rate: float,
        keep: Literal["best", "last"] = "last",
        resumable: bool = True,
        parts: Mapping[str, Part] | None = None,
        one_adam: bool = False,
        betas: tuple[float, float] = (0.9, 0.999),
        schedule: Callable[[int, int], float] | None = None,
    ) -> None:
        images, self.steps = run.budget.inversion_images, run.budget.inversion_steps
        if images < 2 or self.steps < 1:
            raise ValueError(
                f"budget '{run.budget.name}' gives nothing to methods that optimise pixels; set "
                "its inversion_images (at least 2) and inversion_steps"
            )
        if isinstance(batch, int):
            batch = [len(part) for part in torch.arange(images).split(batch)]
        self.sizes = list(batch)
        self.learning_rate = learning_rate
        self.keep = keep
        self._run = run
        self._begun = 0
        self._finished: list[Tensor] = []
        self._current: _Iterate | None = None
        self._kept: dict[str, Any] | None = None
        self._betas = betas
        self._schedule = schedule
        self._one_adam = one_adam
        self._moments: dict[str, Tensor] = {}
        self._total = self.steps * len(self.sizes)
        self._steps = (
            run.steps("synthesis", self._total, images=self, **(parts or {}))
            if resumable
            else iter(range(self._total))
        )

    def optimize(
        self,
        start: Tensor,
        loss: Callable[[Tensor], Terms],
        project: Callable[[Tensor], Tensor] | None = None,
        project_last: bool = True,
    ) -> Tensor:
        """Images that minimise ``loss``, B×C×H×W, starting from ``start``, which is left alone.

        Args:
            start: B×C×H×W.
            loss: takes the batch and returns its terms.
            project: applied to the images after every step.
            project_last: whether it is applied after the last step, too.

        Raises:
            Diverged: when a term is NaN or infinite.
            Stopped: after a step, when the run was asked to stop.
        """

        def differentiate(images: Tensor) -> tuple[Terms, Tensor]:
            terms = loss(images)
            # The gradient of the sum over the batch: that of a mean over thousands of images would
            # drown in Adam's eps. Only the images get one, not a student that the loss may contain.
            (gradient,) = torch.autograd.grad(terms["loss"] * len(images), images)
            return terms, gradient

        return self.descend(start, differentiate, project, project_last)

    def descend(
        self,
        start: Tensor,
        differentiate: Callable[[Tensor], tuple[Terms, Tensor]],
        project: Callable[[Tensor], Tensor] | None = None,
        project_last: bool = True,
    ) -> Tensor:
        """Like `optimize`, for losses that return their terms and their own gradient, B×C×H×W."""
        self._begun += 1
        if self._begun <= len(self._finished):
            return self._finished[self._begun - 1]
        current = self._current = _Iterate(start, self.learning_rate, self._betas)
        if self._moments:
            current.resume_adam(self._moments)
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
            if self._schedule is not None:
                factor = self._schedule(current.taken, self.steps)
                current.optimizer.param_groups[0]["lr"] = factor * self.learning_rate
            current.optimizer.step()
            if project is not None and (project_last or current.taken < self.steps - 1):
                images.data = project(images.data)
            current.taken += 1
        self._run.ledger.synthetic_images += len(images)
        if self._one_adam:
            self._moments = current.moments(self._moments)
        self._finished.append(current.best if self.keep == "best" else images.detach())
        self._current = None
        if len(self._finished) == len(self.sizes):
            next(self._steps, None)  # the loop is over, and may be kept as that
        return self._finished[-1]

    def skip(self, batches: int) -> None:
        """Go on after so many batches, which another run has made; for those not resumable."""
        self._begun = batches
        self._steps = iter(range(batches * self.steps, self._total))

    def state_dict(self) -> dict[str, Any]:
        """The finished batches, and the state of the batch in work."""
        current = None if self._current is None else self._current.state_dict()
        state = {"finished": list(self._finished), "current": current}
        return {**state, "moments": self._moments} if self._one_adam else state

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Restore ``state``; `optimize` returns finished batches at once and goes on after them."""
        device = self._run.device
        self._finished = [images.to(device) for images in state["finished"]]
        self._kept = state["current"]
        if self._one_adam:
            self._moments = {name: value.to(device) for name, value in state["moments"].items()}


class _Iterate:
    """A batch while its pixels are optimised, and its best iterate so far."""

    def __init__(self, start: Tensor, learning_rate: float, betas: tuple[float, float]) -> None:
        # One layout for pixels and gradients, over which the fused optimiser walks in step.
        self.images = start.clone(memory_format=torch.contiguous_format).requires_grad_()
        self.optimizer = Adam([self.images], lr=learning_rate, betas=betas, fused=True)
        self.best, self.least = start, torch.full((), torch.inf, device=start.device)
        self.taken = 0

    def resume_adam(self, moments: Mapping[str, Tensor]) -> None:
        """Go on with an Adam that has optimised at least as many images before."""
        count = len(self.images)
        self.optimizer.state[self.images] = {
            name: (value[:count] if value.dim() else value).clone()
            for name, value in moments.items()
        }

    def moments(self, earlier: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Adam's state after the last step, on top of an earlier one of more images."""
        found = {}
        for name, value in self.optimizer.state[self.images].items():
            found[name] = value.detach().clone()
            if value.dim() and name in earlier:
                found[name] = torch.cat([found[name], earlier[name][len(value) :]])
        return found

    def remember(self, loss: Tensor) -> None:
        """Keep the images if their loss is the least so far."""
        # A copy, because the optimiser goes on to change the images in place.
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
    """0, 1, …, K−1, 0, 1, … from position ``first`` on: all classes equally often, up to one."""
    return (torch.arange(count) + first) % num_classes


def first_turns(sizes: Sequence[int], turns: int) -> list[int]:
    """The turn that each batch begins with, so that all turns are about equally frequent.

    A batch goes on where the one before ended. A batch of ten rounds or more begins with turn 0:
    it has at most a tenth more of one turn than of another.

    Args:
        sizes: sizes of the batches.
        turns: number of turns in a round, for instance one per class.
    """
    ends = accumulate(sizes)
    return [
        0 if size >= 10 * turns else (end - size) % turns
        for size, end in zip(sizes, ends, strict=True)
    ]


def jitter(images: Tensor, most: int, flip: bool, stream: torch.Generator) -> Tensor:
    """Roll a batch by up to ``most`` pixels each way and, if ``flip``, mirror it half the time.

    The whole batch has one shift, as in the released code of DeepInversion.
    """
    down, right, mirror = (
        int(torch.randint(low, high, (), generator=stream))
        for low, high in ((-most, most + 1), (-most, most + 1), (0, 2))
    )
    if down or right:
        images = torch.roll(images, (down, right), dims=(2, 3))
    return images.flip(3) if flip and mirror else images


def shuffled_bank(images: Tensor, run: Run) -> ImageBank:
    """A bank of ``images`` in random order, so that the images held out are of every class."""
    order = torch.randperm(len(images), generator=run.stream("bank-order"))
    # Half precision, like every bank of synthetic images (see `methods.base.drawn_images.bank_of`).
    images = images.to("cpu", torch.float16)[order]
    return ImageBank(images, run.budget.held_out(len(images)), device=run.device)
