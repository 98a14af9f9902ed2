"""A small table that stands below a ranked one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Subtable:
    """Cells as text.

    Attributes:
        headings: of the columns; those in `benchmark.analysis.text.WORD_COLUMNS` hold words.
        body: rows of cells.
        caption: what the numbers are.
    """

    headings: Sequence[str]
    body: list[list[str]]
    caption: str
