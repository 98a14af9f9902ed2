"""The machine: device, precision, memory, and what a record says of them."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import resource
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Literal

import torch

from benchmark.errors import UserError
from benchmark.machine.code import code_version
from benchmark.records.record import Environment

Precision = Literal["bf16", "fp32"]

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def pick_device(name: str = "auto") -> torch.device:
    """The device of this name; ``auto`` is the first GPU, or the CPU if there is none."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def pick_precision(device: torch.device) -> Precision:
    """``bf16`` where the hardware multiplies bfloat16 natively, ``fp32`` elsewhere."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            native = torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16" if native else "fp32"
    return "bf16" if _cpu_flags().intersection(MATRIX_INSTRUCTIONS) else "fp32"


MATRIX_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")
"""The instructions that multiply bfloat16, as Linux names them; torch's sums depend on which."""


def _cpu_flags() -> frozenset[str]:
    return frozenset(_cpu_line("flags", "Features").split())


@cache
def _cpu_line(*names: str) -> str:
    """The value of the first line of these names in what Linux tells of the CPU; else empty."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    for line in lines:
        if line.startswith(names):
            return line.partition(":")[2].strip()
    return ""


def keep_freed_memory() -> None:
    """Let glibc keep large freed blocks; giving them back and forth costs time.

    With other C libraries this does nothing.
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
    """Give freed memory back and restart `peak_memory_mib` from here; on Linux only."""
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory_mib() -> int:
    """The largest resident size of this process in MiB, since `forget_peak_memory` or its start."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) // 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1024 if sys.platform != "darwin" else 1024 * 1024)


def what_bits_depend_on(device: str, precision: str) -> list[str | int]:
    """What a result's bits depend on in addition to seed and code.

    The sums of a CPU depend on its threads; those of a GPU do not depend on its host's.
    """
    threads = torch.get_num_threads() if device == "cpu" else 0
    return [device, processor(torch.device(device)), precision, threads, torch.__version__]


def processor(device: torch.device) -> str:
    """The name of a GPU, or what a CPU's bits depend on.

    That is its architecture, the instructions torch uses of it, its maker, by whom libraries choose
    their kernels, and its instructions for bfloat16; the last two on Linux only.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    own = [flag for flag in MATRIX_INSTRUCTIONS if flag in _cpu_flags()]
    parts = [torch.backends.cpu.get_cpu_capability(), _cpu_line("vendor_id"), *own]
    return " ".join([platform.machine(), *filter(None, parts)])


def environment(device: torch.device, precision: Precision, fingerprint: str = "") -> Environment:
    """What a record says about where it was made, and by which code."""
    return Environment(
        python=platform.python_version(),
        torch=torch.__version__,
        device=device.type,
        processor=processor(device),
        threads=torch.get_num_threads(),
        precision=precision,
        code_version=code_version(),
        fingerprint=fingerprint,
    )


def available_cores() -> int:
    """How many cores this process may use, hyperthreads included."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_memory(limit: Path = Path("/sys/fs/cgroup/memory.max")) -> int:
    """Bytes of memory of this machine, or of the container that this process runs in.

    Args:
        limit: the file in which control groups (version 2) write the limit of a container.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(memory, int(limit.read_text(encoding="ascii")))
    except (OSError, ValueError):  # there is no such file, or it says "max"
        return memory


def available_device(name: str) -> torch.device:
    """The device of this name, or the best one for ``auto``.

    Raises:
        UserError: when this machine has no device of this name.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise UserError(f"--device is '{name}'; choose auto, cpu, cuda or cuda:N")
    device = pick_device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError("this machine has no CUDA device; use --device cpu (see `dfkd doctor`)")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"--device is '{name}', and this machine has {torch.cuda.device_count()} CUDA devices, "
            "numbered from 0; give one of them"
        )
    return device
