"""Pages with their figures, as files to write or to compare with those that are there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from benchmark.records.files import write_atomic

Files = dict[Path, bytes]
"""The content of every file of one or several pages, by path."""

FIGURE = re.compile(r"!\[[^\]]*\]\((?P<path>[^):]+\.svg)\)")
CREATOR = re.compile(rb"<dc:title>(Matplotlib v[^,<]+)")


def stale(files: Mapping[Path, bytes]) -> list[Path]:
    """The files that are missing or say something else, and `superseded` figures."""
    changed = [path for path, content in files.items() if not _is_current(path, content)]
    return [*changed, *superseded(files)]


def superseded(files: Mapping[Path, bytes]) -> list[Path]:
    """Figures that the pages there show now, and will no longer."""
    shown = {
        page.parent / match["path"]
        for page in files
        if page.suffix == ".md" and page.is_file()
        for match in FIGURE.finditer(page.read_text(encoding="utf-8"))
    }
    return sorted(path for path in shown - files.keys() if path.is_file())


def write(files: Mapping[Path, bytes]) -> list[Path]:
    """Write what is stale, and remove superseded figures; the paths of both."""
    wanted = stale(files)
    for path in wanted:
        if path in files:
            write_atomic(path, files[path])
        else:
            path.unlink()
    return wanted


def _is_current(path: Path, content: bytes) -> bool:
    """Whether a file has this content.

    Another version of matplotlib draws the same figure with other bytes. Such a figure is taken as
    it is; the numbers that it shows are on its page, which is compared.
    """
    if not path.is_file():
        return False
    there = path.read_bytes()
    if there == content:
        return True
    old, new = CREATOR.search(there), CREATOR.search(content)
    return old is not None and new is not None and old.group(1) != new.group(1)
