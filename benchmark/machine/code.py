"""Which code this is: commit and fingerprint."""

from __future__ import annotations

import hashlib
import inspect
import subprocess
from functools import cache
from pathlib import Path

import benchmark
import benchmark.tasks.models
import methods
from methods.base.method import Method


@cache
def code_fingerprint(own: Path) -> str:
    """A hash of the text that bits depend on, so that edits are not overlooked.

    Args:
        own: the file of the method, or of the training, in question. The methods package and the
            networks of the tasks are hashed with it.
    """
    folders = Path(methods.__path__[0]), Path(benchmark.tasks.models.__path__[0])
    hasher = hashlib.sha256()
    for path in [*(path for folder in folders for path in sorted(folder.rglob("*.py"))), own]:
        hasher.update(path.read_bytes())
    return hasher.hexdigest()[:16]


def code_of(method: type[Method]) -> str:
    """The `code_fingerprint` of a method."""
    return code_fingerprint(Path(inspect.getfile(method)))


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
