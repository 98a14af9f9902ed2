"""What the tests say of the rows of a table.

All pairs of an access class are one family of questions, the same as that of the leaderboard's
letters, so that page and table never disagree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from benchmark.analysis.comparison.compare import DIFFERENCES
from benchmark.analysis.leaderboard.rows import Row
from benchmark.analysis.leaderboard.tables import Table, access_classes
from benchmark.analysis.pages.wording import listed
from benchmark.analysis.statistics.claims import format_p
from benchmark.analysis.statistics.paired import Pair, Question, compare, questions_of_all_pairs
from benchmark.analysis.text import signed_percent

COMPLETE = ("ranked", "reference")
"""The standings of rows that have all their runs."""

Names = dict[Row, str]
"""A name for every row of a table by which a reader tells it from the others."""


@dataclass(frozen=True)
class Told:
    """Two rows and the answer of the test about them."""

    first: Row
    second: Row
    pair: Pair

    @property
    def winner(self) -> Row | None:
        """The row that was shown to be better."""
        if self.pair.better is None:
            return None
        return self.first if self.pair.better == self.pair.first else self.second

    @property
    def loser(self) -> Row | None:
        """The row that was shown to be worse."""
        if self.winner is None:
            return None
        return self.second if self.winner is self.first else self.first

    @property
    def numbers(self) -> str:
        """Difference with its interval, p and n; the winner's difference is positive."""
        difference, claim = self.pair.winner_first.difference, self.pair.claim
        p = f"n = {claim.n}" if claim.p is None else f"p {format_p(claim.p)}, n = {claim.n}"
        if difference is None:
            return p
        middle, low, high = map(signed_percent, difference[:3])
        return f"{middle} points, {low} to {high}; {p}"


@dataclass(frozen=True)
class ClassFindings:
    """The rows of one access class that have all their runs, and the answers about all pairs."""

    access: str
    rows: list[Row]
    told: list[Told]

    @classmethod
    def of(cls, rows: Sequence[Row]) -> ClassFindings:
        """Ask about every two rows."""
        own = {str(i): row for i, row in enumerate(rows)}
        questions = questions_of_all_pairs({name: row.by_seed for name, row in own.items()})
        return cls(rows[0].access, list(rows), answered(questions, own))

    @cached_property
    def verdicts(self) -> Counter[str]:
        """How often each verdict was given."""
        return Counter(one.pair.claim.verdict for one in self.told)

    @property
    def decided(self) -> bool:
        """Whether any pair has seeds enough for an answer."""
        return len(self.told) > self.verdicts["insufficient"]

    def beaten_by(self, row: Row) -> set[Row]:
        """The rows that a row was shown to be better than."""
        return {one.loser for one in self.told if one.winner is row and one.loser is not None}


def answered(questions: Sequence[Question], rows: dict[str, Row]) -> list[Told]:
    """The answers to one family of questions, whose names stand for rows."""
    pairs = compare(questions, np.random.default_rng(0), within=DIFFERENCES)
    return [Told(rows[pair.first], rows[pair.second], pair) for pair in pairs]


def class_findings(table: Table) -> list[ClassFindings]:
    """The findings of every access class of a table with two or more complete rows."""
    complete = [row for row in table.headline if row.standing in COMPLETE]
    return [ClassFindings.of(rows) for rows in access_classes(complete) if len(rows) > 1]


def names_of(rows: Iterable[Row]) -> Names:
    """A name for every row: its title, and more where that does not tell it from the others."""
    rows = list(rows)
    alike = Counter((row.access, row.name) for row in rows)
    for form in (_short, _setting, _everything):
        names = {row: form(row, alike[row.access, row.name] > 1) for row in rows}
        if len(set(names.values())) == len(rows):
            break
    return names


def _short(row: Row, among_others: bool) -> str:
    if row.tuned:
        return f"{row.name} (tuned)"
    if row.changed:
        return f"{row.name} ({row.changes})"
    return f"{row.name} (as published)" if among_others else row.name


def _setting(row: Row, among_others: bool) -> str:
    """With proxy images and objective."""
    objectives = sorted({r.spec.objective.name for r in row.records if r.spec.objective})
    objective = f"objective {listed(objectives)}" if objectives else ""
    more = ", ".join(filter(None, [row.settings, objective]))
    return f"{row.name} ({more})" if more else _short(row, among_others)


def _everything(row: Row, among_others: bool) -> str:
    name = _setting(row, among_others)
    return f"{name} [{row.choice}]" if row.choice else name


def variants_told(table: Table) -> list[Told]:
    """Every variant against the ranked rows of its method; one family for the table.

    Rows of an older version than the program has are left out.
    """
    own: dict[str, Row] = {}
    questions = []
    for variant in table.variants:
        for row in table.headline:
            if variant.behind or row.behind or row.choice:
                continue
            if (row.method, row.proxy) != (variant.method, variant.proxy):
                continue
            first, second = (str(len(own) + i) for i in (0, 1))
            own |= {first: variant, second: row}
            questions.append(Question(first, second, variant.by_seed, row.by_seed))
    return answered(questions, own) if questions else []
