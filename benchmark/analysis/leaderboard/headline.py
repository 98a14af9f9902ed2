"""Which settings of a method stand in the ranked table; all others are its variants.

A method is ranked at its published setting and, where it was tuned, at the tuned one. Neither
scores nor numbers of runs have a say in the choice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from benchmark.analysis.leaderboard.rows import Row
from benchmark.analysis.preference import Preference, preference

OF_THE_SUITE = "of the suite"


def headline_rows(rows: Iterable[Row]) -> list[Row]:
    """The rows to rank: of every method its published setting, then its tuned ones.

    Of several versions the newest counts. A method that never ran as published is shown at the
    setting that departs least, which is one of its suite's (`benchmark.analysis.preference`). Where
    tuning was repeated in the same way, the latest choice counts. Each proxy data set has rows of
    its own. Students with another objective than their method's own are variants.
    """
    methods: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in sorted(rows, key=_newest):
        if row.own_objective:
            methods[row.method, row.proxy].append(row)
    found = []
    for own in methods.values():
        newest = min(row.behind for row in own)
        candidates = [row for row in own if row.behind == newest]
        found += [*_published(candidates), *_tuned(candidates)]
    return found


def _published(rows: Sequence[Row]) -> list[Row]:
    """The row as published, or the one nearest to it; none if all were chosen by tuning."""
    untuned = [row for row in rows if not row.tuned]
    nearest = min(reversed(untuned), key=_preference, default=None)
    return [] if nearest is None else [nearest]


def _preference(row: Row) -> Preference:
    return preference(row.behind, row.changed)


def _tuned(rows: Sequence[Row]) -> list[Row]:
    """The latest row of every way of tuning, but for a choice that is the published setting.

    Args:
        rows: candidates, the latest last.
    """
    latest: dict[str, Row] = {}
    for row in rows:
        if row.choice:
            latest[row.choice] = row
    return [latest[choice] for choice in sorted(latest) if latest[choice].changed]


def _newest(row: Row) -> tuple[str, str]:
    return max(record.created for record in row.records), row.label


def headline_setting(row: Row) -> str:
    """How a ranked row's setting came about, and what it is.

    *as published*, *tuned, n trials, by ...*, or *of the suite*, which is neither.
    """
    given = row.changed and not row.choice
    return f"{OF_THE_SUITE}: {row.setting}" if given else row.setting
