"""Counting the steps and images of every student, whatever loop trains it.

A budget is worth something only if nobody needs to be trusted with counting. A student is watched
from the moment it is made: its optimiser steps are seen by a hook on all of torch's optimisers, and
the images that it is called with by a hook on itself.

It guards against mistakes and not against malice: who changes parameters without an optimiser is
not seen, and so a student that changed without a step has no score.
"""

from __future__ import annotations

import weakref
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.weak import WeakTensorKeyDictionary

from methods.base.ledger import Ledger


class Watch:
    """The count of one student's steps.

    Two optimisers that share a student, each with a part of its parameters, take one step together.

    Args:
        student: whose parameters are watched.
        ledger: where its steps are counted.
    """

    def __init__(self, student: nn.Module, ledger: Ledger) -> None:
        self.ledger = ledger
        self.shapes = Counter(tuple(p.shape) for p in student.parameters())
        self.steps = 0
        self._taken: dict[Any, int] = WeakTensorKeyDictionary()  # type: ignore[assignment]

    def step(self, parameters: list[Tensor]) -> None:
        """Count a step of an optimiser on some of the student's parameters."""
        for parameter in parameters:
            self._taken[parameter] = self._taken.get(parameter, 0) + 1
        most = max(self._taken[parameter] for parameter in parameters)
        if most > self.steps:
            new, self.steps = most - self.steps, most
            self.ledger.add({"student_steps": new})


_watch_of: dict[Any, Watch] = WeakTensorKeyDictionary()  # type: ignore[assignment]
_copies: weakref.WeakKeyDictionary[Optimizer, Watch | None] = weakref.WeakKeyDictionary()
_latest: list[Watch] = []
"""The watch of the student that was made last, which its copies belong to."""


def watch(student: nn.Module, ledger: Ledger) -> nn.Module:
    """Count every step and every image of a new student in ``ledger``; returns the student."""
    seen = Watch(student, ledger)
    for parameter in student.parameters():
        _watch_of[parameter] = seen
    _latest[:] = [seen]
    student.register_forward_pre_hook(_ImageCounter(ledger))
    return student


def unwatch(student: nn.Module) -> nn.Module:
    """Take the counter of images off a student that is trained; returns the student."""
    hooks = student._forward_pre_hooks
    for key in [key for key, hook in hooks.items() if isinstance(hook, _ImageCounter)]:
        del hooks[key]
    return student


class _ImageCounter:
    """A hook that counts the images of a student's forward passes with gradients.

    Args:
        ledger: where they are counted.
    """

    sees_nothing = True

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def __call__(self, student: nn.Module, inputs: tuple[Any, ...]) -> None:
        learns = torch.is_grad_enabled() and any(p.requires_grad for p in student.parameters())
        if learns and inputs and isinstance(inputs[0], Tensor):
            self.ledger.add({"student_images": len(inputs[0])})

    def __deepcopy__(self, memo: Any) -> _ImageCounter:
        return self  # copies of a student count in the same ledger


def _after_step(optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    found: dict[Watch, list[Tensor]] = {}
    for parameter in parameters:
        owner = _watch_of.get(parameter)
        if owner is not None:
            found.setdefault(owner, []).append(parameter)
    for owner, own in found.items():
        owner.step(own)
    if not found and (copied := _copied_student(optimizer, parameters)) is not None:
        copied.ledger.add({"student_steps": 1})


def _copied_student(optimizer: Optimizer, parameters: list[Tensor]) -> Watch | None:
    """The watch of the student of which an optimiser trains a copy, known by its shapes."""
    if optimizer not in _copies:
        shapes = Counter(tuple(p.shape) for p in parameters)
        _copies[optimizer] = next((seen for seen in _latest if seen.shapes <= shapes), None)
    return _copies[optimizer]


register_optimizer_step_post_hook(_after_step)
