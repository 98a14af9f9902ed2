"""Data-free knowledge distillation: one approach in each file, usable on any teacher.

`methods.base` is the contract of a method; `distill` runs a method on a teacher of your own.
Nothing here imports the benchmark.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from methods.own_teacher.distill import distill

__all__ = ["distill"]


def __getattr__(name: str) -> Any:
    # Importing torch takes long, and `methods.settings` alone does not need it.
    if name == "distill":
        from methods.own_teacher.distill import distill

        return distill
    raise AttributeError(f"module 'methods' has no attribute '{name}'")
