"""The status and the reason that a record gives a run which an exception ended."""

from __future__ import annotations

import torch

from benchmark.records.record import Status
from methods.base.errors import described, described_with_place

REASON_CHARACTERS = 500
"""A longer reason is cut."""


def failure(error: BaseException) -> Status:
    """The status of a run that this exception ended."""
    return "out_of_memory" if is_out_of_memory(error) else "error"


def account(error: BaseException) -> str:
    """``ValueError: message (file.py, line 3)``, whatever the exception does when it is printed."""
    try:
        return described_with_place(error)
    except BaseException:
        return f"{type(error).__name__}: (its message cannot be shown)"


def message(error: BaseException) -> str:
    """The message of an exception that is a verdict, in one line that a file can hold."""
    try:
        return described(error, REASON_CHARACTERS).partition(": ")[2]
    except BaseException:
        return "(its message cannot be shown)"


EXHAUSTED = ("can't allocate memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""Words by which torch's CPU allocator and CUDA's libraries say that memory ran out."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the exception says that memory ran out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in message(error) for words in EXHAUSTED)
