"""The arguments of ``dfkd run`` as they are typed, and the parsing of single ones."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from benchmark.errors import UserError
from benchmark.records.store import Overwrite
from methods.settings.params import nearest

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class RunRequest:
    """The arguments of ``dfkd run`` as typed; the defaults are the command's."""

    suite: str | None = None
    task: str | None = None
    methods: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    objective: str | None = None
    objective_settings: tuple[str, ...] = ()
    seeds: str | None = None
    budget: str | None = None
    suite_name: str | None = None
    results: Path = Path("results")
    data_dir: Path | None = None
    proxy_dir: Path | None = None
    method_folders: tuple[Path, ...] = ()
    task_folders: tuple[Path, ...] = ()
    jobs: str = "auto"
    threads: int | None = None
    device: str = "auto"
    overwrite: str = "never"
    time_limit: str | None = None
    run_timeout: str | None = None
    checkpoint_every: str = "1m"
    executor: str = "local"
    ray_address: str | None = None
    gpus_per_run: float | None = None
    retries: int | None = None
    allow_dirty: bool = False
    teacher: str = ""
    beside: Path | None = None


def parse_overwrite(text: str) -> Overwrite:
    """One of the words of ``--overwrite``.

    Raises:
        UserError: naming the nearest of them, for any other word.
    """
    for word in get_args(Overwrite):
        if text == word:
            return word  # type: ignore[no-any-return]
    raise UserError(f"--overwrite is '{text}'; {nearest(text, list(get_args(Overwrite)))}")


def parse_duration(text: str, option: str) -> float:
    """A duration like ``45s`` or ``1h30m`` in seconds; a number without a unit is in seconds.

    Raises:
        UserError: naming the option, for any other text, and for a duration of zero.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd]?)", text)
    seconds = sum(float(number) * SECONDS[unit or "s"] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or not 0 < seconds < 1e9:
        raise UserError(f"{option} is '{text}'; give a duration like 45s, 9m or 1h30m")
    return seconds
