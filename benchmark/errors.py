"""Errors a user can act on: one line, no traceback, exit code 2."""

from __future__ import annotations


class UserError(Exception):
    """Something the user gave us is wrong; the message names it and what to do."""
