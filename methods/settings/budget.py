"""What a run may spend. Records and tables import this too, and so it imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from methods.settings.params import ParameterError, nearest

StudentSchedule = Literal["constant", "cosine", "step", "thirds", "fifths", "double-fifths"]
"""How the student's learning rate falls over its steps."""


class Budget(BaseModel):
    """What a run may spend; the same numbers for every method of a table."""

    NOT_IDENTITY: ClassVar[set[str]] = {
        "inversion_images",
        "inversion_steps",
        "variant",
        "schedule",
    }
    """Fields that are not part of a run's identity.

    The inversion numbers are added only where a method uses them; ``variant`` and ``schedule`` only
    name numbers that are part of it already.
    """

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
    inversion_images: int = Field(
        0, ge=0, description="images made by methods that optimise the pixels of each"
    )
    inversion_steps: int = Field(0, ge=0, description="optimisation steps those images get")
    student_steps: int = Field(ge=1, description="student optimisation steps")
    student_batch: int = Field(ge=1, description="images per student step")
    student_optimizer: Literal["adam", "sgd"] = Field(description="student optimiser")
    student_lr: float = Field(gt=0, description="initial student learning rate")
    student_weight_decay: float = Field(0.0, ge=0, description="student weight decay")
    student_schedule: StudentSchedule = Field(
        "cosine",
        description="student learning-rate schedule; step is a tenth of it after four fifths, "
        "thirds a tenth after each third, fifths a tenth after one and after two fifths, "
        "double-fifths after two and after four",
    )
    evaluations: int = Field(10, ge=1, description="evenly spaced checkpoints, the last included")
    variant: str = Field(
        "", description="numbers that differ from the preset's, like synthesis_steps=4000"
    )
    schedule: str = Field(
        "", description="short name of the paper whose schedule these numbers are"
    )

    @model_serializer(mode="wrap")
    def _without_empty_names(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave empty names out, as in records written before there were variants and papers."""
        values: dict[str, Any] = write(self)
        for name in ("variant", "schedule"):
            if not values.get(name):
                values.pop(name, None)
        return values

    @property
    def title(self) -> str:
        """``cpu``, ``cpu, synthesis_steps=4000`` for a variant of it, or ``paper (RDSKD)``."""
        name = f"{self.name} ({self.schedule})" if self.schedule else self.name
        return f"{name}, {self.variant}" if self.variant else name

    def varied(self, **numbers: Any) -> Budget:
        """This preset with other numbers; numbers equal to the preset's make no variant.

        Raises:
            pydantic.ValidationError: for a name that is no number of a budget, or out of range.
        """
        changed = {n: value for n, value in numbers.items() if value != getattr(self, n, None)}
        variant = ", ".join(f"{name}={value}" for name, value in changed.items())
        return Budget(**{**self.model_dump(), **changed, "variant": variant})

    def held_out(self, images: int) -> int:
        """How many of a set are kept for validation: `validation_images`, at most a tenth of it."""
        return max(1, min(self.validation_images, images // 10))

    def limits(self, real_images: int = 0) -> dict[str, int]:
        """The most that a run may spend, by the names of a ledger's counts.

        The rule is the same for every method. *Made* are as many images as the synthesis steps
        have in their batches; for a method that optimises pixels, as its images have pixel steps.
        *Learnt* are as many as the student's steps have in theirs. An alternating method has all
        of it in total, whatever it does in a round.

        - The student takes its steps, and sees made and learnt images with gradients. A step that
          looks at its images twice counts them twice.
        - The teacher looks at two views of every image that is made, and passes gradients back to
          both. It looks twice at every image that is learnt, for its label and, if the objective
          compares them, its features; and once at every image of a bank or of real data.
        - Synthetic images are those made, those of a bank, and those learnt; for these an objective
          may be prepared on as many again.

        Args:
            real_images: images that the method was given, each of which the teacher may label.
        """
        inverted = self.inversion_images * self.inversion_steps
        made = inverted or self.synthesis_steps * self.synthesis_batch
        learnt = self.student_steps * self.student_batch
        banked = self.images + self.inversion_images + self.validation_images
        return {
            "teacher_backward": 2 * made,
            "teacher_forward": 2 * (made + learnt) + banked + real_images,
            "synthetic_images": made + 2 * learnt + banked,
            "student_steps": self.student_steps,
            "student_images": made + learnt,
        }

    def synthesis_part(self) -> dict[str, Any]:
        """The numbers that decide which images are made; they identify a synthesis."""
        names = ("synthesis_steps", "synthesis_batch", "epoch_steps", "images", "validation_images")
        return {name: getattr(self, name) for name in names} | self._inversion()

    def of_method(self, inverts_pixels: bool) -> Budget:
        """These numbers without those that a method has no use for."""
        if inverts_pixels:
            return self
        return self.model_copy(update={"inversion_images": 0, "inversion_steps": 0})

    def identity(self) -> dict[str, Any]:
        """The numbers that identify a run; unused ones are left out."""
        numbers = self.model_dump(mode="json", exclude=self.NOT_IDENTITY)
        return numbers | self._inversion()

    def _inversion(self) -> dict[str, Any]:
        names = ("inversion_images", "inversion_steps")
        return {name: getattr(self, name) for name in names if getattr(self, name)}


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
    # Fresh images at every step, because a bank of large images would not fit into memory.
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
"""``smoke`` checks in seconds that everything fits together; ``cpu`` is made for 32×32 images."""


def preset(name: str, **changes: Any) -> Budget:
    """The numbers of a preset, some of them changed.

    Args:
        name: a name in `PRESETS`.
        changes: fields of `Budget` with other values.

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
