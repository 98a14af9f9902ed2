"""The ``dfkd`` command: arguments in, functions called, text out. No logic lives here.

torch takes two seconds to import, so nothing that needs it is imported at the top of a module.
"""

from __future__ import annotations

from typing import Any

# Importing a group of commands registers it; the order is that of `dfkd --help`.
from benchmark.cli.arguments import (  # isort: skip
    running,
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
    "running",
]


def entry(arguments: list[str] | None = None) -> Any:
    """The console script."""
    return app(arguments, prog_name="dfkd")
