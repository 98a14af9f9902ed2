"""Student steps on a GPU as written, recorded as a CUDA graph, and compiled."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.device import pick_precision
from benchmark.tasks.registry import get_task
from methods.cuda_graphs import Gradients
from methods.objectives import Distillation
from methods.optimizers import Adam
from methods.sources import Batch

TASKS = (("mnist", 512), ("cifar10-wrn", 256))
"""Students, and images a step."""


@dataclass(frozen=True)
class Launching:
    """Milliseconds a step of each form, and the seconds before the first step of it."""

    name: str
    milliseconds: dict[str, float]
    start: dict[str, float]


def measure(device: torch.device, steps: int = 300) -> list[Launching]:
    """Every form of every student's step; one that cannot be made is left out."""
    return [_measured(task, batch, device, steps) for task, batch in TASKS]


def _measured(task: str, size: int, device: torch.device, steps: int) -> Launching:
    milliseconds, start = {}, {}
    for form in ("written", "recorded", "compiled", "compiled and recorded"):
        step = _step(task, size, device, form)
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(Gradients.WARM_UP + 2):
            step()
        torch.cuda.synchronize()
        start[form] = time.perf_counter() - began
        began = time.perf_counter()
        for _ in range(steps):
            step()
        torch.cuda.synchronize()
        milliseconds[form] = 1e3 * (time.perf_counter() - began) / steps
    return Launching(f"{get_task(task).pair}, batch {size}", milliseconds, start)


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

    def loss_of(batch: Batch) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=reduced):
            return objective.of_logits(network(batch.images).float(), batch)

    recorded = form.endswith("recorded")
    gradients = Gradients([loss_of], list(student.parameters()), device, recorded)
    batch = Batch(images, teacher_logits=logits)

    def step() -> None:
        gradients([batch])
        optimizer.step()

    return step
