"""The benchmark compares like with like: the plain loop and ours compute the same losses."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from tests.speed import clock, report, start, steps

SETTING = steps.mnist(16, torch.device("cpu"))


@pytest.fixture(autouse=True)
def _float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "pick_precision", lambda device: "fp32")


def test_our_generator_phase_is_the_plain_one_in_float32() -> None:
    ours, plain = steps.our_generator(SETTING, 4), steps.plain_generator(SETTING, 4)
    assert ours == pytest.approx(plain, rel=1e-3)


def test_our_student_loss_is_the_plain_formula() -> None:
    bank = torch.randn(64, 1, 32, 32, generator=torch.Generator().manual_seed(0)).half()
    # Two untrained networks hardly differ, so float32 leaves few digits of their KL.
    assert steps.student_loss_apart(SETTING, bank) < 1e-3


def test_flops_of_a_generator_step_are_those_of_its_layers() -> None:
    linear, first, second = 100 * 8192, 128 * 128 * 9 * 256, 128 * 64 * 9 * 1024
    counted = clock.flops_of(lambda n: steps.plain_generator(SETTING, n)) / SETTING.batch
    # Forward, and backward to weights and inputs; the rest is small.
    assert counted == pytest.approx(2 * 3 * (linear + first + second), rel=0.03)


def test_the_report_has_a_row_for_every_measurement() -> None:
    timings = (clock.Timing([0.1, 0.2], [1.0]), clock.Timing([1.0, 2.0], [1.001]))
    row = report.Row("a step", timings, flops=3e9, peak=1e11)
    text = report.markdown(report.Report("a machine", [row], [("batch", [("128", "0.1 s")])], []))
    assert "| a step | 0.150 | 1.50 | 10.0× | 1.0e-03 | 20 % |" in text
    assert "| 128 | 0.1 s |" in text


def test_the_time_to_the_first_step_is_of_a_command_that_trains(tmp_path: Path) -> None:
    before = time.time()
    seconds = start.seconds_to_start("quickstart", tmp_path, 0)
    assert 0 < seconds < time.time() - before
    assert list((tmp_path / "cache" / "teachers").iterdir()), "stopped before the student's turn"
