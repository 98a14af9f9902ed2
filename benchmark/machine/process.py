"""The global settings of the process, restored after a method has run in it."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

SETTINGS: tuple[tuple[Callable[[], Any], Callable[[Any], Any]], ...] = (
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

CUDNN = ("enabled", "benchmark", "deterministic", "allow_tf32")


@contextmanager
def process_as_before() -> Iterator[None]:
    """Restore the process's global settings and random states at the end of the block."""
    before = [(write, read()) for read, write in SETTINGS]
    cudnn = {name: getattr(torch.backends.cudnn, name) for name in CUDNN}
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    try:
        yield
    finally:
        for write, value in before:
            write(value)
        for name, value in cudnn.items():
            setattr(torch.backends.cudnn, name, value)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)
