"""Counting the steps and images of every student, whatever loop trains it.

A budget is worth something only if nobody needs to be trusted with counting. A student is watched
from the moment it is made: its optimiser steps are seen by hooks on all of torch's optimisers, and
its images where they enter it. So are those of its copies, and of any network of its shapes.

It guards against mistakes and not against malice: who changes parameters without an optimiser is
seen by the images alone, and a student that changed without a step has no score.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils.weak import WeakTensorKeyDictionary

from methods.base.ledger import Ledger
from methods.networks.calls import stop_telling, tell_of_calls


class Watch:
    """The count of one student's steps.

    Two optimisers that share a student, each with a part of its parameters, take one step together.

    Args:
        student: whose parameters are watched.
        ledger: where its steps are counted, and kept by parameter for a run that goes on later.
    """

    def __init__(self, student: nn.Module, ledger: Ledger) -> None:
        parameters = list(student.parameters())
        self.ledger = ledger
        self.shapes = Counter(tuple(parameter.shape) for parameter in parameters)
        self._number = len(ledger.steps_by_parameter)
        ledger.steps_by_parameter.append([0] * len(parameters))
        self._places: dict[Any, int] = WeakTensorKeyDictionary()  # type: ignore[assignment]
        for place, parameter in enumerate(parameters):
            self._places[parameter] = place

    def step(self, parameters: list[Tensor]) -> None:
        """Count a step of an optimiser on some of the student's parameters."""
        taken = self.ledger.steps_by_parameter[self._number]
        before = max(taken)
        for parameter in parameters:
            taken[self._places[parameter]] += 1
        if new := max(taken) - before:
            self.ledger.add({"student_steps": new})


class _CopyWatch:
    """The count of the steps of a network that was made elsewhere and has a student's shapes."""

    def __init__(self, parameters: Sequence[Tensor], ledger: Ledger) -> None:
        self.ledger = ledger
        self._taken: dict[Any, int] = WeakTensorKeyDictionary()  # type: ignore[assignment]
        for parameter in parameters:
            self._taken[parameter] = 0

    def step(self, parameters: list[Tensor]) -> None:
        """Count a step of an optimiser on some of the network's parameters."""
        before = max(self._taken.values())
        for parameter in parameters:
            self._taken[parameter] += 1
        if new := max(self._taken.values()) - before:
            self.ledger.add({"student_steps": new})


_watch_of: dict[Any, Watch | _CopyWatch] = WeakTensorKeyDictionary()  # type: ignore[assignment]
_looked_at: weakref.WeakSet[Optimizer] = weakref.WeakSet()
"""Optimisers whose parameters are known: a student's, a copy's, or nobody's so far."""

_nobodys: dict[Any, None] = WeakTensorKeyDictionary()  # type: ignore[assignment]
"""Trained parameters that belong to no student and no copy, the latest last."""

_latest: list[Watch] = []
"""The watch of the student that was made last, which networks of its shapes belong to."""

_counted = 0
"""How many steps of students this process has counted."""

_counted_before: weakref.WeakKeyDictionary[Optimizer, int] = weakref.WeakKeyDictionary()
"""How many there were when an optimiser began its step."""


def watch(student: nn.Module, ledger: Ledger) -> nn.Module:
    """Count every step and every image of a new student in ``ledger``; returns the student."""
    if next(student.parameters(), None) is not None:
        seen = Watch(student, ledger)
        for parameter in student.parameters():
            _watch_of[parameter] = seen
        _latest[:] = [seen]
    return watch_images(student, ledger)


def watch_images(student: nn.Module, ledger: Ledger) -> nn.Module:
    """Count the images of a network that was made of a student; returns the network."""
    tell_of_calls(student, _ImageCounter(ledger))
    return student


def unwatch(student: nn.Module) -> nn.Module:
    """Count no more images of a student that is trained; returns the student."""
    stop_telling(student)
    return student


class _ImageCounter:
    """Counts the images of calls from which a student may learn."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def __call__(self, student: nn.Module, images: Tensor) -> Tensor:
        if torch.is_grad_enabled() and any(p.requires_grad for p in student.parameters()):
            self.ledger.add({"student_images": len(images)})
        return images


def _before_step(optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    _counted_before[optimizer] = _counted


def _after_step(optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    global _counted
    if _counted_before.get(optimizer, _counted) < _counted:
        return  # it took its step by another optimiser's, which counted
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    if optimizer not in _looked_at:
        _looked_at.add(optimizer)
        _look_for_copies([p for p in parameters if p not in _watch_of])
    found: dict[Watch | _CopyWatch, list[Tensor]] = {}
    for parameter in parameters:
        owner = _watch_of.get(parameter)
        if owner is not None:
            found.setdefault(owner, []).append(parameter)
    for owner, own in found.items():
        _counted += 1
        owner.step(own)


def _look_for_copies(parameters: Sequence[Tensor]) -> None:
    """Watch these parameters as a copy of a student, if they have its shapes.

    So do they together with parameters of other optimisers that belong to nobody: a network may be
    trained by several.
    """
    for parameter in parameters:
        _nobodys[parameter] = None
    own = set(map(id, parameters))
    pool = [*parameters, *(p for p in reversed(list(_nobodys)) if id(p) not in own)]
    for seen in _latest if parameters else ():
        wanted, chosen = Counter(seen.shapes), []
        for parameter in pool:
            if wanted[tuple(parameter.shape)] > 0:
                wanted[tuple(parameter.shape)] -= 1
                chosen.append(parameter)
        if len(chosen) == seen.shapes.total():
            copied = _CopyWatch(chosen, seen.ledger)
            for parameter in chosen:
                _watch_of[parameter] = copied
                _nobodys.pop(parameter, None)
            return


register_optimizer_step_pre_hook(_before_step)
register_optimizer_step_post_hook(_after_step)
