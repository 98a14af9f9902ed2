from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CODE = """
import sys
from pathlib import Path

import numpy as np

from benchmark.analysis.comparison.plots import critical_difference_figure, rendered
from benchmark.analysis.statistics.ranks import block_agreement

rng = np.random.default_rng(0)
means = {"dafl": 0.0, "mskd": 0.1, "rdskd": 0.2, "zskd": 9.0}
blocks = {name: list(mean + rng.normal(size=20)) for name, mean in means.items()}
figure = critical_difference_figure(block_agreement(blocks, rng))
Path(sys.argv[1]).write_bytes(rendered(figure))
"""


def test_a_diagram_of_ranks_is_the_same_in_every_process(tmp_path: Path) -> None:
    """What joins methods comes out of a set, whose order is another in every process."""
    drawn = set()
    for seed in ("1", "2", "3"):
        path = tmp_path / f"{seed}.svg"
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", CODE, str(path)], check=True, env=environment)
        drawn.add(path.read_bytes())
    assert len(drawn) == 1
