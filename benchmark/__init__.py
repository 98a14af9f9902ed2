"""dfkd-bench: a benchmark of data-free knowledge distillation.

This package is the harness: it plans runs, executes them, keeps their records and compares them.
`benchmark.runs.trial` tells one experiment from top to bottom; start reading there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

# torch reads this variable when it is imported. Large tensors on huge pages save a sixth of the
# time of a student's step.
HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"
os.environ.setdefault(HUGE_PAGES, "1")

__version__ = "0.1.0"


def load_results(path: str | Path = "results") -> pd.DataFrame:
    """A table with one row for every record under ``path`` (see `benchmark.analysis.frame`).

    Raises:
        benchmark.errors.UserError: when a file there is not a record of this benchmark.
    """
    from benchmark.analysis.frame import load_results as load

    return load(Path(path))
