"""The arguments of dfkd run as typed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from benchmark.errors import UserError
from benchmark.grid.agenda import Overwrite
from benchmark.machine.cache import cache_dir
from benchmark.machine.device import available_device, pick_precision
from benchmark.runs.job import Context
from benchmark.teachers.teacher import teacher_folders
from methods.settings.params import nearest


@dataclass(frozen=True)
class Request:
    """The arguments of ``dfkd run`` as typed."""

    suite: str | None
    task: str | None
    methods: tuple[str, ...]
    settings: tuple[str, ...]
    seeds: str | None
    budget: str | None
    suite_name: str | None
    results: Path
    data_dir: Path | None
    method_folders: tuple[Path, ...]
    jobs: str
    threads: int | None
    device: str
    overwrite: str
    proxy_dir: Path | None = None
    objective: str | None = None
    objective_settings: tuple[str, ...] = ()
    task_folders: tuple[Path, ...] = ()
    time_limit: str | None = None
    run_timeout: str | None = None
    checkpoint_every: str = "1m"
    executor: str = "local"
    ray_address: str | None = None
    gpus_per_run: float | None = None
    retries: int | None = None


def make_context(request: Request) -> Context:
    """Where and how the request's runs are executed."""
    device = available_device(request.device)
    return Context(
        cache=cache_dir(),
        teacher_folders=teacher_folders(request.results),
        data_dir=request.data_dir,
        proxy_dir=request.proxy_dir,
        # Workers may have another working directory.
        method_folders=tuple(folder.resolve() for folder in request.method_folders),
        device=str(device),
        precision=pick_precision(device),
        task_folders=tuple(folder.resolve() for folder in request.task_folders),
        checkpoint_seconds=parse_duration(request.checkpoint_every, "--checkpoint-every"),
        run_timeout=parse_duration(request.run_timeout, "--run-timeout")
        if request.run_timeout
        else None,
    )


def _overwrite(text: str) -> Overwrite:
    choices = list(get_args(Overwrite))
    if text not in choices:
        raise UserError(f"--overwrite is '{text}'; {nearest(text, choices)}")
    return text  # type: ignore[return-value]


SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(text: str, option: str) -> float:
    """Seconds; a bare number is in seconds.

    Raises:
        UserError: naming the option, for anything else, and for a duration of nothing.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd]?)", text)
    seconds = sum(float(number) * SECONDS[unit or "s"] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or not 0 < seconds < 1e9:
        raise UserError(f"{option} is '{text}'; give a duration like 45s, 9m or 1h30m")
    return seconds
