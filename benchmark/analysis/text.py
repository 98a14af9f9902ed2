"""Numbers and tables as text, the same on every page."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

NO_VALUE = "–"
"""What a cell shows that has no value."""

WORD_COLUMNS = frozenset({"method", "setting", "access", "group", "images of"})
"""Headings of columns that hold words and are aligned left; the others hold numbers."""


def percent(share: float | None) -> str:
    """``92.30`` for 0.923; `NO_VALUE` for None."""
    return NO_VALUE if share is None else f"{100 * share:.2f}"


def signed_percent(share: float) -> str:
    """``+1.20`` for 0.012, with a true minus sign."""
    return f"{100 * share:+.2f}".replace("-", "−")


def counted(count: int, noun: str) -> str:
    """``1 run``, ``12 runs``, ``1,353 runs``; the noun takes an s."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def escape_cell(text: str) -> str:
    """A text that stays within its cell, and is no HTML, wherever the Markdown is shown."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return " ".join(escaped.replace("|", "\\|").split())


def plain(text: str) -> str:
    """Markdown without its marks for bold, italics and code."""
    return re.sub("[*`]", "", text)


def markdown_grid(
    names: Sequence[str],
    body: Iterable[Sequence[str]],
    word_columns: Collection[str] = WORD_COLUMNS,
) -> str:
    """A table in Markdown.

    Args:
        names: headings of the columns.
        body: rows of cells.
        word_columns: headings of the columns that are aligned left.
    """
    rule = "|".join(":--" if name in word_columns else "--:" for name in names)
    lines = [" | ".join(map(escape_cell, row)) for row in (names, *body)]
    return "\n".join([f"| {lines[0]} |", f"|{rule}|", *(f"| {line} |" for line in lines[1:])])
