"""Methods that are hostile, by kind: what they raise and where, leave behind, return and change.

Every class is one variant. `VARIANTS` has for each its kind and the statuses that are right.
"""

from __future__ import annotations

import asyncio
import builtins
import concurrent.futures
import gc
import logging
import math
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from benchmark.metrics import exam
from methods.base.ledger import OverBudget
from methods.base.states import Diverged, Stopped
from methods.baselines import Noise


class Variant(NamedTuple):
    """What a variant is, and which statuses of its record are right."""

    kind: str
    right: tuple[str, ...]


VARIANTS: dict[str, Variant] = {}

FAILS = ("error",)
FINISHES = ("ok", "collapsed")


class Own(BaseException):
    """Derives from nothing that anybody expects."""


class Silent(Exception):
    """Cannot be printed."""

    def __str__(self) -> str:
        raise GeneratorExit


class NoText(Exception):
    """Prints as something that is no text."""

    def __str__(self) -> str:
        return 3  # type: ignore[return-value]


def variant(name: str, kind: str, right: tuple[str, ...], **members: Any) -> None:
    """Declare a class of this module."""
    defaults = {"name": name, "title": name, "paper": "none", "__module__": __name__}
    globals()["".join(map(str.capitalize, name.split("-")))] = type(
        name, (Noise,), {**defaults, **members}
    )
    VARIANTS[name] = Variant(kind, right)


def raising(error: Callable[[], BaseException]) -> Callable[..., Any]:
    """A function that raises."""

    def act(*arguments: Any, **named: Any) -> Any:
        raise error()

    return act


# What is raised, and where

EXCEPTIONS: dict[str, Callable[[], BaseException]] = {
    "generator-exit": GeneratorExit,
    "own": lambda: Own("mine"),
    "cancelled": asyncio.CancelledError,
    "keyboard": KeyboardInterrupt,
    "exit": lambda: SystemExit(0),
    "group": lambda: BaseExceptionGroup("several", [Own("one"), ValueError("two")]),
    "stop-iteration": lambda: StopIteration(3),
    "silent": Silent,
    "no-text": NoText,
    "surrogate": lambda: ValueError("\ud800"),
    "recursion": lambda: RecursionError("too deep"),
}
PLACES = ("__init__", "supports", "note", "synthesize", "objective", "distill", "fit")

for _exception, _make in EXCEPTIONS.items():
    for _place in PLACES:
        variant(
            f"raises-{_exception}-in-{_place.strip('_')}",
            "raises",
            FAILS,
            **{_place: raising(_make)},
        )
variant(
    "diverges-in-surrogates",
    "raises",
    ("diverged",),
    synthesize=raising(lambda: Diverged("\ud800")),
)
variant(
    "diverges-silently", "raises", ("diverged",), synthesize=raising(lambda: Diverged(Silent()))
)
variant(
    "over-budget-in-surrogates",
    "raises",
    ("over_budget",),
    synthesize=raising(lambda: OverBudget("\udfff")),
)
variant("stops-itself", "raises", FAILS, synthesize=raising(lambda: Stopped("bored")))


# What is left for the record


def after(do: Callable[[Any], object]) -> Callable[..., Any]:
    """A synthesis that does something to its run first."""

    def synthesize(self: Any, problem: Any, run: Any) -> Any:
        do(run)
        return Noise.synthesize(self, problem, run)

    return synthesize


def _set(what: str, value: Any) -> Callable[[Any], None]:
    return lambda run: setattr(run.ledger, what, value)


def _curve(name: Any, curve: Any) -> Callable[[Any], None]:
    return lambda run: run.curves.__setitem__(name, curve)


def _in_phase(name: Any) -> Callable[[Any], None]:
    def do(run: Any) -> None:
        with run.phase(name):
            pass

    return do


for _name, _value in {"none": None, "number": 3, "bytes": b"x", "list": ["x"]}.items():
    variant(f"note-is-{_name}", "leaves", FAILS, note=lambda self, problem, value=_value: value)
    variant(f"title-is-{_name}", "leaves", FAILS, title=_value)
    variant(f"paper-is-{_name}", "leaves", FAILS, paper=_value)
