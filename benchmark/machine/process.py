"""What belongs to the process and not to a run, changed back after a method has run in it.

What cannot be changed back is remembered (`spoilt`); the next run then needs another process.
"""

from __future__ import annotations

import builtins
import contextlib
import copy
import gc
import io
import json
import locale
import logging
import math
import os
import pickle
import random
import signal
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules import module as modules
from torch.overrides import _get_current_function_mode_stack
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from benchmark.machine import stopping
from methods.base.errors import described

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

Restore = Callable[[], object]
"""Changes something back."""

ALWAYS: tuple[tuple[Callable[[], Any], Callable[[Any], Any]], ...] = (
    (os.getcwd, os.chdir),
    (random.getstate, random.setstate),
    (np.random.get_state, np.random.set_state),
    (torch.get_rng_state, torch.set_rng_state),
    (torch.get_num_threads, torch.set_num_threads),
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_default_device, torch.set_default_device),
    (torch.is_grad_enabled, torch.set_grad_enabled),
    (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
)
"""Pairs of functions that read and write a setting of the process."""


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _denormals_vanish() -> bool:
    return bool(torch.full((), 5e-324, dtype=torch.float64).mul(1.0) == 0)


def _signal_mask() -> set[int]:
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, []))


CHANGED: tuple[tuple[Callable[[], Any], Callable[[Any], Any]], ...] = (
    (_umask, os.umask),
    (_signal_mask, lambda mask: signal.pthread_sigmask(signal.SIG_SETMASK, mask)),
    (gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
    (sys.getrecursionlimit, sys.setrecursionlimit),
    (sys.getswitchinterval, sys.setswitchinterval),
    (sys.gettrace, sys.settrace),
    (sys.getprofile, sys.setprofile),
    (threading.gettrace, threading.settrace),
    (threading.getprofile, threading.setprofile),
    (lambda: locale.setlocale(locale.LC_ALL), lambda name: locale.setlocale(locale.LC_ALL, name)),
    (lambda: logging.root.manager.disable, logging.disable),
    (np.geterr, lambda how: np.seterr(**how)),
    (torch.is_warn_always_enabled, torch.set_warn_always),
    (_denormals_vanish, torch.set_flush_denormal),
    (torch._C._get_mkldnn_enabled, torch._C._set_mkldnn_enabled),
    (torch._C._get_nnpack_enabled, torch._C._set_nnpack_enabled),
    (torch._C._is_multithreading_enabled, torch.autograd.set_multithreading_enabled),
    (torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled),
    (torch.backends.cuda.flash_sdp_enabled, torch.backends.cuda.enable_flash_sdp),
    (torch.backends.cuda.math_sdp_enabled, torch.backends.cuda.enable_math_sdp),
    (torch.backends.cuda.mem_efficient_sdp_enabled, torch.backends.cuda.enable_mem_efficient_sdp),
)
"""More of them, which are written only when they differ."""

FLAGS: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (torch.backends.cudnn, ("enabled", "benchmark", "deterministic", "allow_tf32")),
    (
        torch.backends.cuda.matmul,
        (
            "allow_tf32",
            "allow_fp16_reduced_precision_reduction",
            "allow_bf16_reduced_precision_reduction",
        ),
    ),
    (torch.backends.opt_einsum, ("enabled", "strategy")),
    (torch.backends.quantized, ("engine",)),
    (torch.utils.deterministic, ("fill_uninitialized_memory",)),
    (sys, ("stdin", "stdout", "stderr", "excepthook", "displayhook", "argv")),
    (threading, ("excepthook",)),
)
"""Objects and those of their attributes that are settings."""

CONTENTS: tuple[tuple[Any, str], ...] = (
    *((modules, name) for name in vars(modules) if name.startswith("_global_")),
    *(
        (torch.optim.Optimizer.step.__globals__, name)
        for name in ("_global_optimizer_pre_hooks", "_global_optimizer_post_hooks")
    ),
    (warnings, "filters"),
    (sys, "path"),
    (os, "environ"),
)
"""Lists and mappings that concern every run, where they lie: hooks on all modules, for one."""

