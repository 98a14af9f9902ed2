from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext

import pytest
import torch

from benchmark.machine.device import pick_precision


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16"), (False, "fp32")])
def test_a_gpu_that_only_emulates_bfloat16_computes_in_float32(
    monkeypatch: pytest.MonkeyPatch, native: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(
        torch.cuda,
        "is_bf16_supported",
        lambda including_emulation=True: native or including_emulation,
    )
    assert pick_precision(torch.device("cuda", 0)) == expected


def test_what_workers_are_forked_from_is_started_before_torch_is_imported() -> None:
    program = (
        "import sys, benchmark.cli.arguments.running\n"
        "from benchmark.grid.executors import forks\n"
        "forks.get_ready()\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
