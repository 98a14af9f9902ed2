"""Atomic writing: nobody sees half a file."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from benchmark.errors import UserError


def check_writable(root: Path) -> None:
    """Refuse a folder that cannot be written before hours of work are done.

    Raises:
        UserError: when it cannot be written.
    """
    probe = root / ".writable"
    write_atomic(probe, b"")
    probe.unlink(missing_ok=True)  # another command may be probing too


def check_cache(cache: Path) -> None:
    """Refuse a cache that cannot be written before hours of work are done.

    Raises:
        UserError: when it cannot be written.
    """
    try:
        check_writable(cache)
    except UserError as error:
        reason = str(error).partition(";")[0]
        raise UserError(f"{reason}; set DFKD_CACHE to a folder you may write") from None


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a crash, never sees half of it.

    Raises:
        UserError: when the file or its folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=UNFINISHED)
    except OSError as error:
        raise UserError(
            f"cannot write to '{path.parent}': {error.strerror}; choose a folder you may write"
        ) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise UserError(f"cannot write '{path}': {error.strerror}") from None
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


UNFINISHED = ".writing-"
UNFINISHED_SECONDS = 3600


def sweep(folder: Path) -> None:
    """Remove the half-written files of killed processes; no write takes an hour."""
    for path in folder.rglob(f"{UNFINISHED}*"):
        with suppress(OSError):  # another process sweeps too
            if time.time() - path.stat().st_mtime > UNFINISHED_SECONDS:
                path.unlink()
