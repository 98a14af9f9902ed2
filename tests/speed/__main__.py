"""Time steps and runs, print the times and write them to ``docs/performance.md``."""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.markdown import Markdown

from benchmark.machine.device import environment, keep_freed_memory, pick_device, pick_precision
from benchmark.records.store import Store
from benchmark.tasks.registry import get_task
from tests.speed import clock, launches, start, steps, whole
from tests.speed.report import Growth, Report, Row, markdown, seconds

PAGE = Path("docs") / "performance.md"
BATCH = 512
CIFAR_BATCH = {"cpu": 64, "cuda": 512}
MORE = {"cpu": 1, "cuda": 10}
"""The factor by which more steps are timed on a device that is so much faster."""


def main(page: Path = PAGE, paper_run: bool = True) -> None:
    """Run every measurement.

    Args:
        page: the file to write.
        paper_run: whether a whole run at the paper's budget is made on a GPU.
    """
    console = Console()
    device = pick_device()
    machine = environment(device, pick_precision(device))
    dtype = torch.bfloat16 if machine.precision == "bf16" else torch.float32
    peak = clock.matrix_peak(device, dtype)
    name = (
        f"{machine.processor}, {machine.threads} threads, {machine.precision} "
        f"({peak / 1e9:,.0f} GFLOP/s in a matrix product), torch {machine.torch}, "
        f"code {machine.code_version}"
    )
    console.print(name)
    published = steps.mnist(BATCH, device)
    with clock.PlainProcess() as plainly:
        rows = [generator_row("generator step, MNIST, batch 512", published, peak, plainly)]
        console.print(" | ".join(rows[-1].cells()))
        rows.append(student_row("student step, MNIST, batch 512", published, peak, plainly))
        console.print(" | ".join(rows[-1].cells()))
        for row in (cifar_row, cifar_student_row):
            rows.append(row(device, peak, plainly))
            console.print(" | ".join(rows[-1].cells()))
        runs = whole_runs(device, rows, plainly, paper_run)
    total, overhead = whole.harness_overhead()
    notes = [
        f"Harness overhead: {100 * overhead:.2f} % of a digits run of {total:.1f} s were spent "
        "outside synthesis, distillation and evaluation."
    ]
    suite, began = start.first_step()
    notes.append(
        f"`dfkd run {suite}` is at its first step of training {began:.1f} s after the command, "
        "when teacher and data are in the cache."
    )
    growth = [
        runs,
        by_launch(device),
        by_generator_launch(device),
        by_batch(device),
        by_method(),
    ]
    text = markdown(Report(name, rows, [g for g in growth if g[1]], notes))
    page.parent.mkdir(exist_ok=True)
    page.write_text(text, encoding="utf-8")
    console.print(Markdown(text))
    console.print(f"written: {page}")


def generator_row(
    name: str, setting: steps.Setting, peak: float, plainly: clock.PlainProcess, rounds: int = 3
) -> Row:
    """A generator step of RDSKD."""
    timings = clock.side_by_side(
        partial(steps.our_generator, setting),
        partial(steps.plain_generator, setting),
        plainly,
        our_steps=8 * MORE[setting.device.type],
        plain_steps=3 * MORE[setting.device.type],
        rounds=rounds,
    )
    flops = clock.flops_of(partial(steps.plain_generator, setting))
    return Row(name, timings, flops, peak)