LIMITS = ("RLIMIT_AS", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_NPROC")


@contextmanager
def process_as_before() -> Iterator[None]:
    """Restore what belongs to the process at the end of the block.

    These are its random states, settings, hooks, modes, limits, signal handlers and timers, its
    standard streams, and functions of the libraries that were patched. Threads cannot be ended.
    """
    threads = set(threading.enumerate())
    restores = [restore for note in NOTED for restore in note()]
    try:
        yield
    finally:
        for restore in restores:
            try:
                restore()
            except Exception as error:
                _unrestored.append(described(error))
        _threads.update(
            thread
            for thread in set(threading.enumerate()) - threads
            if not isinstance(thread, threading._DummyThread)  # one of torch's own
        )


_unrestored: list[str] = []
_threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


def spoilt() -> str:
    """What a method left in this process that cannot be changed back; empty if nothing."""
    alive = sorted(thread.name for thread in _threads if thread.is_alive())
    return "; ".join([*_unrestored, *(f"the thread {name}" for name in alive)])


def _write_if_changed(read: Callable[[], Any], write: Callable[[Any], Any], value: Any) -> None:
    if read() != value:
        write(value)


def _settings() -> Iterator[Restore]:
    for read, write in ALWAYS:
        with contextlib.suppress(OSError):  # the folder may have been removed
            yield partial(write, read())
    for read, write in CHANGED:
        yield partial(_write_if_changed, read, write, read())
    for owner, names in FLAGS:
        for name in names:
            if hasattr(owner, name):
                yield partial(setattr, owner, name, getattr(owner, name))
    if torch.cuda.is_initialized():
        yield partial(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all())


def _contents() -> Iterator[Restore]:
    for owner, name in CONTENTS:
        space = owner if isinstance(owner, dict) else vars(owner)
        if name in space:
            held = space[name]
            value = copy.copy(dict(held) if name == "environ" else held)
            yield partial(_refill, space, name, held, value)


def _refill(space: dict[str, Any], name: str, held: Any, value: Any) -> None:
    """Put the object back where it lay, with what it held."""
    space[name] = held
    if isinstance(held, list):
        if held != value:
            held[:] = value
    elif hasattr(held, "update") and held != value:
        held.clear()
        held.update(value)


def _autocast() -> Iterator[Restore]:
    for device in ("cpu", "cuda"):
        on, dtype = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
        yield partial(torch.set_autocast_enabled, device, on)
        yield partial(torch.set_autocast_dtype, device, dtype)

    def depth() -> int:
        deeper = torch.autocast_increment_nesting()
        torch.autocast_decrement_nesting()
        return deeper - 1

    before = depth()

    def surface() -> None:
        for _ in range(depth() - before):
            torch.autocast_decrement_nesting()
        for _ in range(before - depth()):
            torch.autocast_increment_nesting()
        torch.clear_autocast_cache()

    yield surface


def _modes() -> Iterator[Restore]:
    """Modes that are entered and left like blocks, of which the innermost are left."""
    autograd, internals = torch._C._autograd, torch._C
    inference = torch.is_inference_mode_enabled()

    def inferring() -> None:
        if torch.is_inference_mode_enabled() != inference:
            raise RuntimeError("inference mode cannot be left for the method")

    yield inferring
    for stack, pop in (
        (_get_current_function_mode_stack, internals._pop_torch_function_stack),
        (_get_current_dispatch_mode_stack, internals._pop_torch_dispatch_stack),
    ):
        before = len(stack())

        def leave(stack: Any = stack, pop: Any = pop, before: int = before) -> None:
            while len(stack()) > before:
                pop()

        yield leave
    top = autograd._top_saved_tensors_default_hooks(True)

    def unhook() -> None:
        while (hooks := autograd._top_saved_tensors_default_hooks(True)) and hooks != top:
            autograd._pop_saved_tensors_default_hooks()

    yield unhook


def _signals() -> Iterator[Restore]:
    if threading.current_thread() is not threading.main_thread():
        return
    fixed = {signal.SIGKILL, signal.SIGSTOP}
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals() - fixed}

    def handle() -> None:
        for number, handler in handlers.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)

    yield handle
    started = time.monotonic()
    timers = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
    left = {timer: signal.getitimer(timer) for timer in timers}

    def set_timers() -> None:
        if signal.getitimer(signal.ITIMER_VIRTUAL) != left[signal.ITIMER_VIRTUAL]:
            signal.setitimer(signal.ITIMER_VIRTUAL, *left[signal.ITIMER_VIRTUAL])
        if signal.getitimer(signal.ITIMER_PROF) != left[signal.ITIMER_PROF]:
            signal.setitimer(signal.ITIMER_PROF, *left[signal.ITIMER_PROF])
        seconds, interval = left[signal.ITIMER_REAL]
        if stopping.set_alarm():  # the present time limit, which may have changed meanwhile
            return
        if seconds:
            seconds = max(1e-3, seconds - (time.monotonic() - started))
        signal.setitimer(signal.ITIMER_REAL, seconds, interval)

    yield set_timers


