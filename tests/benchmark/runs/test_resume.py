"""Runs that go on from where they were: what is kept, and what is damaged."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmark.contract import checks
from benchmark.errors import UserError
from benchmark.machine import checkpoints, stopping
from benchmark.machine.device import what_bits_depend_on
from benchmark.machine.tensors import load_tensors, pack, save_tensors, unpack
from benchmark.records.record import Record
from benchmark.runs import states, trial
from benchmark.suites.suite import MethodEntry
from methods.base.registry import discover
from methods.base.run import Run
from methods.base.samples import Batch, Counted, ImageBank, MixedSource, OnlineSource, SampleSource
from methods.base.states import Stopped
from tests.benchmark.grid.test_grid import Grid, facts, grid
from tests.helpers import FAULTY_METHODS, one_line, tiny_budget

__all__ = ["grid"]

ENTRIES = (
    "rdskd",
    "dafl",
    "degan",
    "deep-inversion",
    "zskd",
    "metadata",
    "student-supervised",
)


class Attempts:
    """One job, executed again and again, each time asked to stop after so many reports."""

    def __init__(self, grid: Grid, method: MethodEntry | str) -> None:
        self.context = dataclasses.replace(
            grid.context, checkpoint_seconds=1e-9, reuse_samples=False
        )
        self.grid = grid
        self.method = method
        self.seen: list[tuple[str, int]] = []

    def __call__(self, stop_after: int = 0) -> Record:
        self.seen = []

        def report(run_id: str, phase: str, step: int, total: int, loss: float) -> None:
            if phase == "starting":
                return
            self.seen.append((phase, step))
            if len(self.seen) == stop_after:
                stopping.request(stopping.USER)

        self.grid.context = self.context
        self.grid.watcher.report = report  # type: ignore[method-assign]
        try:
            (record,) = self.grid.run(self.method)
            return record
        except KeyboardInterrupt:
            (record,) = self.grid.store.scan().records
            return record
        finally:
            stopping.forget()

    @property
    def folder(self) -> Path:
        (folder,) = (self.context.cache / "checkpoints").iterdir()
        return folder


@pytest.fixture
def attempts(grid: Grid) -> Attempts:
    return Attempts(grid, "rdskd")


@pytest.fixture
def whole(grid: Grid, tmp_path: Path) -> dict[str, Any]:
    elsewhere = dataclasses.replace(grid.context, cache=tmp_path / "other-cache")
    (record,) = Grid(elsewhere, tmp_path / "other").run("rdskd")
    return facts(record)


def test_a_run_goes_on_within_synthesis_and_distillation(
    attempts: Attempts, whole: dict[str, Any]
) -> None:
    assert attempts(stop_after=3).status == "interrupted"
    assert attempts.seen[-1] == ("synthesis", 3)
    attempts(stop_after=6)
    assert attempts.seen[0] == ("synthesis", 4)
    phase, step = attempts.seen[-1]
    assert phase == "distillation"
    record = attempts()
    assert attempts.seen[0] == ("distillation", step + 1)
    assert facts(record) == whole
    assert list((attempts.context.cache / "checkpoints").iterdir()) == []


def test_what_it_cost_before_it_was_stopped_counts(attempts: Attempts) -> None:
    attempts(stop_after=3)
    tensors, _ = load_tensors(attempts.folder / "synthesis.safetensors")
    text = bytes(tensors.pop("tree").numpy()).decode()
    ledger = unpack(tensors, text)["state"]["ledger"]
    assert ledger["seconds"]["synthesis"] > 0
    assert attempts().ledger.seconds["synthesis"] > ledger["seconds"]["synthesis"]


@pytest.mark.parametrize("keep", [0, 100, -1, None])
def test_a_damaged_checkpoint_is_said_and_ignored(
    attempts: Attempts, whole: dict[str, Any], keep: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    attempts(stop_after=3)
    path = attempts.folder / "synthesis.safetensors"
    content = bytearray(path.read_bytes())
    if keep is None:
        content[-5] ^= 1
    path.write_bytes(content[:keep])
    record = attempts()
    assert attempts.seen[0] == ("synthesis", 1)
    assert facts(record) == whole
    (warning,) = caplog.records
    assert "checkpoint ignored" in one_line(warning.getMessage())
    assert str(path) in warning.getMessage()


def test_a_lost_snapshot_is_damage(
    attempts: Attempts, whole: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    attempts(stop_after=12)
    assert attempts.seen[-1][0] == "distillation"
    for path in attempts.folder.glob("student-*"):
        path.unlink()
    assert facts(attempts()) == whole
    assert "checkpoint ignored" in caplog.text


def test_a_full_disk_is_said_and_the_run_goes_on(
    attempts: Attempts,
    whole: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(path: Path, *rest: Any) -> str:
        raise UserError(f"cannot write '{path}': No space left on device")

    monkeypatch.setattr(checkpoints, "save_tensors", full)
    assert facts(attempts()) == whole
    assert "No space left on device" in caplog.text


@pytest.mark.parametrize("changed", ["code", "precision", "threads", "torch", "processor"])
def test_what_other_bits_come_from_does_not_go_on(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    attempts(stop_after=3)
    if changed == "code":
        monkeypatch.setattr(trial, "code_of", lambda spec, method: "other code")
    elif changed == "torch":
        now = [*what_bits_depend_on("cpu", "fp32")[:-1], "0.0"]
        monkeypatch.setattr(states, "what_bits_depend_on", lambda device, precision: now)
    elif changed == "processor":
        monkeypatch.setattr("benchmark.machine.device.processor", lambda device: "an older one")
    elif changed == "precision":
        attempts.context = dataclasses.replace(attempts.context, precision="bf16")
    else:
        attempts.context = dataclasses.replace(attempts.context, threads=2)
    attempts()
    assert attempts.seen[0] == ("synthesis", 1)


def test_the_hosts_threads_do_not_matter_to_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {}
    monkeypatch.setattr("benchmark.machine.device.processor", str)
    for threads in (1, 2):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        for device in ("cpu", "cuda:1"):
            found[device, threads] = what_bits_depend_on(device, "bf16")
    assert found["cpu", 1] != found["cpu", 2]
    assert found["cuda:1", 1] == found["cuda:1", 2]


def test_states_are_kept_no_more_often_than_asked(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[str] = []
    save = states.RunKeeper.save
    monkeypatch.setattr(
        states.RunKeeper,
        "save",
        lambda self, loop, *rest: (saved.append(loop), save(self, loop, *rest)),
    )
    attempts.context = dataclasses.replace(attempts.context, checkpoint_seconds=3600.0)
    attempts()
    assert saved == []


@pytest.mark.parametrize("method", ENTRIES)
def test_the_contract_suite_finds_that_ours_go_on(method: str) -> None:
    checks.goes_on_from_where_it_stopped(discover()[method])


def test_a_generator_trained_with_its_student_goes_on(grid: Grid, tmp_path: Path) -> None:
    entry = MethodEntry(name="dafl", params={"schedule": "joint"})
    (whole,) = Grid(grid.context, tmp_path / "other").run(entry)
    attempts = Attempts(grid, entry)
    for _ in range(2):
        assert attempts(stop_after=2).status == "interrupted"
    assert facts(attempts()) == facts(whole)


@pytest.mark.parametrize("objective", ["fitnets", "quantized"])
def test_objectives_with_something_to_train_go_on(
    grid: Grid, tmp_path: Path, objective: str
) -> None:
    entry = MethodEntry(name="noise", objective=objective)
    (whole,) = Grid(grid.context, tmp_path / "other").run(entry)
    attempts = Attempts(grid, entry)
    for _ in range(2):
        assert attempts(stop_after=3).status == "interrupted"
    record = attempts()
    assert len(attempts.seen) == 2
    assert facts(record) == facts(whole)


@pytest.mark.parametrize(
    "entry",
    [
        MethodEntry(name="student-supervised", params={"augmentation": "crop-flip"}),
        MethodEntry(name="kd-real", params={"augmentation": "crop-flip"}, objective="quantized"),
    ],
    ids=lambda entry: entry.name,
)
def test_students_of_changed_images_go_on(grid: Grid, tmp_path: Path, entry: MethodEntry) -> None:
    (whole,) = Grid(grid.context, tmp_path / "other").run(entry)
    assert whole.status in {"ok", "collapsed"}, whole.reason
    attempts = Attempts(grid, entry)
    assert attempts(stop_after=2).status == "interrupted"
    assert attempts(stop_after=1).status == "interrupted"
    assert facts(attempts()) == facts(whole)


def test_the_contract_suite_finds_state_that_was_not_named() -> None:
    with pytest.raises(checks.Broken) as caught:
        checks.goes_on_from_where_it_stopped(discover([FAULTY_METHODS])["forgetful"])
    assert "run.steps" in one_line(str(caught.value))


# The parts


LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
TREES = st.recursive(
    LEAVES,
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(st.integers() | st.text(), children, max_size=3)
        | st.tuples(children, children)
    ),
    max_leaves=8,
)


@given(TREES)
def test_a_tree_comes_back_as_it_was(tree: Any) -> None:
    assert unpack(*pack(tree)) == tree


def test_tensors_come_back_with_values_types_and_layout(tmp_path: Path) -> None:
    plain = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    tree = {
        0: plain.contiguous(memory_format=torch.channels_last),
        1: (plain, plain[0]),
        2: [torch.tensor(3, dtype=torch.int64), torch.tensor([True]), plain.to(torch.bfloat16)],
    }
    tensors, text = pack(tree)
    save_tensors(tmp_path / "it", tensors, {})
    back = unpack(load_tensors(tmp_path / "it")[0], text)
    assert back[0].stride() == tree[0].stride()
    pairs = [(tree[0], back[0])]
    for index in (1, 2):
        pairs += zip(tree[index], back[index], strict=True)  # type: ignore[call-overload]
    for mine, theirs in pairs:
        assert mine.dtype == theirs.dtype
        assert torch.equal(mine, theirs)


def test_what_cannot_be_kept_is_named() -> None:
    with pytest.raises(TypeError) as caught:
        pack({"it": {"is": object()}})
    assert "object" in one_line(str(caught.value))


class Plain(SampleSource):
    """A source as somebody else may write it."""

    def batches(self, size: int, stream: torch.Generator) -> Iterator[Batch]:
        while True:
            yield Batch(torch.rand(size, 1, 2, 2, generator=stream))

    def validation(self, count: int, stream: torch.Generator) -> torch.Tensor:
        return torch.zeros(count, 1, 2, 2)


def bank() -> ImageBank:
    return ImageBank(torch.arange(13.0).view(13, 1, 1, 1).expand(13, 1, 2, 2), 2)


def online() -> OnlineSource:
    return OnlineSource(lambda count, stream: torch.rand(count, 1, 2, 2, generator=stream))


@pytest.mark.parametrize(
    "source",
    [
        bank(),
        online(),
        Plain(),
        MixedSource(bank(), online(), 0.5),
        MixedSource(Plain(), bank(), 0.5),
    ],
)
@pytest.mark.parametrize("taken", [0, 1, 2, 3, 7])
def test_batches_go_on_from_where_they_were(source: SampleSource, taken: int) -> None:
    def start() -> Any:
        return Counted.of(source.batches(4, torch.Generator().manual_seed(3)))

    first, second = start(), start()
    for _ in range(taken):
        next(first)
    state = unpack(*pack(first.state_dict()))
    second.load_state_dict(state)
    for _ in range(5):
        assert torch.equal(next(first).images, next(second).images)


def test_a_loop_without_a_keeper_is_just_a_loop_that_can_be_stopped() -> None:
    reasons = iter(["", "", "enough", ""])
    run = Run(tiny_budget(), stopping=lambda: next(reasons))
    steps = run.steps("loop", 9)
    assert [next(steps) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(Stopped):
        next(steps)
    assert list(Run(tiny_budget()).steps("loop", 3)) == [0, 1, 2]


def test_a_loop_that_is_not_made_of_steps_stops_when_it_logs() -> None:
    run = Run(tiny_budget(), stopping=lambda: "enough")
    with pytest.raises(Stopped):
        run.log("phase", 0, 3, loss=1.0)


def test_a_loops_name_is_no_path() -> None:
    with pytest.raises(ValueError, match="kebab-case"):
        Run(tiny_budget()).steps("../synthesis", 3)


def test_a_replay_does_not_go_on(grid: Grid) -> None:
    """Contexts keep nothing unless they are told to."""
    assert grid.context.checkpoint_seconds is None
    grid.run("rdskd")
    assert not (grid.context.cache / "checkpoints").exists()
