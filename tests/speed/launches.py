"""Steps on a GPU: as written, as a CUDA graph, compiled, and with the fastest convolutions."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from unittest import mock

import torch
from torch import Tensor

from benchmark.machine.device import pick_precision
from benchmark.tasks.registry import get_task
from methods.acceleration.cuda_graphs import Replayed
from methods.acceleration.optimizers import Adam
from methods.base.objective import Distillation
from methods.base.samples import Batch
from tests.speed import steps as timed

STUDENTS = (("mnist", 512), ("cifar10-wrn", 256))
TEACHERS = (*STUDENTS, ("cifar10", 256))
"""Tasks, and images a step. A large student's launches cost nothing beside its work."""

STUDENT_FORMS = ("written", "recorded", "recorded, tried", "compiled", "compiled and recorded")
"""*tried*: cuDNN times its kernels for a convolution and takes the fastest."""
GENERATOR_FORMS = ("written", "recorded", "recorded, tried")


@dataclass(frozen=True)
class Launching:
    """Milliseconds a step of each form, and the seconds before the first step of it."""

    name: str
    milliseconds: dict[str, float]
    start: dict[str, float]

    def cells(self) -> tuple[str, ...]:
        """A row of a table."""
        costs = (f"{ms:.2f} ({self.start[form]:.1f})" for form, ms in self.milliseconds.items())
        return (self.name, *costs)


def measure(device: torch.device, steps: int = 300) -> list[Launching]:
    """Every form of every student's step."""
    return [_measured(task, batch, device, steps) for task, batch in STUDENTS]


def measure_generator(device: torch.device, steps: int = 60) -> list[Launching]:
    """Every form of RDSKD's generator step against every teacher."""
    found = []
    for name, size in TEACHERS:
        task = get_task(name)
        latents = 100 if name == "mnist" else 1000
        setting = timed.Setting(
            task.make_teacher, task.make_student, task.image_shape, latents, size, device
        )
        milliseconds, start = {}, {}
        for form in GENERATOR_FORMS:
            as_written = mock.patch.object(Replayed, "WARM_UP", 1 << 30)
            with as_written if form == "written" else nullcontext(), _convolutions(form):
                # Only the difference of the two is of steps alone.
                few, many = (_seconds(setting, n) for n in (10, 10 + steps))
            milliseconds[form] = 1e3 * (many - few) / steps
            start[form] = few
        found.append(Launching(f"{task.pair}, batch {size}", milliseconds, start))
    return found


def _seconds(setting: timed.Setting, count: int) -> float:
    torch.cuda.synchronize()
    began = time.perf_counter()
    timed.our_generator(setting, count)
    torch.cuda.synchronize()
    return time.perf_counter() - began


def _convolutions(form: str) -> AbstractContextManager[None]:
    """How cuDNN chooses its kernels, within the block."""
    return torch.backends.cudnn.flags(benchmark=form.endswith("tried"))


def _measured(task: str, size: int, device: torch.device, steps: int) -> Launching:
    milliseconds, start = {}, {}
    for form in STUDENT_FORMS:
        step = _step(task, size, device, form)
        with _convolutions(form):
            start[form] = _timed(step, Replayed.WARM_UP + 2)
            milliseconds[form] = 1e3 * _timed(step, steps) / steps
    return Launching(f"{get_task(task).pair}, batch {size}", milliseconds, start)


def _timed(step: Callable[[], None], count: int) -> float:
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(count):
        step()
    torch.cuda.synchronize()
    return time.perf_counter() - began


def _step(task_name: str, size: int, device: torch.device, form: str) -> Callable[[], None]:
    task = get_task(task_name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        student = task.make_student().to(device).train()
        images = torch.randn(size, *task.image_shape).to(device)
        logits = torch.randn(size, task.num_classes).to(device)
    network: Callable[[Tensor], Tensor] = student
    if form.startswith("compiled"):
        torch._dynamo.reset()
        network = torch.compile(student)
    optimizer = Adam(student.parameters(), lr=2e-3, fused=True)
    objective = Distillation(4.0)
    reduced = pick_precision(device) == "bf16"

    def differentiate(images: Tensor, logits: Tensor) -> dict[str, Tensor]:
        optimizer.zero_grad()
        batch = Batch(images, teacher_logits=logits)
        with torch.autocast(device.type, torch.bfloat16, enabled=reduced):
            loss = objective.of_logits(network(images).float(), batch)
        loss.backward()
        return {"loss": loss.detach()}

    parameters = list(student.parameters())
    recorded = "recorded" in form
    gradients = Replayed(differentiate, device, parameters=parameters, replay=recorded)

    def step() -> None:
        gradients(images, logits)
        optimizer.step()

    return step