def _streams() -> Iterator[Restore]:
    """The files behind standard input, output and error, and what Python made of them."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            kept = os.dup(number)
        except OSError:
            continue
        stream = getattr(sys, name)

        def reopen(
            number: int = number, name: str = name, kept: int = kept, stream: Any = stream
        ) -> None:
            if not _same_file(kept, number):
                os.dup2(kept, number)
            os.close(kept)
            if getattr(stream, "closed", False):
                raw = io.FileIO(number, "r" if name == "stdin" else "w", closefd=False)
                buffer: Any = io.BufferedReader if name == "stdin" else io.BufferedWriter
                encoding = getattr(stream, "encoding", None)
                setattr(
                    sys,
                    name,
                    io.TextIOWrapper(buffer(raw), encoding, "replace", line_buffering=True),
                )

        yield reopen


def _same_file(one: int, other: int) -> bool:
    try:
        return os.path.sameopenfile(one, other)
    except OSError:
        return False


def _limits() -> Iterator[Restore]:
    settings: list[tuple[Callable[[], Any], Callable[[Any], Any]]] = []
    if hasattr(os, "sched_getaffinity"):
        settings.append((partial(os.sched_getaffinity, 0), partial(os.sched_setaffinity, 0)))
    if hasattr(os, "getpriority"):
        mine = (os.PRIO_PROCESS, 0)
        settings.append((partial(os.getpriority, *mine), partial(os.setpriority, *mine)))
    if resource is not None:
        for name in LIMITS:
            if hasattr(resource, name):
                which = getattr(resource, name)
                settings.append(
                    (partial(resource.getrlimit, which), partial(resource.setrlimit, which))
                )
    for read, write in settings:
        yield partial(_write_if_changed, read, write, read())


def _functions() -> Iterator[Restore]:
    """Functions and classes of the libraries, and of this program, by which all runs compute."""
    holders: list[Any] = [
        *(builtins, os, time, math, random, json, copy, pickle, np, np.random),
        *(torch, torch.nn.functional, torch.nn.init, torch.autograd, torch.linalg, torch.optim),
        torch.Tensor,
        *(value for value in vars(nn).values() if isinstance(value, type)),
        *(
            module
            for name, module in list(sys.modules.items())
            if name.partition(".")[0] in ("methods", "benchmark") and isinstance(module, ModuleType)
        ),
    ]
    before = [(holder, dict(vars(holder))) for holder in holders]

    def unpatch() -> None:
        for holder, names in before:
            now = vars(holder)
            changed = [n for n, v in names.items() if callable(v) and now.get(n) is not v]
            for name in changed:
                setattr(holder, name, names[name])
            if isinstance(holder, type):
                for name in [n for n in now if n not in names and callable(now[n])]:
                    delattr(holder, name)

    yield unpatch


NOTED: tuple[Callable[[], Iterator[Restore]], ...] = (
    _functions,
    _contents,
    _modes,
    _autocast,
    _limits,
    _settings,
    _streams,
    _signals,
)
"""What is noted at the start of a block; functions first, because restoring uses them."""
