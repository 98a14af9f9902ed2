"""The parts of docs/reliability.md, each written by a command of its own."""

from __future__ import annotations

from pathlib import Path

from benchmark.records.files import write_atomic

MARK = "\n## "
"""What every section begins with; the text before the first is the page's own."""


def write_section(page: Path, text: str) -> None:
    """Put a section in the place of the one with its heading, or at the end; the rest stays.

    Args:
        page: the file, which need not exist.
        text: the section, which begins with ``## `` and its heading.
    """
    top, *sections = _read(page)
    mine = text.removeprefix(MARK.strip() + " ").rstrip() + "\n"
    heading = mine.partition("\n")[0]
    headings = [section.partition("\n")[0] for section in sections]
    if heading in headings:
        sections[headings.index(heading)] = mine
    else:
        sections.append(mine)
    _write(page, top, sections)


def write_top(page: Path, text: str) -> None:
    """Write what stands before the first section; the sections stay."""
    _write(page, text, _read(page)[1:])


def _read(page: Path) -> list[str]:
    return page.read_text(encoding="utf-8").split(MARK) if page.exists() else [""]


def _write(page: Path, top: str, sections: list[str]) -> None:
    parts = [top.rstrip() + "\n", *(section.rstrip() + "\n" for section in sections)]
    write_atomic(page, MARK.join(parts).encode())
