"""The state of the program's own checkout, by which records name the code that made them."""

from __future__ import annotations

from pathlib import Path

from benchmark.errors import UserError
from benchmark.machine.code import NoRepository, holds_committed, uncommitted

NAMED = 3
"""As many changed files are named; the others are counted."""


def check_checkout(results: Path, allow_dirty: bool) -> str:
    """Keep what uncommitted code makes out of committed results.

    A record names the commit that made it, and what was no commit cannot be got back. The folders
    of ``--methods-dir`` and ``--tasks-dir`` do not count, unless they are the program's own.

    Args:
        results: the folder that is about to be written to.
        allow_dirty: whether it may be written to although its files are committed.

    Returns:
        What is uncommitted, to be said before the work; empty if nothing is, or if the program is
        no checkout of a git repository.

    Raises:
        UserError: when something is, and git tracks files of the folder in the same checkout.
    """
    try:
        changed = uncommitted()
        refused = bool(changed) and not allow_dirty and holds_committed(results)
    except NoRepository:
        return ""
    if not changed:
        return ""
    more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
    said = f"the code has uncommitted changes in {', '.join(changed[:NAMED])}{more}"
    if refused:
        raise UserError(
            f"{said}, and '{results}' holds committed results; commit the code, give another "
            "folder with --results, or insist with --allow-dirty"
        )
    return said