variant("title-is-surrogate", "leaves", FINISHES, title="\ud800")
variant("note-is-surrogate", "leaves", FINISHES, note=lambda self, problem: "\ud800\x1b]0;x\x07")
variant("supports-number", "leaves", FAILS, supports=lambda self, problem: 3)
for _name, _do in {
    "half-an-image": lambda run: setattr(
        run.ledger, "synthetic_images", run.ledger.synthetic_images + 0.5
    ),
    "nan-images": _set("synthetic_images", math.nan),
    "none-images": _set("teacher_forward", None),
    "negative-images": _set("teacher_backward", -1),
    "countless-images": _set("teacher_backward", 10**30),
    "nan-seconds": lambda run: run.ledger.seconds.update(x=math.nan),
    "no-seconds": _set("seconds", None),
    "nan-work": lambda run: run.ledger.work.update(x=math.inf),
    "nameless-work": lambda run: run.ledger.work.update({3: 1.0}),
    "tensor-work": lambda run: run.ledger.work.update(x=torch.ones(2)),
    "no-ledger": lambda run: setattr(run, "ledger", None),
    "no-curves": lambda run: setattr(run, "curves", None),
    "curve-without-values": _curve("x", {"step": [1.0]}),
    "curve-of-text": _curve("x", {"step": ["a"], "value": ["b"]}),
    "curve-of-nan": _curve("x", {"step": [1.0], "value": [math.nan]}),
    "short-curve": _curve("x", {"step": [1.0, 2.0], "value": [1.0]}),
    "nameless-curve": _curve(3, {"step": [1.0], "value": [1.0]}),
    "no-curve": _curve("x", None),
    "nameless-phase": _in_phase(None),
}.items():
    _right = ("over_budget",) if _name == "countless-images" else FAILS
    variant(f"leaves-{_name}", "leaves", _right, synthesize=after(_do))
variant(
    "phase-of-markup",
    "leaves",
    FINISHES,
    synthesize=after(lambda run: run.log("[/x]", 0, 1, loss=1.0)),
)
variant(
    "phase-of-surrogates",
    "leaves",
    FINISHES,
    synthesize=after(lambda run: run.log("\ud800", 0, 1, loss=1.0)),
)
variant("int64-images", "leaves", FINISHES, synthesize=after(_set("synthetic_images", np.int64(3))))


# What is returned


def returning(make: Callable[[], Any]) -> Callable[..., Any]:
    """A function that returns what ``make`` makes, whatever it is given."""
    return lambda *arguments, **named: make()


class Hollow(nn.Module):
    """A network that says nothing."""

    def state_dict(self, *arguments: Any, **named: Any) -> Any:
        raise Own("no state")


for _name, _result in {
    "none": lambda: None,
    "number": lambda: 3,
    "class": lambda: nn.Linear,
    "linear": lambda: nn.Linear(3, 3),
    "hollow": Hollow,
    "generator": lambda: (x for x in ()),
    "exception": lambda: Own("returned"),
    "future": concurrent.futures.Future,
}.items():
    variant(
        f"fit-returns-{_name}",
        "returns",
        FAILS,
        fit=lambda self, problem, run, make=_result: make(),
    )
    variant(
        f"distill-returns-{_name}",
        "returns",
        FAILS,
        distill=lambda self, problem, samples, run, make=_result: make(),
    )
for _name, _result in {
    "none": None,
    "number": 3,
    "tensor": torch.zeros(4, 1, 8, 8),
    "list": [],
}.items():
    variant(
        f"synthesize-returns-{_name}",
        "returns",
        FAILS,
        synthesize=lambda self, problem, run, value=_result: value,
    )


# What is changed about the process


def _end_of_gradients() -> None:
    torch.inference_mode().__enter__()


def _odd_mode() -> None:
    class Doubles(torch.overrides.TorchFunctionMode):
        def __torch_function__(
            self, function: Any, types: Any, arguments: Any = (), named: Any = None
        ) -> Any:
            made = function(*arguments, **(named or {}))
            return made * 2 if function is torch.randn else made

    Doubles().__enter__()


