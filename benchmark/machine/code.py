"""Which commit of this program runs, and what differs from it.

The code of a user's own folders (``--methods-dir``, ``--tasks-dir``) is no part of the program.
"""

from __future__ import annotations

import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("benchmark", "methods")


@cache
def code_version() -> str:
    """The commit this code is at, with ``+changes`` when files of the packages differ from it.

    The installed version where there is no repository.
    """
    try:
        commit = _git(ROOT, "rev-parse", "--short=12", "HEAD")
        changes = uncommitted()
    except NoRepository:
        return _installed()
    return commit + ("+changes" if changes else "")


def uncommitted() -> list[str]:
    """The files of the packages that are new or differ from the commit, as git names them.

    Raises:
        NoRepository: when this code is no checkout, or git is missing.
    """
    # Another git command at work in the checkout is not disturbed.
    status = ("--no-optional-locks", "status", "--porcelain=v1", "-z", "--no-renames", "-uall")
    lines = _git(ROOT, *status, "--", *PACKAGES).split("\0")
    return [line[3:] for line in lines if line]


def holds_committed(folder: Path) -> bool:
    """Whether a folder of this code's checkout holds files that git tracks.

    Raises:
        NoRepository: when this code is no checkout, or git is missing.
    """
    inside = folder.resolve()
    return inside.is_relative_to(ROOT) and bool(_git(ROOT, "ls-files", "-z", "--", str(inside)))


class NoRepository(Exception):
    """This code is no checkout of a git repository, or there is no git."""


def _installed() -> str:
    try:
        return version("dfkd-bench")
    except PackageNotFoundError:
        return "unknown"


def _git(root: Path, *arguments: str) -> str:
    if not (root / ".git").exists():  # an installed package below somebody's repository is no part
        raise NoRepository
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], check=True, capture_output=True, text=True
        )
    except (OSError, subprocess.CalledProcessError):
        raise NoRepository from None
    return done.stdout.rstrip("\n")
