"""The machine: device, precision, threads, allocator, and what a record says of them."""

from __future__ import annotations

import ctypes
import platform
import resource
import subprocess
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Literal

import torch

import benchmark
from benchmark.records import Environment

Precision = Literal["bf16", "fp32"]

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def pick_device(name: str = "auto") -> torch.device:
    """``auto`` is the first GPU, or the CPU where there is none."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def pick_precision(device: torch.device) -> Precision:
    """bfloat16 where the hardware multiplies it natively, float32 elsewhere."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            native = torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16" if native else "fp32"
    flags = _cpu_flags()
    return "bf16" if flags & {"avx512_bf16", "amx_bf16", "bf16"} else "fp32"


@cache
def _cpu_flags() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    for line in lines:
        if line.startswith(("flags", "Features")):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def keep_freed_memory() -> None:
    """Let glibc keep large freed blocks: returning and faulting them again costs a fifth.

    Elsewhere than on glibc this does nothing.
    """
    _mallopt({M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 1 << 30, M_TOP_PAD: 256 << 20})


def _mallopt(settings: dict[int, int]) -> None:
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for option, value in settings.items():
            libc.mallopt(option, value)


def forget_peak_memory() -> None:
    """Let `peak_memory_mib` begin anew, with freed memory given back; on Linux only."""
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory_mib() -> int:
    """Largest resident size of this process, on the host, since `forget_peak_memory` or ever."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) // 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1024 if sys.platform != "darwin" else 1024 * 1024)


def what_bits_depend_on(device: str, precision: str) -> list[str | int]:
    """Beside seed and code; equal bits are promised for equal ones only.

    A CPU's sums depend on its threads; a GPU's do not depend on those of its host.
    """
    threads = torch.get_num_threads() if device == "cpu" else 0
    return [device, processor(torch.device(device)), precision, threads, torch.__version__]


def processor(device: torch.device) -> str:
    """The name of a GPU, or a CPU's architecture and the instructions torch uses of it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def environment(device: torch.device, precision: Precision) -> Environment:
    """What a record says about where it was made."""
    return Environment(
        python=platform.python_version(),
        torch=torch.__version__,
        device=device.type,
        processor=processor(device),
        threads=torch.get_num_threads(),
        precision=precision,
        code_version=code_version(),
    )


@cache
def code_version() -> str:
    """The commit this code is at, with ``+changes`` when files of the packages differ from it."""
    root = Path(benchmark.__file__).resolve().parent.parent
    packages = ["benchmark", "methods"]
    if not (root / ".git").exists():
        return benchmark.__version__
    try:
        commit = _git(root, "rev-parse", "--short=12", "HEAD")
        changes = _git(root, "status", "--porcelain", "--", *packages)
    except (OSError, subprocess.CalledProcessError):
        return benchmark.__version__
    return commit + ("+changes" if changes else "")


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()
