"""Numbers and lists in sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence


def are(count: int) -> str:
    """``is`` for one, ``are`` for any other number."""
    return "is" if count == 1 else "are"


def listed(words: Sequence[str], last: str = "and") -> str:
    """``a``, ``a and b``, ``a, b and c``; empty without words.

    Semicolons stand between words of which one has a comma outside brackets.
    """
    if len(words) < 2:
        return "".join(words)
    commas = any("," in re.sub(r"\([^()]*\)", "", word) for word in words)
    between = "; " if commas else ", "
    end = f"; {last} " if commas and len(words) > 2 else f" {last} "
    return between.join(words[:-1]) + end + words[-1]


def ranged(numbers: Sequence[int]) -> str:
    """Whole numbers in order, runs of them shortened: ``0 to 4, 7 and 9``."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    words = []
    for part in parts:
        words += [f"{part[0]} to {part[-1]}"] if len(part) > 2 else [str(own) for own in part]
    return listed(words)
