"""Writing the leaderboard, and checking that what is written is current."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape

from benchmark.analysis.leaderboard.formats import csv_text, latex
from benchmark.analysis.leaderboard.markdown import fill_blocks, markdown
from benchmark.errors import UserError
from benchmark.records.files import write_atomic
from benchmark.records.store import DEFAULT_RESULTS, Scan, Store, collector_paused
from methods.settings.params import nearest

FORMATS = {"markdown": (markdown, ".md"), "latex": (latex, ".tex"), "csv": (csv_text, ".csv")}
"""Function that renders a format, and the suffix of its file."""


@collector_paused()
def leaderboard(
    results: Path,
    output: Path | None,
    form: str,
    check: bool,
    console: Console,
    errors: Console,
) -> int:
    """Render, or with ``check`` compare; 0 when all is well.

    Markdown also fills the marked tables of the README in the same folder. Unreadable records are
    named and counted; the table is made of the others, and the exit code is 1.

    Raises:
        UserError: when there is no results folder, or no such format.
    """
    if form not in FORMATS:
        raise UserError(f"--format is '{form}'; {nearest(form, list(FORMATS))}")
    render, suffix = FORMATS[form]
    chosen, own = output is not None, Path(results) == DEFAULT_RESULTS
    # The repository's own results make its files; other results have theirs in their own folder.
    output = output or (Path() if own else results) / f"leaderboard{suffix}"
    scan = scanned(results, errors)
    wanted = {output: render(scan)}
    readme = output.parent / "README.md"
    if form == "markdown" and readme.is_file():
        wanted[readme] = fill_blocks(readme.read_text(encoding="utf-8"), scan)
    stale = [path for path, text in wanted.items() if _read(path) != text]
    if check:
        again = "dfkd leaderboard" + (f" --format {form}" if form != "markdown" else "")
        again += "" if own else f" --results {results}"
        again += f" --output {output}" if chosen else ""
        for path in stale:
            errors.print(f"'{path}' does not agree with '{results}'; run: {again}", soft_wrap=True)
    else:
        for path in stale:
            write_atomic(path, wanted[path].encode())
        console.print(f"{output}: {len(scan.records)} records", highlight=False, soft_wrap=True)
        if readme in stale:
            console.print(f"{readme}: marked tables", highlight=False, soft_wrap=True)
    return int(bool(scan.unreadable) or (check and bool(stale)))


def scanned(results: Path, errors: Console) -> Scan:
    """Every record under a folder; unreadable files are named and counted.

    Raises:
        UserError: when there is no such folder.
    """
    scan = Store.existing(results).scan()
    for bad in scan.unreadable:
        errors.print(f"skipped '{escape(str(bad.path))}': {escape(bad.reason)}", soft_wrap=True)
    if scan.unreadable:
        errors.print(
            f"{len(scan.unreadable)} unreadable file(s) in '{results}' left out", soft_wrap=True
        )
    return scan


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None
