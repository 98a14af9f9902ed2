"""Budgets that several tasks share."""

from __future__ import annotations

from methods.settings.budget import PRESETS, Budget

SMOKE = PRESETS["smoke"]

DIGIT_SMOKE = Budget(
    name="smoke",
    synthesis_steps=4,
    synthesis_batch=16,
    epoch_steps=2,
    images=64,
    validation_images=16,
    inversion_images=64,
    inversion_steps=4,
    student_steps=8,
    student_batch=16,
    student_optimizer="adam",
    student_lr=2e-3,
    evaluations=2,
)
"""A budget of seconds for small networks, with two checkpoints."""

CPU_SAMPLE = Budget(
    name="cpu",
    synthesis_steps=80,
    synthesis_batch=64,
    epoch_steps=10,
    images=2048,
    validation_images=256,
    inversion_images=128,
    inversion_steps=40,
    student_steps=400,
    student_batch=64,
    student_optimizer="adam",
    student_lr=2e-3,
    evaluations=2,
)
"""A budget for large networks on a CPU: it shows that everything fits together."""

GPU = Budget(
    name="gpu",
    synthesis_steps=1200,
    synthesis_batch=256,
    epoch_steps=120,
    images=51200,
    validation_images=2560,
    inversion_images=1536,
    inversion_steps=400,
    student_steps=6000,
    student_batch=256,
    student_optimizer="adam",
    student_lr=2e-3,
    evaluations=5,
)
"""Ten of RDSKD's epochs and thirty of the student."""

RDSKD_SCHEDULE = PRESETS["gpu"].model_copy(
    update={
        "name": "paper",
        "schedule": "RDSKD",
        "images": 0,
        "student_steps": 120000,
        "student_batch": 512,
        "student_schedule": "constant",
        "evaluations": 100,
    }
)
"""RDSKD's schedule: 20 × 120 generator steps, 1000 × 120 student steps on fresh images."""
