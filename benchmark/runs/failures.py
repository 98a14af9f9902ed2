"""The status and the reason that a record gives for an exception."""

from __future__ import annotations

import traceback
from pathlib import Path

import torch

from benchmark.records.record import Status


def failure(error: BaseException) -> Status:
    """The status of a run that this exception ended."""
    return "out_of_memory" if is_out_of_memory(error) else "error"


EXHAUSTED = ("can't allocate memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""Words by which torch's CPU allocator and CUDA's libraries say that memory ran out."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the exception says that memory ran out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in EXHAUSTED)


def one_line(error: BaseException) -> str:
    """Type, message and the innermost place, without any path."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    try:
        message = " ".join(str(error).split())[:300]
    except Exception:  # a method's own exception class may fail to print itself; the record says so
        message = "(its message cannot be shown)"
    text = f"{type(error).__name__}: {message}{place}"
    # A file name that is not UTF-8 must not make the record unwritable.
    return text.encode("utf-8", "backslashreplace").decode()
