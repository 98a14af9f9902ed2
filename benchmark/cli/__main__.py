"""``python -m benchmark.cli`` is ``dfkd``."""

from __future__ import annotations

import sys

from benchmark.cli import entry

# Processes that a grid starts import this module again.
if __name__ == "__main__":
    sys.exit(entry())
