"""Which commit of this program runs."""

from __future__ import annotations

import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


@cache
def code_version() -> str:
    """The commit this code is at, with ``+changes`` when files of the packages differ from it.

    The installed version where there is no repository.
    """
    root = Path(__file__).resolve().parents[2]
    packages = ["benchmark", "methods"]
    if not (root / ".git").exists():
        return _installed()
    try:
        commit = _git(root, "rev-parse", "--short=12", "HEAD")
        changes = _git(root, "status", "--porcelain", "--", *packages)
    except (OSError, subprocess.CalledProcessError):
        return _installed()
    return commit + ("+changes" if changes else "")


def _installed() -> str:
    try:
        return version("dfkd-bench")
    except PackageNotFoundError:
        return "unknown"


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()
