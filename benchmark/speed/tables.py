"""Time `dfkd leaderboard` and `dfkd report` on ten thousand made-up records.

``python -m benchmark.speed.tables [RECORDS]`` writes the records into a temporary folder, runs
each command in a process of its own, and exits with 1 when one takes longer, or more memory, than
it may. Seconds are of the clock, so that they are only worth something on an idle machine;
processor seconds are beside them.
"""

from __future__ import annotations

import itertools
import math
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmark.records import Environment, LedgerInfo, MethodInfo, Record, Spec, TeacherInfo
from benchmark.store import Store
from methods.budget import Budget

RECORDS = 10_000
MIB_ALLOWED = 1000
SECONDS_ALLOWED = {"leaderboard": 3.0, "report": 10.0}
TASKS = ("mnist", "svhn", "cifar10", "cifar10-wrn", "digits")
BUDGETS = ("cpu", "gpu")
METHODS, SETTINGS = 20, 5
CURVES = ("distillation/loss", "synthesis/loss", "synthesis/one_hot", "synthesis/entropy")


class Spent(NamedTuple):
    """What a command took: seconds of the clock and of processors, and most memory in MiB."""

    code: int
    wall: float
    processor: float
    memory: float


def synthetic_records(count: int) -> Iterator[Record]:
    """Records like those of real runs, tasks × budgets × methods × settings × as many seeds."""
    cells = list(itertools.product(TASKS, BUDGETS, range(METHODS), range(SETTINGS)))
    for number in range(count):
        seed, cell = divmod(number, len(cells))
        task, budget, method, setting = cells[cell]
        yield _record(seed, task, budget, f"method-{method:02}", round(0.001 * 3**setting, 3))


def _record(seed: int, task: str, budget: str, method: str, rate: float) -> Record:
    rng = random.Random(f"{task} {budget} {method} {rate} {seed}")
    level = 0.4 + 0.5 * random.Random(f"{task} {method} {rate}").random()
    score = max(0.1, level + rng.gauss(0, 0.03))
    failed = rng.random() < 0.02
    spec = Spec(
        suite=f"suite-{budget}",
        task=task,
        task_version=1,
        data="d" * 16,
        method=method,
        method_version=1,
        params={
            "generator_lr": rate,
            "temperature": 10.0,
            **{f"weight_{i}": 0.1 * i for i in range(10)},
        },
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
    )
    teacher = "0123456789abcdef"
    names = ("accuracy", "accuracy_oracle", "accuracy_agreement", "agreement", "confidence")
    return Record(
        run_id=spec.run_id(teacher),
        spec=spec,
        status="diverged" if failed else "ok",
        reason="the loss was not finite at step 17" if failed else "",
        method=MethodInfo(
            title=method.capitalize(),
            paper="Nobody, Nowhere 2020",
            access="data-free" if method < "method-16" else "train images",
            changed={} if rate == 0.001 else {"generator_lr": rate},
        ),
        metrics={} if failed else {name: score + 0.01 * i for i, name in enumerate(names)},
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
        teacher=TeacherInfo(checksum=teacher, accuracy=0.99, chance=0.1, recipe={"epochs": 10}),
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


def measure(command: str, results: Path, output: Path) -> Spent:
    """Run a command on the records."""
    arguments = [sys.executable, "-m", "benchmark.cli", command]
    arguments += ["--results", str(results), "--output", str(output)]
    start = time.monotonic()
    child = os.posix_spawn(sys.executable, arguments, os.environ)
    _, status, usage = os.wait4(child, 0)
    kib = 1024 if sys.platform == "darwin" else 1
    return Spent(
        os.waitstatus_to_exitcode(status),
        time.monotonic() - start,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss / kib / 1024,
    )


def main(count: int = RECORDS) -> int:
    """Make records, measure, print; 1 when a limit was not kept."""
    missed = False
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "results")
        for record in synthetic_records(count):
            store.put(record)
        print(f"{count:,} records")
        for command, allowed in SECONDS_ALLOWED.items():
            output = Path(folder) / "output" / command
            spent = measure(command, store.root, output)
            size = output.stat().st_size / 1e6 if output.exists() else 0.0
            kept = spent.code == 0 and spent.wall < allowed and spent.memory < MIB_ALLOWED
            missed |= not kept
            print(
                f"dfkd {command}: {spent.wall:.1f} s (may take {allowed:g}; processors "
                f"{spent.processor:.1f} s), {spent.memory:.0f} MiB (may take {MIB_ALLOWED}), "
                f"a file of {size:.1f} MB{'' if kept else '  <- missed'}"
            )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
