"""``python -m benchmark.cli`` is ``dfkd``."""

import sys

from benchmark.cli import entry

# Processes that a grid starts import this module again.
if __name__ == "__main__":
    sys.exit(entry())
