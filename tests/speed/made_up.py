"""Made-up records like those of real runs, on which tables are timed."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator
from typing import Any

from benchmark.analysis.leaderboard.quality import METRICS
from benchmark.records.record import (
    Environment,
    ImageQuality,
    LedgerInfo,
    Measured,
    MethodInfo,
    Record,
    SegmentationInfo,
    TeacherInfo,
)
from benchmark.records.spec import Purpose, Spec
from methods.settings.budget import Budget

TASKS = ("mnist", "svhn", "cifar10", "cifar10-wrn", "digits")
BUDGETS = ("cpu", "gpu")
SEGMENTED = "camvid-lite"
PLACES = [*itertools.product(TASKS, BUDGETS), (SEGMENTED, "cpu")]
METHODS, SETTINGS = 20, 5
MEASURED = 10
"""One in so many seeds of a method has its images measured."""
VARIED = (("mnist", "cpu"), ("cifar10", "cpu"))
"""The places where one of four seeds belongs to a sweep and one to a random setting, which makes a
tenth of all records. A sweep costs a report one plot, however many records there are."""
CURVES = ("distillation/loss", "synthesis/loss", "synthesis/one_hot", "synthesis/entropy")
CLASSES = 11


def synthetic_records(count: int) -> Iterator[Record]:
    """So many records of tasks × budgets × methods × settings × seeds."""
    cells = list(itertools.product(PLACES, range(METHODS), range(SETTINGS)))
    for number in range(count):
        seed, cell = divmod(number, len(cells))
        (task, budget), method, setting = cells[cell]
        yield _record(seed, task, budget, method, setting)


def _record(seed: int, task: str, budget: str, number: int, setting: int) -> Record:
    turn = number + seed
    method, rate, temperature = f"method-{number:02}", round(0.001 * 3**setting, 3), 10.0
    rng = random.Random(f"{task} {budget} {method} {rate} {seed}")
    level = 0.4 + 0.5 * random.Random(f"{task} {method} {rate}").random()
    score = max(0.1, level + rng.gauss(0, 0.03))
    failed = rng.random() < 0.02
    purpose: Purpose = "table"
    if (task, budget) in VARIED and turn % 4 == 1:
        # Each value has two or three seeds.
        purpose, rate, temperature = "sweep", 0.001, (5.0, 20.0)[setting % 2]
        seed = 3 * seed + setting // 2
    elif (task, budget) in VARIED and turn % 4 == 2:
        purpose = "draw"
        rate, temperature = round(10 ** rng.uniform(-4, -1), 6), round(rng.uniform(1, 20), 3)
    usual = {"generator_lr": 0.001, "temperature": 10.0}
    params = {"generator_lr": rate, "temperature": temperature}
    spec = Spec(
        suite=f"suite-{budget}",
        task=task,
        task_version=1,
        data="d" * 16,
        method=method,
        method_version=1,
        params={**params, **{f"weight_{i}": 0.1 * i for i in range(10)}},
        budget=Budget(
            name=budget,
            synthesis_steps=400,
            synthesis_batch=128,
            epoch_steps=20,
            images=20480,
            validation_images=2048,
            student_steps=4000,
            student_batch=256,
            student_optimizer="adam",
            student_lr=0.004,
        ),
        seed=seed,
        purpose=purpose,
    )
    maps = task == SEGMENTED
    metric = "miou" if maps else "accuracy"
    names = [metric, f"{metric}_oracle", f"{metric}_agreement", "agreement", "confidence"]
    names += ["pixel_accuracy"] if maps else []
    teacher: dict[str, Any] = {"miou": 0.6, "pixel_accuracy": 0.9} if maps else {"accuracy": 0.99}
    info = TeacherInfo(checksum="0123456789abcdef", chance=0.1, recipe={"epochs": 10}, **teacher)
    return Record(
        run_id=spec.run_id(info.checksum),
        spec=spec,
        status="diverged" if failed else "ok",
        reason="the loss was not finite at step 17" if failed else "",
        method=MethodInfo(
            title=method.capitalize(),
            paper="Nobody, Nowhere 2020",
            access="data-free" if number < 16 else "train images",
            changed={name: value for name, value in params.items() if value != usual[name]},
        ),
        metrics={} if failed else {name: score + 0.01 * i for i, name in enumerate(names)},
        quality={} if failed or turn % MEASURED else {"task": _quality(rng)},
        segmentation=_segmentation(rng) if maps and not failed else None,
        ledger=LedgerInfo(
            teacher_forward=100_000,
            teacher_backward=51_200,
            synthetic_images=71_680,
            student_steps=4000,
            seconds={"synthesis": 60 + 40 * rng.random(), "distillation": 100.0},
            peak_memory_mib=700,
        ),
        curves={
            name: {
                "step": [8.0 * i for i in range(51)],
                "value": [round(math.exp(-i / 9) + 0.1 * rng.random(), 7) for i in range(51)],
            }
            for name in CURVES
        },
        teacher=info,
        environment=Environment(
            python="3.12",
            torch="2.9",
            device="cpu",
            processor="x86_64",
            threads=1,
            precision="fp32",
            code_version="0" * 12,
        ),
        created="2026-01-01T00:00:00+00:00",
    )


def _quality(rng: random.Random) -> ImageQuality:
    samples, real_test, noise = (
        Measured(images=5000, metrics={name: round(rng.random(), 7) for name in METRICS})
        for _ in range(3)
    )
    return ImageQuality(
        version=1,
        extractor="critic, accuracy 0.9900",
        checksum="c" * 16,
        dtype="float32",
        batch=250,
        reference=10_000,
        pairs=2000,
        samples=samples,
        real_test=real_test,
        noise=noise,
    )


def _segmentation(rng: random.Random) -> SegmentationInfo:
    return SegmentationInfo(
        classes=[f"class-{i}" for i in range(CLASSES)],
        per_class_iou=[round(rng.random(), 7) for _ in range(CLASSES)],
        confusion=[[rng.randrange(100_000) for _ in range(CLASSES)] for _ in range(CLASSES)],
        sample_shares=[1 / CLASSES] * CLASSES,
    )
