"""What a run may spend. Importable without torch: records and tables carry budgets too."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Budget(BaseModel):
    """What a run may spend; the same numbers for every method of a table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="preset name: smoke, cpu, gpu or paper")
    synthesis_steps: int = Field(ge=1, description="generator (or pixel) optimisation steps")
    synthesis_batch: int = Field(ge=2, description="images per synthesis step")
    epoch_steps: int = Field(
        ge=1, description="synthesis steps that methods with epochs count as one epoch"
    )
    images: int = Field(
        ge=0,
        description="synthetic images drawn once and kept as a bank; 0 draws fresh ones each step",
    )
    validation_images: int = Field(
        ge=1, description="images kept apart to measure teacher-student agreement"
    )
    student_steps: int = Field(ge=1, description="student optimisation steps")
    student_batch: int = Field(ge=1, description="images per student step")
    student_optimizer: Literal["adam", "sgd"] = Field(description="student optimiser")
    student_lr: float = Field(gt=0, description="initial student learning rate")
    student_weight_decay: float = Field(0.0, ge=0, description="student weight decay")
    student_schedule: Literal["constant", "cosine"] = Field(
        "cosine", description="student learning-rate schedule"
    )
    evaluations: int = Field(10, ge=1, description="evenly spaced checkpoints, the last included")

    def synthesis_part(self) -> dict[str, Any]:
        """The numbers that decide which images are made, for the identity of a synthesis."""
        names = ("synthesis_steps", "synthesis_batch", "epoch_steps", "images", "validation_images")
        return {name: getattr(self, name) for name in names}
