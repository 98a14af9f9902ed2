"""``make bench``: our steps beside a plain eager loop, and what the harness itself costs.

The plain loop is written the way RDSKD's algorithm reads: float32, default memory layout and
allocator, a fresh image for every student step. Both are run in turn in one process, from the same
weights and the same latents, so that their losses can be compared too. Quote the ratios; absolute
times belong to one machine.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmark.device import keep_freed_memory, pick_device, pick_precision, return_freed_memory
from benchmark.models.lenet import lenet5, lenet5_half
from benchmark.plan import MethodEntry, Suite, plan
from benchmark.run import Context, Job, dataset, execute
from benchmark.tasks.registry import get_task
from benchmark.teachers import train_teacher
from methods.base import Normalization, Problem, Run
from methods.budget import Budget
from methods.networks import UpsamplingGenerator
from methods.objectives import Distillation
from methods.rdskd import RDSKD
from methods.registry import discover
from methods.sources import ImageBank
from methods.student import train_student
from methods.teacher import Teacher

BATCH, STEPS, ROUNDS, LATENT, TEMPERATURE = 512, 3, 3, 100, 10.0
SHAPE = (1, 32, 32)


@dataclass
class Timing:
    """Seconds a step, one value per round, and the losses of the steps."""

    seconds: list[float]
    losses: list[float]

    @property
    def median(self) -> float:
        """Median seconds a step."""
        return statistics.median(self.seconds)


def budget(steps: int) -> Budget:
    """Generator and student steps at the published batch size."""
    return Budget(
        name="bench",
        synthesis_steps=steps,
        synthesis_batch=BATCH,
        epoch_steps=120,
        images=4,
        validation_images=2,
        student_steps=steps,
        student_batch=BATCH,
        student_optimizer="adam",
        student_lr=2e-3,
        student_schedule="constant",
        evaluations=1,
    )


def problem(device: torch.device) -> Problem:
    """An untrained LeNet-5 teaches: speed does not depend on what it knows."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = lenet5().to(device)

    def make_student() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            return lenet5_half()

    return Problem(
        teacher=Teacher(network),
        make_student=make_student,
        image_shape=SHAPE,
        num_classes=10,
        normalization=Normalization((0.0,), (1.0,)),
    )


def our_run(steps: int, device: torch.device) -> Run:
    """A run as the harness would set it up."""
    return Run(budget(steps), device=device, precision=pick_precision(device))


def our_generator(steps: int, device: torch.device) -> list[float]:
    """RDSKD's generator phase as committed; returns the losses."""
    run = our_run(steps, device)
    RDSKD().synthesize(problem(device), run)
    return run.curves["synthesis/loss"]["value"]


def plain_generator(steps: int, device: torch.device) -> list[float]:
    """RDSKD's generator phase, step by step as in the paper."""
    run = our_run(steps, device)
    teacher = problem(device).teacher.network
    with run.seeded("generator"):
        generator = UpsamplingGenerator(LATENT, SHAPE).to(device)
    optimizer = torch.optim.Adam(generator.parameters(), lr=RDSKD().params.generator_lr)
    stream = run.stream("generator-latents")
    previous = {"oh": 0.0, "ie": 0.0}
    losses = []
    for step in range(steps):
        images = generator(torch.randn(BATCH, LATENT, generator=stream).to(device))
        logits = teacher(images)
        one_hot = F.cross_entropy(logits, logits.argmax(dim=1))
        probabilities = F.softmax(logits, dim=1)
        mean = probabilities.mean(dim=0)
        entropy = (mean * mean.log()).sum()
        first, second = images.chunk(2)
        p, q = probabilities.chunk(2)
        diversity = 1 / (torch.norm(second - first) / torch.norm(q - p))
        loss = torch.exp(one_hot - previous["oh"]) + torch.exp(entropy - previous["ie"]) + diversity
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step == 1:
            previous = {"oh": one_hot.item(), "ie": entropy.item()}
        losses.append(loss.item())
    return losses


def our_student(steps: int, device: torch.device, bank: Tensor) -> list[float]:
    """Student steps from a bank whose teacher logits are known; labelling it is counted too."""
    run = our_run(steps, device)
    samples = ImageBank(bank, held_out=2, device=device)
    train_student(problem(device), samples, Distillation(TEMPERATURE), run)
    return run.curves["distillation/loss"]["value"]


