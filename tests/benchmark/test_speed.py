"""The benchmark compares like with like: the plain loop and ours compute the same losses."""

from __future__ import annotations

import pytest
import torch

from benchmark import speed

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "BATCH", 16)
    monkeypatch.setattr(speed, "pick_precision", lambda device: "fp32")


def test_our_generator_phase_is_the_plain_one_in_float32() -> None:
    ours, plain = speed.our_generator(4, CPU), speed.plain_generator(4, CPU)
    assert ours == pytest.approx(plain, rel=1e-3)


def test_our_student_loss_is_the_plain_formula() -> None:
    bank = torch.randn(64, *speed.SHAPE, generator=torch.Generator().manual_seed(0)).half()
    # Two untrained networks hardly differ, so float32 leaves few digits of their KL.
    assert speed.student_loss_apart(bank, CPU) < 1e-3
