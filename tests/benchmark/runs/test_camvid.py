"""CamVid's own folders to a record, and every objective on the networks that segment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.grid.agenda import prepare
from benchmark.grid.execution import run_grid
from benchmark.grid.executors.local import InProcess
from benchmark.machine import stopping
from benchmark.machine.cache import picture_path
from benchmark.records.record import Record
from benchmark.records.store import Store
from benchmark.runs.job import Context
from benchmark.suites.plan import plan
from benchmark.suites.suite import MethodEntry, Suite
from benchmark.tasks.models.unet import UNet
from benchmark.tasks.registry import get_task
from methods.base.ledger import Ledger
from methods.base.problem import Access, Problem
from methods.base.registry import discover
from methods.base.run import Run
from methods.base.teacher import Teacher
from methods.objectives.registry import discover_objectives
from tests.benchmark.grid.test_grid import Watcher, facts
from tests.benchmark.tasks.data.test_segmentation_data import write_camvid
from tests.helpers import tiny_budget

OBJECTIVES = sorted(discover_objectives())


class StopAt(Watcher):
    """Asks for a stop when a phase has taken so many steps."""

    def __init__(self, phase: str = "", step: int = 0) -> None:
        super().__init__()
        self.asked = (phase, step)
        self.steps: list[tuple[str, int]] = []

    def teacher(self, phase: str, step: int, total: int, loss: float) -> None:
        self.steps.append((phase, step))

    def report(self, run_id: str, phase: str, step: int, total: int, loss: float) -> None:
        self.steps.append((phase, step))
        if (phase, step) == self.asked:
            stopping.request(stopping.USER)


def attempt(folder: Path, data: Path, watcher: StopAt) -> Record:
    """Run RDSKD on camvid-lite at the smoke budget, or go on with it; the record there is."""
    context = Context(
        cache=folder / "cache",
        teacher_folders=(folder / "cache" / "teachers",),
        data_dir=data,
        threads=1,
        reuse_samples=False,
        checkpoint_seconds=1e-9,
    )
    suite = Suite(
        name="s",
        budget="smoke",
        tasks=["camvid-lite"],
        seeds=[0],
        methods=[MethodEntry(name="rdskd")],
    )
    store = Store(folder / "results")
    try:
        agenda = prepare(plan(suite, discover()), store, context, "never", *watcher.preparing)
        run_grid(agenda, store, context, InProcess(), watcher)
    except KeyboardInterrupt:
        pass
    finally:
        stopping.forget()
    (record,) = store.scan().records
    return record


def test_a_run_on_camvids_folders_is_stopped_twice_and_ends_with_the_same_record(
    tmp_path: Path,
) -> None:
    data = write_camvid(tmp_path / "data", train=8, val=3)
    once = StopAt()
    whole = attempt(tmp_path / "whole", data, once)
    assert whole.status in {"ok", "collapsed"}, whole.reason
    assert 0 <= whole.metrics["miou"] <= whole.metrics["pixel_accuracy"] <= 1
    assert picture_path(tmp_path / "whole" / "cache", whole.run_id).is_file()

    first, second, last = StopAt("synthesis", 1), StopAt("distillation", 1), StopAt()
    folder = tmp_path / "parts"
    assert attempt(folder, data, first).status == "interrupted"
    assert attempt(folder, data, second).status == "interrupted"
    finished = attempt(folder, data, last)
    assert facts(finished) == facts(whole)
    assert finished.segmentation == whole.segmentation
    # Nothing is done twice, the teacher included.
    taken = [step for watcher in (first, second, last) for step in watcher.steps]
    assert [s for s in taken if s[0] != "starting"] == [s for s in once.steps if s[0] != "starting"]


def problem_of(name: str, side: int, access: Access, ledger: Ledger) -> Problem:
    """A segmentation task's student, taught by one of its own kind, on small images."""
    task = get_task(name)
    stream = torch.Generator().manual_seed(0)
    images = torch.randn(8, 3, side, side, generator=stream)
    labels = torch.randint(0, task.num_classes, (8, side, side), generator=stream)
    return Problem(
        teacher=Teacher(task.make_student().eval(), ledger),
        make_student=task.make_student,
        image_shape=(3, side, side),
        num_classes=task.num_classes,
        normalization=task.normalization,
        access=access,
        method="kd-real",
        granted={Access.TRAIN_IMAGES: images, Access.TRAIN_LABELS: labels},
        task_type="segmentation",
    )


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("task", ["scenes", "camvid", "camvid-lite", "voc2012"])
def test_every_objective_supports_the_students_that_segment(task: str, objective: str) -> None:
    problem = problem_of(task, 64, Access.TRAIN_IMAGES | Access.TRAIN_LABELS, Ledger())
    assert discover_objectives()[objective]().supports(problem) is None


@pytest.mark.parametrize("objective", ["quantized", "structured"])
@pytest.mark.parametrize("task", ["camvid-lite", "voc2012"])
def test_mobilenet_and_u_net_take_steps_on_the_objectives_that_look_into_them(
    task: str, objective: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if task == "voc2012":
        small = lambda self: UNet(self.num_classes, width=4, depth=2)  # noqa: E731
        monkeypatch.setattr(type(get_task(task)), "make_student", small)
    ledger = Ledger()
    torch.manual_seed(0)
    problem = problem_of(task, 32, Access.TRAIN_IMAGES, ledger)
    run = Run(tiny_budget(student_steps=2, student_batch=2, evaluations=1), 0, ledger=ledger)
    method: Any = discover()["kd-real"]
    approach = method(method.build_params({}, "camvid"))
    approach.transfer = discover_objectives()[objective]()
    student = approach.fit(problem, run)
    with torch.no_grad():
        logits = student.eval()(torch.zeros(1, 3, 32, 32))
    assert logits.shape == (1, problem.num_classes, 32, 32)
    assert logits.isfinite().all()
