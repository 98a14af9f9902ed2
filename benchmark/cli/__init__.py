"""The ``dfkd`` command: a file a command, and `arguments` for what is typed.

The files of `arguments` declare the commands and their options. torch takes long to import, so
these files import nothing that needs it: a command imports its own file when it is called.
"""

from __future__ import annotations

from typing import Any

# Importing a group of commands registers it; `dfkd --help` keeps this order.
from benchmark.cli.arguments import (  # isort: skip
    running,
    tuning,
    repeating,
    distilling,
    judging,
    imaging,
    exploring,
    extending,
)
from benchmark.cli.program import app

__all__ = [
    "app",
    "distilling",
    "entry",
    "exploring",
    "extending",
    "imaging",
    "judging",
    "repeating",
    "running",
    "tuning",
]


def entry(arguments: list[str] | None = None) -> Any:
    """Run the command that the arguments name; the console script ``dfkd``."""
    return app(arguments, prog_name="dfkd")
