"""All that stands below a ranked table: the quality of its images, and its classes."""

from __future__ import annotations

from benchmark.analysis.leaderboard.classes import class_tables
from benchmark.analysis.leaderboard.quality import quality_tables
from benchmark.analysis.leaderboard.subtable import Subtable
from benchmark.analysis.leaderboard.tables import Table


def subtables(table: Table) -> list[Subtable]:
    """The tables below a ranked one; often none."""
    return [*quality_tables(table), *class_tables(table)]
