"""Simulate, and write or check ``docs/statistics.md``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from tests.simulations.page import page
from tests.simulations.tables import sections

PAGE = Path("docs") / "statistics.md"
TABLES = 4000


def main(output: Path = PAGE, tables: int = TABLES, check: bool = False) -> int:
    """Run every study; at the usual number of tables this takes six minutes of a processor.

    Args:
        output: the page.
        tables: number of made-up tables a row.
        check: whether the page is only compared with what is there.

    Returns:
        1 when a checked page is another than what was made, else 0.
    """
    console = Console()
    found = {}
    for name, section in sections(tables):
        console.print(f"{name}: {section.says}", markup=False, highlight=False, soft_wrap=True)
        found[name] = section
    text = page(found, tables)
    if not check:
        output.write_text(text, encoding="utf-8")
        console.print(f"written: {output}")
        return 0
    same = output.is_file() and output.read_text(encoding="utf-8") == text
    console.print(f"{output} is {'up to date' if same else 'out of date: run make simulations'}")
    return 0 if same else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.simulations", description=__doc__)
    parser.add_argument("--output", type=Path, default=PAGE, help="default: %(default)s")
    parser.add_argument("--tables", type=int, default=TABLES, help="default: %(default)s")
    parser.add_argument("--check", action="store_true", help="compare with the page, write nothing")
    sys.exit(main(**vars(parser.parse_args())))
