"""Work, in floating-point operations, with one unit for all cells of a column."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from benchmark.analysis.text import NO_VALUE


class WorkUnit(NamedTuple):
    """A unit of work, and how many floating-point operations it is."""

    name: str
    operations: float

    def cell(self, work: float | None) -> str:
        """Work in this unit, such as ``1.2`` or ``1,340``; `NO_VALUE` for None."""
        if work is None:
            return NO_VALUE
        amount = work / self.operations
        digits = 0 if amount >= 100 else 1 if amount >= 1 else 3
        return f"{amount:,.{digits}f}"


UNITS = tuple(
    WorkUnit(f"{prefix}FLOP", 1000.0**n)
    for n, prefix in enumerate(("", "k", "M", "G", "T", "P", "E"))
)


def work_unit(amounts: Iterable[float | None]) -> WorkUnit | None:
    """The largest unit in which the median amount is at least one; None without any amount."""
    known = sorted(amount for amount in amounts if amount is not None)
    if not known:
        return None
    middle = known[len(known) // 2]
    return [unit for unit in UNITS if unit.operations <= max(middle, 1)][-1]
