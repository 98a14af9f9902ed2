"""Which setting stands for a method: one rule for leaderboard, comparisons and papers' tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from methods.settings.params import format_value
from methods.settings.versions import Versions

Preference = tuple[int, int, str]


def preference(behind: int, changed: Mapping[str, Any]) -> Preference:
    """The least comes first: the newest version, then the setting nearest to the published one.

    The published setting itself departs in nothing. Among equally near ones the text of the
    departures decides, so that neither scores nor numbers of runs have a say.

    Args:
        behind: by how many versions the runs are older than the newest.
        changed: settings that are not as published.
    """
    return behind, len(changed), changes(changed)


def changes(changed: Mapping[str, Any]) -> str:
    """``temperature=4.0, width=32``: settings that are not as published."""
    return ", ".join(f"{name}={format_value(value)}" for name, value in changed.items())


def newest_version(
    known: Mapping[str, Versions], method: str, params: Mapping[str, Any], recorded: int
) -> int:
    """The newest version of a method with these parameters.

    Args:
        known: the versions that the program has, by method.
        method: name of the method.
        params: its parameters.
        recorded: the newest version in the records, for a method that the program does not have.
    """
    return known[method].of(params) if method in known else recorded


def older(version: int, newest: int) -> str:
    """``version 1; the program has 2``; empty for runs of the newest version."""
    return f"version {version}; the program has {newest}" if version < newest else ""