def _odd_hook(*arguments: Any) -> Any:
    return arguments[-1] * 1.5


def _without_folder() -> None:
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    os.rmdir(folder)


def _draws() -> None:
    def draw() -> None:
        for _ in range(3000):
            torch.rand(1)
            random.random()
            time.sleep(0.01)

    threading.Thread(target=draw, daemon=True).start()


def _forks() -> None:
    if os.fork() == 0:
        time.sleep(600)
        os._exit(0)


def _daemon() -> None:
    subprocess.Popen(["sh", "-c", "(setsid sleep 600 &) ; exit"], start_new_session=True).wait()


def _limit(which: int, value: int) -> None:
    resource.setrlimit(which, (value, resource.getrlimit(which)[1]))


CHANGES: dict[str, Callable[[], object]] = {
    "autocast": lambda: torch.autocast("cpu").__enter__(),
    "mkldnn": lambda: torch._C._set_mkldnn_enabled(False),
    "backends-mkldnn": lambda: setattr(torch.backends.mkldnn, "enabled", False),
    "denormals": lambda: torch.set_flush_denormal(True),
    "deterministic": lambda: torch.use_deterministic_algorithms(True),
    "grad-off": lambda: torch.set_grad_enabled(False),
    "inference-mode": _end_of_gradients,
    "double": lambda: torch.set_default_dtype(torch.float64),
    "function-mode": _odd_mode,
    "saved-tensors": lambda: torch.autograd.graph.save_on_cpu().__enter__(),
    "global-hook": lambda: nn.modules.module.register_module_forward_hook(_odd_hook),
    "patched-randn": lambda: setattr(torch, "randn", torch.zeros),
    "patched-layer": lambda: setattr(nn.Conv2d, "forward", lambda self, x: x),
    "patched-call": lambda: setattr(nn.Linear, "__call__", lambda self, x: x),
    "patched-loss": lambda: setattr(nn.functional, "kl_div", lambda *a, **k: torch.zeros(())),
    "patched-harness": lambda: setattr(exam, "exam_of", None),
    "patched-print": lambda: setattr(builtins, "sorted", list),
    "seeds": lambda: [torch.manual_seed(0), random.seed(0), np.random.seed(0)],
    "threads": lambda: torch.set_num_threads(2),
    "numpy-raises": lambda: np.seterr(all="raise"),
    "warnings-raise": lambda: warnings.simplefilter("error"),
    "no-collector": gc.disable,
    "recursion": lambda: sys.setrecursionlimit(170),
    "no-path": lambda: sys.path.clear(),
    "no-environment": lambda: os.environ.clear(),
    "no-folder": _without_folder,
    "umask": lambda: os.umask(0o777),
    "alarm": lambda: signal.setitimer(signal.ITIMER_REAL, 0.2),
    "alarm-taken": lambda: signal.signal(signal.SIGALRM, signal.SIG_IGN),
    "term-taken": lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL),
    "interrupt-taken": lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    "signals-blocked": lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]),
    "tracing": lambda: sys.settrace(lambda *event: None),
    "no-logging": lambda: logging.disable(),
    "stdout-closed": lambda: sys.stdout.close(),
    "stdout-replaced": lambda: setattr(sys, "stdout", None),
    "descriptor-closed": lambda: os.close(1),
    "no-descriptors": lambda: _limit(resource.RLIMIT_NOFILE, 3),
    "no-files": lambda: _limit(resource.RLIMIT_FSIZE, 0),
    "one-core": lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}),
    "thread-that-draws": _draws,
    "thread-that-waits": lambda: threading.Thread(target=time.sleep, args=[30]).start(),
    "child": _forks,
    "daemon": _daemon,
}

for _name, _change in CHANGES.items():
    variant(
        f"changes-{_name}",
        "changes",
        (*FAILS, *FINISHES),
        synthesize=after(lambda run, change=_change: change()),
    )
