"""dfkd-bench: a benchmark of data-free knowledge distillation."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

# Read by torch when it is imported: large tensors on huge pages, a sixth of a student step.
HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"
os.environ.setdefault(HUGE_PAGES, "1")

__version__ = "0.1.0"


def load_results(path: str | Path = "results") -> pd.DataFrame:
    """One row a run for every record under ``path`` (see `benchmark.analysis.frame`).

    Raises:
        benchmark.errors.UserError: when a file there is not a record of this benchmark.
    """
    from benchmark.analysis.frame import load_results as load

    return load(Path(path))
