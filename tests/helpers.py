"""Small stand-ins that several test files share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.records.record import Environment, LedgerInfo, MethodInfo, Record, TeacherInfo
from benchmark.records.spec import Spec
from methods.base.ledger import Ledger
from methods.base.problem import DATA_FREE, Access, Normalization, Problem
from methods.base.run import Run
from methods.base.teacher import Teacher
from methods.settings.budget import Budget

IMAGE_SHAPE = (1, 8, 8)
NUM_CLASSES = 3


class TinyNetwork(nn.Module):
    """Conv, BatchNorm, pooling, linear: the smallest network with timm's interface."""

    def __init__(self, width: int = 4, num_classes: int = NUM_CLASSES) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.conv = nn.Conv2d(IMAGE_SHAPE[0], width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.classifier = nn.Linear(width, num_classes)

    def forward_features(self, images: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(images)))

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        pooled = features.mean(dim=(2, 3))
        return pooled if pre_logits else self.classifier(pooled)

    def forward(self, images: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(images))


def tiny_network(seed: int = 0, width: int = 4) -> TinyNetwork:
    """A `TinyNetwork` initialised from ``seed`` without touching the global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TinyNetwork(width)


def tiny_budget(**changes: Any) -> Budget:
    """A budget of a few milliseconds."""
    numbers: dict[str, Any] = {
        "name": "tiny",
        "synthesis_steps": 4,
        "synthesis_batch": 8,
        "epoch_steps": 2,
        "images": 24,
        "validation_images": 6,
        "student_steps": 6,
        "student_batch": 8,
        "student_optimizer": "adam",
        "student_lr": 1e-2,
        "evaluations": 3,
    }
    return Budget(**{**numbers, **changes})


def tiny_problem(
    access: Access = DATA_FREE,
    granted: Mapping[Access, Any] | None = None,
    *,
    ledger: Ledger | None = None,
    method: str = "some-method",
    student_seed: int = 1,
) -> Problem:
    """A problem of 1×8×8 images and three classes."""
    return Problem(
        teacher=Teacher(tiny_network(seed=7, width=6), ledger),
        make_student=lambda: tiny_network(seed=student_seed),
        image_shape=IMAGE_SHAPE,
        num_classes=NUM_CLASSES,
        normalization=Normalization((0.5,), (0.25,)),
        access=access,
        method=method,
        granted=granted,
    )


def tiny_run(seed: int = 0, **options: Any) -> tuple[Problem, Run]:
    """A problem and a run that share one ledger; budget numbers and `Run` options by name."""
    wanted = {name: options.pop(name) for name in list(options) if name in Budget.model_fields}
    ledger = Ledger()
    return tiny_problem(ledger=ledger), Run(tiny_budget(**wanted), seed, ledger=ledger, **options)


def make_record(
    *,
    accuracy: float | None = 0.9,
    metric: str = "accuracy",
    seed: int = 0,
    method: str = "rdskd",
    title: str | None = None,
    access: str = "data-free",
    suite: str = "suite",
    task: str = "digits",
    params: Mapping[str, Any] | None = None,
    changed: Mapping[str, Any] | None = None,
    status: str = "ok",
    reason: str = "",
    teacher: str = "0123456789abcdef",
    teacher_accuracy: float = 0.99,
    chance: float = 0.1,
    budget: Budget | None = None,
    metrics: Mapping[str, float] | None = None,
    seconds: float = 1.0,
    data_note: str = "",
    note: str = "",
    purpose: str = "table",
    tuned: str = "",
    work: float | None = None,
    fingerprint: str = "",
    created: str = "2026-01-01T00:00:00+00:00",
    curves: Mapping[str, Mapping[str, list[float]]] | None = None,
) -> Record:
    """A record whose run id agrees with its spec; ``accuracy=None`` leaves the metrics empty.

    Accuracies are mean IoUs where ``metric`` is ``"miou"``. ``work=None`` is that of an old record.
    """
    spec = Spec(
        suite=suite,
        task=task,
        task_version=1,
        data="d" * 16,
        method=method,
        method_version=1,
        params=dict(params or {"temperature": 10.0}),
        budget=budget or tiny_budget(),
        seed=seed,
        purpose=purpose,  # type: ignore[arg-type]
        tuned=tuned,
    )
    scores = {} if accuracy is None else {metric: accuracy}
    return Record(
        run_id=spec.run_id(teacher),
        spec=spec,
        status=status,  # type: ignore[arg-type]
        reason=reason,
        method=MethodInfo(
            title=title or method.upper(),
            paper="a paper",
            access=access,
            changed=changed or {},
            note=note,
        ),
        metrics={**scores, **(metrics or {})},
        ledger=LedgerInfo(
            teacher_forward=100,
            seconds={"synthesis": seconds},
            work={} if work is None else {"synthesis": work},
        ),
        curves=curves or {"distillation/loss": {"step": [0.0, 1.0], "value": [1.0, 0.5]}},  # type: ignore[arg-type]
        teacher=TeacherInfo(
            checksum=teacher, chance=chance, recipe={"epochs": 1}, **{metric: teacher_accuracy}
        ),
        data_note=data_note,
        environment=Environment(
            python="3.12",
            torch="2.6",
            device="cpu",
            processor="x86_64",
            threads=1,
            precision="fp32",
            code_version="abc",
            fingerprint=fingerprint,
        ),
        created=created,
    )


def failed_record(status: str = "error", **options: Any) -> Record:
    """A record of a run that ended without a student."""
    return make_record(accuracy=None, status=status, reason="it broke", **options)


def one_line(text: str) -> str:
    """``text`` when it is a single non-empty line, as messages to users must be."""
    assert text.strip(), "the message is empty"
    assert "\n" not in text.strip(), f"the message has several lines: {text!r}"
    return text.strip()


def write_file(path: Path, content: str) -> Path:
    """Write text, making the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


FAULTY_METHODS = Path(__file__).with_name("faulty_methods.py")
"""A method file with one class for every way to fail."""
