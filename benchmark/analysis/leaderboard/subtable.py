"""A small table that stands below a ranked one, and how any table is written in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LEFT = {"method", "access", "group", "images of"}
"""Columns of words; numbers stand to the right."""


@dataclass(frozen=True)
class SideTable:
    """Cells as text.

    Attributes:
        headings: of the columns; those in `LEFT` hold words, the others numbers.
        body: rows of cells.
        caption: what the numbers are.
    """

    headings: Sequence[str]
    body: list[list[str]]
    caption: str


def in_a_cell(text: str) -> str:
    """A text that stays within its cell, and is no HTML, wherever the Markdown is shown."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return " ".join(escaped.replace("|", "\\|").split())


def markdown_grid(names: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """Rows of cells under the names of their columns."""
    rule = "|".join(":--" if name in LEFT else "--:" for name in names)
    lines = [" | ".join(map(in_a_cell, row)) for row in (names, *body)]
    return "\n".join([f"| {lines[0]} |", f"|{rule}|", *(f"| {line} |" for line in lines[1:])])