def plain_student(steps: int, device: torch.device, generator: nn.Module) -> list[float]:
    """Student steps on fresh images, as in the paper."""
    posed = problem(device)
    teacher, student = posed.teacher.network, posed.make_student().to(device)
    optimizer = torch.optim.Adam(student.parameters(), lr=2e-3)
    stream = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(steps):
        with torch.no_grad():
            images = generator(torch.randn(BATCH, LATENT, generator=stream).to(device))
            targets = F.softmax(teacher(images) / TEMPERATURE, dim=1)
        predicted = F.log_softmax(student(images) / TEMPERATURE, dim=1)
        loss = F.kl_div(predicted, targets, reduction="sum") / BATCH * TEMPERATURE**2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def side_by_side(
    ours: Callable[[int], list[float]],
    plain: Callable[[int], list[float]],
    our_steps: int = STEPS,
    console: Console | None = None,
) -> tuple[Timing, Timing]:
    """Run both in turn, after a warm-up of each."""
    timings = (Timing([], []), Timing([], []))
    for turn in range(ROUNDS + 1):
        for timing, work, steps in zip(timings, (ours, plain), (our_steps, STEPS), strict=True):
            # The allocator's settings are part of ours, not of the plain loop.
            (keep_freed_memory if work is ours else return_freed_memory)()
            started = time.perf_counter()
            losses = work(steps)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn:
                timing.seconds.append((time.perf_counter() - started) / steps)
            timing.losses = losses
        if console:
            console.print(f"[dim]round {turn} of {ROUNDS}[/dim]")
    return timings


def harness_overhead() -> tuple[float, float]:
    """Seconds of a digits run, and the share of them outside steps and evaluations."""
    task = get_task("digits")
    known = discover()
    suite = Suite(
        name="bench",
        budget="cpu",
        tasks=["digits"],
        seeds=[0],
        methods=[MethodEntry(name="rdskd")],
    )
    (planned,) = plan(suite, known)
    data = dataset(task.name, None)
    teacher = train_teacher(task, data, lambda *_: None)
    spec = planned.spec(data.checksum())
    with tempfile.TemporaryDirectory() as folder:
        context = Context(Path(folder), (), precision=pick_precision(torch.device("cpu")))
        started = time.perf_counter()
        record = execute(Job(spec, spec.run_id(teacher.info.checksum), {}, teacher), context)
        total = time.perf_counter() - started
    return total, 1 - sum(record.ledger.seconds.values()) / total


def student_loss_apart(bank: Tensor, device: torch.device) -> float:
    """Relative difference of the first student loss from the plain formula on the same batch."""
    run = our_run(1, device)
    posed = problem(device)
    batch = next(ImageBank(bank, 2, device=device).batches(BATCH, run.stream("student-batches")))
    student = posed.make_student().to(device)
    with torch.no_grad():
        targets = F.softmax(posed.teacher.network(batch.images) / TEMPERATURE, dim=1)
        predicted = F.log_softmax(student(batch.images) / TEMPERATURE, dim=1)
    plain = float(F.kl_div(predicted, targets, reduction="sum")) / BATCH * TEMPERATURE**2
    return abs(our_student(1, device, bank)[0] - plain) / plain


def apart(timings: tuple[Timing, Timing]) -> float:
    """Largest relative difference of the losses of the same steps."""
    pairs = zip(timings[0].losses, timings[1].losses, strict=False)
    return max(abs(a - b) / abs(b) for a, b in pairs)


def main() -> None:
    """Print the table."""
    console = Console()
    device = pick_device()
    where = f"{device.type}, {torch.get_num_threads()} threads, {pick_precision(device)}"
    console.print(f"RDSKD, MNIST pair, batch {BATCH}, {where}; {ROUNDS} rounds in turn")

    generators = side_by_side(
        lambda steps: our_generator(steps, device),
        lambda steps: plain_generator(steps, device),
        console=console,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        generator = UpsamplingGenerator(LATENT, SHAPE).to(device).eval()
    with torch.no_grad():
        latents = torch.randn(8 * BATCH, LATENT, generator=torch.Generator().manual_seed(0))
        bank = torch.cat([generator(part.to(device)).cpu().half() for part in latents.split(BATCH)])
    students = side_by_side(
        lambda steps: our_student(steps, device, bank),
        lambda steps: plain_student(steps, device, generator),
        our_steps=100,
        console=console,
    )
    seconds, overhead = harness_overhead()

    table = Table(box=box.SIMPLE_HEAD)
    for name in ("step", "ours, s", "plain, s", "ratio", "losses apart"):
        table.add_column(name, justify="left" if name == "step" else "right")
    for name, (ours, plain), difference in (
        ("generator", generators, f"{apart(generators):.1e}"),
        ("student (from a bank)", students, f"{student_loss_apart(bank, device):.1e}"),
    ):
        ratio = plain.median / ours.median
        table.add_row(
            name, f"{ours.median:.4f}", f"{plain.median:.4f}", f"{ratio:.1f}×", difference
        )
    console.print(table)
    console.print(
        f"harness overhead on a digits run of {seconds:.1f} s: {100 * overhead:.1f} % "
        "outside synthesis, distillation and evaluation"
    )


if __name__ == "__main__":
    main()
