"""Errors that a user can act on: one line, no traceback, exit code 2."""

from __future__ import annotations


class UserError(Exception):
    """Something that the user gave is wrong; the message names it and says what to do."""
