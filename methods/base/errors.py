"""Exceptions in one line, for messages and records."""

from __future__ import annotations

import traceback
from pathlib import Path


class RegistryError(Exception):
    """A file does not import, or two classes have the same name; the message is one line."""


def described(error: BaseException, limit: int = 200) -> str:
    """``ValueError: message``, the message on one line and cut after ``limit`` characters."""
    try:
        message = " ".join(str(error).split())[:limit]
    except Exception:  # an exception class of somebody's own may fail to print itself
        message = "(its message cannot be shown)"
    text = f"{type(error).__name__}: {message}"
    # A file name that is not UTF-8 must not make a record unwritable.
    return text.encode("utf-8", "backslashreplace").decode()


def described_with_place(error: BaseException, limit: int = 300) -> str:
    """``ValueError: message (file.py, line 3)``: the error and where it was raised.

    The file is named without its folder. A syntax error names its file and line itself.
    """
    text = described(error, limit)
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError) or not frames:
        return text
    place = f"{text} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"
    return place.encode("utf-8", "backslashreplace").decode()


def does_not_import(what: str, error: BaseException) -> RegistryError:
    """The error of a file, or of an installed package, that does not import."""
    return RegistryError(f"{what} does not import: {described_with_place(error)}")
