"""Budgets for a teacher of one's own; the benchmark's tasks come with theirs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from methods.budget import Budget
from methods.params import ParameterError, nearest

PRESETS: Mapping[str, Budget] = {
    "smoke": Budget(
        name="smoke",
        synthesis_steps=2,
        synthesis_batch=8,
        epoch_steps=2,
        images=32,
        validation_images=8,
        inversion_images=16,
        inversion_steps=2,
        student_steps=4,
        student_batch=8,
        student_optimizer="adam",
        student_lr=2e-3,
        evaluations=1,
    ),
    "cpu": Budget(
        name="cpu",
        synthesis_steps=300,
        synthesis_batch=128,
        epoch_steps=20,
        images=12288,
        validation_images=1024,
        inversion_images=1536,
        inversion_steps=60,
        student_steps=1500,
        student_batch=128,
        student_optimizer="adam",
        student_lr=2e-3,
        evaluations=3,
    ),
    # Fresh images at every step: a bank of large ones would not fit into memory.
    "gpu": Budget(
        name="gpu",
        synthesis_steps=2400,
        synthesis_batch=512,
        epoch_steps=120,
        images=0,
        validation_images=5120,
        inversion_images=10240,
        inversion_steps=1000,
        student_steps=48000,
        student_batch=256,
        student_optimizer="adam",
        student_lr=2e-3,
        evaluations=10,
    ),
}
"""``smoke`` only shows that everything fits together, in seconds; ``cpu`` is for 32×32 images."""


def preset(name: str, **changes: Any) -> Budget:
    """The numbers of a preset, some of them changed.

    Args:
        name: of `PRESETS`.
        changes: fields of `Budget`.

    Raises:
        ParameterError: one line, for an unknown preset or field, or a number out of range.
    """
    if name not in PRESETS:
        raise ParameterError(f"there is no budget '{name}'; {nearest(name, list(PRESETS))}")
    fields = list(Budget.model_fields)
    for field in changes:
        if field not in fields:
            raise ParameterError(f"a budget has no number '{field}'; {nearest(field, fields)}")
    try:
        return Budget.model_validate({**PRESETS[name].model_dump(), **changes})
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"][0].lower() + first["msg"][1:]
        raise ParameterError(
            f"budget: {first['loc'][0]} is {first['input']!r}, but {message}"
        ) from None
