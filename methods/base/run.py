"""One execution of a method: its budget, named random streams, resumable loops, log and clock."""

from __future__ import annotations

import copy
import hashlib
import math
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from methods.base.ledger import Ledger
from methods.base.samples import SampleSource
from methods.base.states import Diverged, Keeper, Part, Stopped, restore, state_of
from methods.base.work import Meter
from methods.settings.budget import Budget

Progress = Callable[[str, int, int, float], None]
"""Called with a run's phase, step, total number of steps and loss."""


def _silent(phase: str, step: int, total: int, loss: float) -> None:
    pass


def _stride(total: int, points: int) -> int:
    """The distance, in steps, between two points of a curve of ``total`` steps."""
    return max(1, math.ceil(total / points))


def derive_seed(seed: int, name: str) -> int:
    """A 63-bit seed for one named purpose, independent of every other name."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _numpy_state() -> dict[str, Any]:
    state = np.random.get_state(legacy=False)
    assert isinstance(state, dict)
    inner = {**state["state"], "key": torch.from_numpy(state["state"]["key"].astype(np.int64))}
    return {**state, "state": inner}


def _set_numpy_state(state: Mapping[str, Any]) -> None:
    key = state["state"]["key"].numpy().astype(np.uint32)
    np.random.set_state({**state, "state": {**state["state"], "key": key}})


class _Clocks(NamedTuple):
    """Seconds of the clock on the wall, and of all threads of this process on its processors."""

    wall: float
    processor: float

    @classmethod
    def now(cls) -> _Clocks:
        return cls(time.perf_counter(), time.process_time())

    def since(self, earlier: _Clocks) -> _Clocks:
        return _Clocks(self.wall - earlier.wall, self.processor - earlier.processor)

    def plus(self, other: _Clocks) -> _Clocks:
        return _Clocks(self.wall + other.wall, self.processor + other.processor)

    def add_to(self, ledger: Ledger, phase: str) -> None:
        ledger.seconds[phase] = ledger.seconds.get(phase, 0.0) + self.wall
        spent = ledger.processor_seconds
        spent[phase] = spent.get(phase, 0.0) + self.processor


class Run:
    """One execution: budget, device, named random streams, logging and checkpoints.

    Args:
        budget: what may be spent.
        seed: every random stream derives from it and from the stream's name.
        device: where to compute.
        precision: ``bf16`` runs `autocast` regions in bfloat16, ``fp32`` leaves them alone.
        ledger: what has been spent; shared with the teacher.
        progress: called now and then with phase, step, total and loss.
        on_checkpoint: called with the student, the step and the samples it learns from.
        find_samples: returns the samples that its argument would make, from a cache if possible.
        stopping: returns the reason to stop, empty as long as there is none.
        keeper: where the states of `steps` are kept, so that another run goes on from them.
    """

    POINTS_PER_CURVE = 50
    UNREAD_STEPS = 16

    def __init__(
        self,
        budget: Budget,
        seed: int = 0,
        *,
        device: torch.device | str = "cpu",
        precision: Literal["bf16", "fp32"] = "fp32",
        ledger: Ledger | None = None,
        progress: Progress = _silent,
        on_checkpoint: Callable[[nn.Module, int, SampleSource], None] | None = None,
        find_samples: Callable[[Callable[[], SampleSource]], SampleSource] | None = None,
        stopping: Callable[[], str] = lambda: "",
        keeper: Keeper | None = None,
    ) -> None:
        self.budget = budget
        self.seed = seed
        self.device = torch.device(device)
        self.precision = precision
        self.ledger = ledger or Ledger()
        self.curves: dict[str, dict[str, list[float]]] = {}
        self._progress = progress
        self.on_checkpoint = on_checkpoint
        self.find_samples = find_samples
        self.keeper = keeper
        self._stopping = stopping
        self._loops = 0
        self._meter = Meter(self.ledger)
        self._phase: tuple[str, _Clocks] | None = None
        self._inner = _Clocks(0.0, 0.0)
        self._unread: list[tuple[str, int, int, list[str], Tensor]] = []

    def stream(self, name: str) -> torch.Generator:
        """A fresh random stream on the CPU, the same for the same seed and name."""
        return torch.Generator().manual_seed(derive_seed(self.seed, name))

    @contextmanager
    def seeded(self, name: str) -> Iterator[None]:
        """Within the block torch's global generator is the named stream; then it is as before.

        For code that cannot take a generator, such as the initialisation of layers.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self.seed, name))
            yield

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count seconds and work of the block under ``name``, without those of phases inside it."""
        started, outer, self._inner = _Clocks.now(), self._inner, _Clocks(0.0, 0.0)
        around, self._phase = self._phase, (name, started)
        try:
            with self._meter.of(name):
                yield
        finally:
            self._phase = around
            spent = _Clocks.now().since(started)
            spent.since(self._inner).add_to(self.ledger, name)
            self._inner = outer.plus(spent)

    def reuse(self, make: Callable[[], SampleSource]) -> SampleSource:
        """The samples that ``make`` makes, from a cache where the caller has one."""
        if self.find_samples is not None:
            return self.find_samples(make)
        with self.phase("synthesis"):
            return make()

    def steps(self, loop: str, total: int, **parts: Part) -> Iterator[int]:
        """The numbers of a loop's steps, beginning with the first that has not been done yet.

        After every step the run's state may be kept, and the run may stop when it was asked to.
        Going on from there gives the same bits as never having stopped, if ``parts`` are all that
        the steps change and read again: networks, optimisers, schedules, random streams. The
        curves and the ledger of the run, and the global random states of torch, numpy and Python,
        are kept with them. A loop that does not use `steps` is stopped by `log` and starts again.

        Args:
            loop: name of the loop in kebab-case, unique in the run.
            total: number of steps.
            parts: what the steps change, by name; a kept state is restored before the first step.

        Raises:
            Stopped: after a step, when the run was asked to stop.
        """
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", loop):
            raise ValueError(f"the loop's name '{loop}' is not kebab-case")
        return self._steps(loop, self._go_on(loop, parts), total, parts)

    def _steps(self, loop: str, first: int, total: int, parts: Mapping[str, Part]) -> Iterator[int]:
        self._loops += 1
        try:
            for step in range(first, total):
                with self._meter.step(loop, step, total):
                    yield step
                reason = self._stopping()
                if self.keeper is not None and (reason or self.keeper.due()):
                    self.keeper.save(loop, step + 1, self._state(parts))
                if reason:
                    raise Stopped(reason)
        finally:
            self._loops -= 1

    def _state(self, parts: Mapping[str, Part]) -> dict[str, Any]:
        self._read_scalars()
        self._meter.read()
        ledger = copy.deepcopy(self.ledger)
        if self._phase is not None:  # the seconds of a phase are counted at its end
            name, started = self._phase
            _Clocks.now().since(started).since(self._inner).add_to(ledger, name)
        state = {
            "parts": {name: state_of(part) for name, part in parts.items()},
            "random": torch.get_rng_state(),
            "other random": {"python": random.getstate(), "numpy": _numpy_state()},
            "ledger": ledger.spent(),
            "curves": self.curves,
        }
        if self.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.device)
        return state

    def _go_on(self, loop: str, parts: Mapping[str, Part]) -> int:
        found = None if self.keeper is None else self.keeper.load(loop)
        if found is None:
            return 0
        step, state = found
        for name, part in parts.items():
            restore(part, state["parts"][name])
        torch.set_rng_state(state["random"])
        if "other random" in state:  # states of older versions have none
            random.setstate(state["other random"]["python"])
            _set_numpy_state(state["other random"]["numpy"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda"], self.device)
        self._meter.read()  # what was done again to get here is part of the state
        self.ledger.go_on(state["ledger"])
        self.curves.clear()
        self.curves.update(state["curves"])
        return step

    def autocast(self) -> AbstractContextManager[Any]:
        """A context that computes in bfloat16 if the run's precision is ``bf16``.

        Losses are computed in float32 outside of it.
        """
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def log(self, phase: str, step: int, total: int, **scalars: Tensor | float) -> None:
        """Record scalars of step ``step`` (from 0) of ``total``; the first is reported as the loss.

        Scalars on an accelerator are read a few steps later, so that the CPU does not wait for it.

        Raises:
            Diverged: when one of them is NaN or infinite, at once on a CPU, and at most
                `UNREAD_STEPS` steps late elsewhere.
            Stopped: when the run was asked to stop and the loop does not use `steps`.
        """
        if not self._loops and (reason := self._stopping()):
            raise Stopped(reason)
        found = [
            v.detach() if isinstance(v, Tensor) else torch.tensor(v, dtype=torch.float64)
            for v in scalars.values()
        ]
        if len({scalar.dtype for scalar in found}) > 1:  # a common dtype might have too few bits
            found = [scalar.double() for scalar in found]
        values = torch.stack([scalar.to(self.device) for scalar in found]).double()
        self._unread.append((phase, step, total, list(scalars), values))
        due = step % _stride(total, self.POINTS_PER_CURVE) == 0 or step == total - 1
        if due or values.device.type == "cpu" or len(self._unread) >= self.UNREAD_STEPS:
            self._read_scalars()

    def _read_scalars(self) -> None:
        unread, self._unread = self._unread, []
        for phase, step, total, names, tensor in unread:
            values = dict(zip(names, tensor.tolist(), strict=True))
            for name, value in values.items():
                if not math.isfinite(value):
                    raise Diverged(f"{name} became {value} at step {step} of {total} in {phase}")
            if step % _stride(total, self.POINTS_PER_CURVE) and step != total - 1:
                continue
            for name, value in values.items():
                curve = self.curves.setdefault(f"{phase}/{name}", {"step": [], "value": []})
                curve["step"].append(step)
                curve["value"].append(value)
            self._progress(phase, step + 1, total, next(iter(values.values())))

    def checkpoint(self, student: nn.Module, step: int, samples: SampleSource) -> None:
        """Hand the student to the caller after ``step`` steps; the method gets no answer."""
        if self.on_checkpoint is not None:
            self.on_checkpoint(student, step, samples)
