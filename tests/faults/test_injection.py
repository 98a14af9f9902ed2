"""The program that injects faults counts what was lost, and finds torn files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

from benchmark.machine.tensors import save_tensors
from benchmark.records.record import Record
from tests.faults import __main__ as faults
from tests.helpers import make_record


def a_run(seed: int = 0, score: float = 0.9) -> Record:
    return make_record(suite="s", seed=seed, metrics={"accuracy": score})


def test_lost_and_different_records_are_counted() -> None:
    whole = {str(seed): a_run(seed) for seed in range(3)}
    outcome = faults.Outcome("any")
    outcome.compare(whole, whole)
    assert (outcome.grids, outcome.lost, outcome.identical) == (1, 0, True)
    outcome.compare({**whole, "1": a_run(1, 0.8)}, whole)
    assert (outcome.lost, outcome.identical) == (0, False)
    outcome = faults.Outcome("any")
    outcome.compare({"0": whole["0"]}, whole)
    outcome.compare(whole, whole)  # a later grid does not make up for it
    assert (outcome.grids, outcome.lost, outcome.identical) == (2, 2, False)


def test_torn_files_are_found_but_for_those_that_were_cut(tmp_path: Path) -> None:
    arena = faults.Arena(tmp_path, 1)
    state = arena.cache / "checkpoints" / "run" / "loop.safetensors"
    save_tensors(state, {"x": torch.arange(1000)}, {})
    assert arena.torn_files() == 0
    process = subprocess.Popen([sys.executable, "-c", ""], start_new_session=True)
    assert faults.damage(process, arena)
    assert faults.is_torn(state)
    assert arena.torn_files() == 0
    save_tensors(state, {"x": torch.arange(1000)}, {})
    assert arena.torn_files() == 0
    state.write_bytes(state.read_bytes()[:-8])
    assert arena.torn_files() == 1
