"""JSON text that is equal for equal values, and its hash, of which identities are made.

This module imports no torch, so a table of ten thousand records starts at once.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical(value: Any, indent: int | None = None) -> str:
    """JSON text that is equal for equal values; NaN and infinity are refused."""
    return (COMPACT if indent is None else _encoder(indent)).encode(value)


def _encoder(indent: int | None) -> json.JSONEncoder:
    return json.JSONEncoder(
        sort_keys=True,
        allow_nan=False,
        ensure_ascii=False,
        indent=indent,
        separators=(",", ":") if indent is None else (",", ": "),
    )


COMPACT = _encoder(None)


def digest(value: Any) -> str:
    """A hash of a JSON value; 16 hexadecimal digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:16]
