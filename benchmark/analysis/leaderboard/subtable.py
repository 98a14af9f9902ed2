"""A small table that stands below a ranked one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Subtable:
    """Cells as text.

    Attributes:
        headings: headings of the columns (`benchmark.analysis.text.WORD_COLUMNS` hold words).
        body: rows of cells.
        caption: explanation of the numbers.
    """

    headings: Sequence[str]
    body: list[list[str]]
    caption: str
