"""Every kind of hostile method becomes one record with a reason, and the next run is untouched.

A few of each kind; ``python -m tests.hostile`` tries all of them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import logging
import os
import resource
import signal
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.machine import children, stopping
from benchmark.machine.process import process_as_before
from benchmark.metrics import exam
from benchmark.records.record import Record
from benchmark.runs.job import Context
from tests.benchmark.grid.test_grid import Grid, facts
from tests.hostile import methods as hostile

METHODS = Path(hostile.__file__)


@pytest.fixture
def grid(tmp_path: Path, context: Context) -> Iterator[Grid]:
    """A grid with handlers, as the command has them."""
    context = dataclasses.replace(context, method_folders=(METHODS,))
    with stopping.on_signals(None, patient=True):
        yield Grid(context, tmp_path / "results")


def tried(grid: Grid, *names: str) -> list[Record]:
    """The records of these methods; the run after them is that of a grid without them."""
    (alone,) = grid.run("noise")
    *records, after = grid.run(*names, "noise", overwrite="always")
    assert facts(after) == facts(alone)
    for record in records:
        assert record.status in hostile.VARIANTS[record.spec.method].right, record
        assert record.reason or record.status in hostile.FINISHES
        assert grid.store.get(record.spec, record.run_id) == record
    assert [record.spec.method for record in records] == list(names)
    return records


def test_whatever_is_raised_is_a_record_with_a_reason(grid: Grid) -> None:
    records = tried(grid, *(f"raises-{name}-in-synthesize" for name in hostile.EXCEPTIONS))
    reasons = dict(zip(hostile.EXCEPTIONS, (record.reason for record in records), strict=True))
    assert reasons["generator-exit"].startswith("GeneratorExit: ")
    assert reasons["own"].startswith("Own: mine (methods.py, line ")
    assert reasons["silent"] == "Silent: (its message cannot be shown)"


@pytest.mark.parametrize("place", hostile.PLACES)
def test_wherever_it_is_raised(grid: Grid, place: str) -> None:
    tried(grid, *(f"raises-{name}-in-{place.strip('_')}" for name in ("own", "keyboard")))


def test_a_verdict_that_cannot_be_written_is_escaped(grid: Grid) -> None:
    records = tried(
        grid, "diverges-in-surrogates", "diverges-silently", "over-budget-in-surrogates"
    )
    assert records[0].reason == "\\ud800"


@pytest.mark.parametrize("kind", ["leaves", "returns"])
def test_what_no_record_can_hold_is_left_out_and_said(grid: Grid, kind: str) -> None:
    for record in tried(grid, *(n for n, v in hostile.VARIANTS.items() if v.kind == kind)):
        if kind == "leaves" and record.status == "error" and "nameless-phase" not in record.reason:
            assert record.metrics == {}


def test_what_is_left_out_is_named(grid: Grid) -> None:
    records = tried(grid, "note-is-none", "leaves-half-an-image", "leaves-curve-without-values")
    assert [record.reason for record in records] == [
        "a record cannot hold the method's note (it is NoneType, not text)",
        "a record cannot hold the ledger's synthetic_images (it is 80.5)",
        "a record cannot hold the curve 'x' ('value')",
    ]


IN_A_PROCESS_OF_ITS_OWN = {
    "inference-mode",
    "stdout-closed",
    "thread-that-draws",
    "thread-that-waits",
}
"""Changes that this process, in which other tests run, is better spared."""


def test_what_is_changed_about_the_process_is_changed_back(grid: Grid) -> None:
    """All in one grid: every change would reach those that come after it."""
    names = [f"changes-{name}" for name in hostile.CHANGES if name not in IN_A_PROCESS_OF_ITS_OWN]
    below = children.own()
    tried(grid, *names)
    assert children.own() == below


@pytest.mark.parametrize("name", sorted(hostile.CHANGES.keys() - IN_A_PROCESS_OF_ITS_OWN))
def test_each_change_is_changed_back(name: str) -> None:
    """Seen from within the process, so that a change which another one hides is found too."""
    before = noticed()
    with process_as_before(), contextlib.suppress(Exception), children.children_as_before():
        hostile.CHANGES[name]()
    assert noticed() == before


def noticed() -> dict[str, object]:
    """What a later run could notice of the process."""
    torch.manual_seed(3)
    layer = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(8, 3))
    images = torch.randn(2, 1, 4, 4)
    output = layer(images)
    output.square().mean().backward()
    return {
        "output": output.tolist(),
        "dtype": output.dtype,
        "gradients": output.requires_grad,
        "inference": torch.is_inference_mode_enabled(),
        "mkldnn": torch._C._get_mkldnn_enabled(),
        "tiny": float(torch.full((), 5e-324, dtype=torch.float64) * 1.0),
        "handlers": [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)],
        "blocked": signal.pthread_sigmask(signal.SIG_BLOCK, []),
        "alarm": signal.getitimer(signal.ITIMER_REAL)[0],
        "environment": dict(os.environ),
        "path": list(sys.path),
        "folder": os.getcwd(),
        "stdout": sys.stdout,
        "descriptors": [os.path.exists(f"/proc/self/fd/{number}") for number in range(3)],
        "limits": [resource.getrlimit(n) for n in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE)],
        "cores": os.sched_getaffinity(0),
        "functions": [sorted, exam.exam_of, torch.nn.functional.kl_div],
        "numpy": np.geterr(),
        "warnings": list(warnings.filters),
        "collector": gc.isenabled(),
        "recursion": sys.getrecursionlimit(),
        "tracing": sys.gettrace(),
        "logging": logging.root.manager.disable,
        "children": children.own(),
    }
