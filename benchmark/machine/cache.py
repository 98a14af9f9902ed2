"""Where the cache is, and the pictures in it. Imports no torch, because a report needs it."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "DFKD_CACHE"


def cache_dir() -> Path:
    """The folder of the cache: ``DFKD_CACHE``, or the user's cache folder."""
    if configured := os.environ.get(CACHE_VARIABLE):
        return Path(configured)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "dfkd-bench"


def picture_path(cache: Path, run_id: str) -> Path:
    """Where the picture of a run lies: test images, their maps, and the maps of the networks."""
    return cache / "pictures" / f"{run_id}.png"


def sheet_path(cache: Path, run_id: str) -> Path:
    """Where the contact sheet of a run's images lies, once ``dfkd images`` has drawn it."""
    return cache / "pictures" / f"{run_id}-images.png"
