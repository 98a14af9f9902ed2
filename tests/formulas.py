"""Numbers and formulas in float64 with which losses are compared."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.special import log_softmax
from torch import Tensor


def random(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers in float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def divergences(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> np.ndarray:
    """KL(teacher ‖ student) of every sample."""
    s, t = (
        log_softmax(x.detach().double().numpy() / temperature, axis=1) for x in (student, teacher)
    )
    return np.array(
        [
            sum(math.exp(b) * (b - a) for a, b in zip(*pair, strict=True))
            for pair in zip(s, t, strict=True)
        ]
    )
