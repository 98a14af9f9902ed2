"""Data-free knowledge distillation methods, usable on any teacher without the benchmark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from methods.own_teacher.distill import distill

__all__ = ["distill"]


def __getattr__(name: str) -> Any:
    # torch takes two seconds to import, for which `methods.budget` alone need not wait.
    if name == "distill":
        from methods.own_teacher.distill import distill

        return distill
    raise AttributeError(f"module 'methods' has no attribute '{name}'")