def student_row(
    name: str,
    setting: steps.Setting,
    peak: float,
    plainly: clock.PlainProcess,
    our_steps: int = 100,
    rounds: int = 3,
) -> Row:
    """A student step: ours on images of a bank, the plain one on fresh images.

    The teacher labels a batch of the bank about every twelve steps, as in a run.
    """
    bank, generator = steps.draw_bank(setting, max(1, our_steps // 12)), setting.generator().eval()
    timings = clock.side_by_side(
        partial(steps.our_student, setting, bank=bank),
        partial(steps.plain_student, setting, network=generator),
        plainly,
        our_steps=our_steps * MORE[setting.device.type],
        plain_steps=3 * MORE[setting.device.type],
        rounds=rounds,
    )
    return Row(name, timings, None, peak, steps.student_loss_apart(setting, bank))


def cifar_row(device: torch.device, peak: float, plainly: clock.PlainProcess) -> Row:
    """A generator step against the ResNet-34 of CIFAR-10."""
    setting = _cifar(device)
    name = f"generator step, CIFAR-10, ResNet-34, batch {setting.batch}"
    return generator_row(name, setting, peak, plainly, rounds=1)


def cifar_student_row(device: torch.device, peak: float, plainly: clock.PlainProcess) -> Row:
    """A step of CIFAR-10's ResNet-18."""
    setting = _cifar(device)
    name = f"student step, CIFAR-10, ResNet-34 → ResNet-18, batch {setting.batch}"
    return student_row(name, setting, peak, plainly, our_steps=16, rounds=1)


def _cifar(device: torch.device) -> steps.Setting:
    task = get_task("cifar10")
    batch = CIFAR_BATCH[device.type]
    return steps.Setting(
        task.make_teacher, task.make_student, task.image_shape, 1000, batch, device
    )


def whole_runs(
    device: torch.device, rows: list[Row], plainly: clock.PlainProcess, paper_run: bool = True
) -> Growth:
    """Runs of RDSKD on MNIST: projected from the costs of steps, and made if that is short."""
    (our_g, plain_g), (our_s, plain_s) = rows[0].timings, rows[1].timings
    cpu = get_task("mnist").budgets["cpu"]
    at_128, at_256 = steps.mnist(128, device), steps.mnist(256, device)
    synthesis = clock.side_by_side(
        partial(steps.our_generator, at_128),
        partial(steps.plain_generator, at_128),
        plainly,
        our_steps=6 * MORE[device.type],
        plain_steps=3 * MORE[device.type],
    )
    bank, generator = steps.draw_bank(at_256, 8), at_256.generator().eval()
    student = clock.side_by_side(
        partial(steps.our_student, at_256, bank=bank),
        partial(steps.plain_student, at_256, network=generator),
        plainly,
        our_steps=100 * MORE[device.type],
        plain_steps=3 * MORE[device.type],
    )

    def cost(which: int) -> float:
        return (
            cpu.synthesis_steps * synthesis[which].median
            + cpu.student_steps * student[which].median
        )

    paper = get_task("mnist").budgets["paper"]
    # At the paper's budget there is no bank: both make fresh images at each of the steps.
    our_online(steps.mnist(BATCH, device), 3)
    online = clock.seconds_a_step(
        lambda n: our_online(steps.mnist(BATCH, device), n), 3 * MORE[device.type] ** 2
    )[0]
    ours = paper.synthesis_steps * our_g.median + paper.student_steps * online
    plain = paper.synthesis_steps * plain_g.median + paper.student_steps * plain_s.median
    banked = paper.synthesis_steps * our_g.median + paper.student_steps * our_s.median
    made = {"budget `cpu`": whole.measured("cpu", device)}
    if device.type == "cuda" and paper_run:
        made["budget `paper`, online"] = whole.measured("paper", device)

    def cells(name: str, ours: float, plain: float) -> tuple[str, ...]:
        took = made.get(name)
        run = "" if took is None else seconds(took)
        return name, seconds(ours), run, seconds(plain), f"{plain / ours:.1f}×"

    return (
        "Whole runs, projected from the steps, and made (with evaluation and all else): "
        "RDSKD on MNIST, ours projected, ours made, plain projected, ratio of projections",
        [
            cells("budget `cpu`", cost(0), cost(1)),
            cells("budget `paper`, online", ours, plain),
            cells("as many steps from a bank", banked, plain),
        ],
    )


def our_online(setting: steps.Setting, count: int) -> list[float]:
    """Student steps on fresh images, through the common loop."""
    from methods.base.objective import Distillation
    from methods.base.samples import OnlineSource
    from methods.base.student import train_student
    from methods.synthesis.generator import drawing_from

    run = setting.run(count)
    source = OnlineSource(drawing_from(setting.generator(), "eval", run))
    train_student(setting.problem(), source, Distillation(steps.TEMPERATURE), run)
    return run.curves["distillation/loss"]["value"]


def by_launch(device: torch.device) -> Growth:
    """The gain of recording and compiling a student's step on a GPU."""
    found = launches.measure(device) if device.type == "cuda" else []
    return (
        "Launching a student step, ms (and seconds until the first): pair, as written, "
        "recorded as a CUDA graph, recorded with tried kernels, compiled, compiled and recorded",
        [launching.cells() for launching in found],
    )


def by_generator_launch(device: torch.device) -> Growth:
    """The gain of recording a generator step on a GPU."""
    found = launches.measure_generator(device) if device.type == "cuda" else []
    return (
        "Launching a step of RDSKD's generator, ms (and seconds of the first ten): pair, "
        "as written, recorded as a CUDA graph, recorded with tried kernels",
        [launching.cells() for launching in found],
    )


def by_batch(device: torch.device) -> Growth:
    """The time of a generator step as the batch grows."""
    cells = []
    for batch in (64, 128, 256, 512, 1024):
        setting = steps.mnist(batch, device)
        steps.our_generator(setting, 1)
        count = 4 * MORE[device.type]
        took, _ = clock.seconds_a_step(lambda n, s=setting: steps.our_generator(s, n), count)  # type: ignore[misc]
        cells.append((str(batch), seconds(took), f"{1e3 * took / batch:.2f}"))
    return ("As the batch grows: batch, generator step (s), ms an image", cells)


def by_method(results: Path = Path("results")) -> Growth:
    """The median seconds of each method's committed runs on MNIST at the budget `cpu`."""
    spent: dict[str, list[float]] = defaultdict(list)
    for record in Store(results).scan().records:
        if (record.spec.task, record.spec.budget.name) == ("mnist", "cpu"):
            spent[record.spec.method].append(sum(record.ledger.seconds.values()))
    cells = [
        (name, str(len(values)), f"{statistics.median(values):.0f}")
        for name, values in sorted(spent.items(), key=lambda item: statistics.median(item[1]))
    ]
    return (
        "As methods are added: method, runs, median seconds of the committed `cpu` records",
        cells,
    )


if __name__ == "__main__":
    keep_freed_memory()
    parser = argparse.ArgumentParser(prog="python -m tests.speed", description=__doc__)
    parser.add_argument("page", nargs="?", type=Path, default=PAGE, help="default: %(default)s")
    parser.add_argument(
        "--no-paper-run",
        dest="paper_run",
        action="store_false",
        help="on a GPU, leave out the run at the paper's budget",
    )
    main(**vars(parser.parse_args()))
