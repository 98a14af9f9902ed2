"""Durations as people type them: ``45s``, ``9m``, ``1h30m``."""

from __future__ import annotations

import re

from benchmark.errors import UserError

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(text: str, option: str) -> float:
    """Seconds; a bare number is in seconds.

    Raises:
        UserError: naming the option, for anything else, and for a duration of nothing.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd]?)", text)
    seconds = sum(float(number) * SECONDS[unit or "s"] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or not 0 < seconds < 1e9:
        raise UserError(f"{option} is '{text}'; give a duration like 45s, 9m or 1h30m")
    return seconds
