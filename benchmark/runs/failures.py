"""The status that a record gives a run which an exception ended."""

from __future__ import annotations

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
