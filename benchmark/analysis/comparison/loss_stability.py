"""How much the terms of a generator's loss fluctuate late in its training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from benchmark.records.record import Record


def fluctuation(values: Sequence[float]) -> float | None:
    """How much a curve jumps from one point to the next, in the curve's own unit.

    √(Σ (xᵢ₊₁ − xᵢ)² / 2 (n − 1)): the standard deviation of the noise around a slow trend, which
    the trend itself does not enter (von Neumann et al., "The Mean Square Successive Difference",
    Ann. Math. Statist. 1941).

    Returns:
        The fluctuation; None for fewer than three points.
    """
    if len(values) < 3:
        return None
    steps = np.diff(np.asarray(values, dtype=float))
    return float(np.sqrt(np.mean(steps**2) / 2))


def loss_stability(records: Sequence[Record]) -> dict[str, dict[int, float]]:
    """Fluctuation of the terms of the generator's loss over the second half of its training.

    RDSKD (Han et al., ICASSP 2021) shows it in Figure 3. The first half is left out because the
    terms fall fast there.

    Args:
        records: records of one method with one setting.

    Returns:
        The fluctuation by seed, by term (``one_hot``, ``entropy``, ...; ``loss`` is their total).
    """
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for record in records:
        for name, curve in record.curves.items():
            phase, _, term = name.partition("/")
            if phase in ("synthesis", "joint"):
                value = fluctuation(_second_half(curve))
                if value is not None:
                    found[term][record.spec.seed] = value
    return {term: dict(sorted(seeds.items())) for term, seeds in sorted(found.items())}


def _second_half(curve: Mapping[str, Sequence[float]]) -> list[float]:
    if not curve["step"]:
        return []
    middle = (curve["step"][0] + curve["step"][-1]) / 2
    return [v for step, v in zip(curve["step"], curve["value"], strict=True) if step >= middle]
