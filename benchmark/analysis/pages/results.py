"""``docs/results.md``: what the records show, and what they do not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmark.analysis.frame import METRIC_NAMES, to_frame
from benchmark.analysis.leaderboard.rows import Row
from benchmark.analysis.leaderboard.tables import Table, access_classes, tables
from benchmark.analysis.pages.beside import beside_section
from benchmark.analysis.pages.findings import (
    COMPLETE,
    ClassFindings,
    Names,
    class_findings,
    names_of,
    variants_told,
)
from benchmark.analysis.pages.sentences import (
    collapse_sentences,
    cost_sentences,
    pair_lines,
    programs_sentence,
    seeds_words,
    standing_sentences,
    tally,
    tuning_lines,
)
from benchmark.analysis.pages.wording import listed
from benchmark.analysis.scores import RULE
from benchmark.analysis.statistics.claims import ALPHA, POWER
from benchmark.analysis.statistics.intervals import NOT_COVERED
from benchmark.analysis.statistics.sign_flips import seeds_to_decide
from benchmark.analysis.text import counted
from benchmark.published.papers import Paper
from benchmark.records.store import Scan

HEADER = f"""# What the records show

Made by `dfkd pages` from the records; do not edit it by hand. The tables behind it are in
[leaderboard.md](../leaderboard.md), robustness and image quality have pages of their own
([robustness](robustness.md), [image quality](image-quality.md)), and
[statistics](statistics.md) has how often the tests err.

- A difference between two rows is *shown* where paired sign flips on their common seeds give
  p ≤ {ALPHA:g}, corrected for all pairs of an access class of a table (joint sign flips, step-down
  maxima). It is *not shown* where p could have been as small and is not: the seeds named would show
  a difference as large as the observed one with probability {POWER:g}. It is *insufficient* where
  no outcome could have shown it: with fewer than {seeds_to_decide()} common seeds.
- Differences are in percentage points, with 95 % intervals that are not corrected. Collapse rates
  have Wilson's 95 % interval. A row is a method at its published setting or, where it was tuned, at
  the tuned one; rows without all their runs are not compared.
- {RULE}.
- {NOT_COVERED}
"""


def results_page(scan: Scan, papers: Iterable[Paper]) -> str:
    """The whole page.

    Args:
        scan: the records and the plans.
        papers: the papers' numbers.
    """
    found = tables(scan)
    parts = [HEADER]
    if not found:
        return "\n".join([*parts, "There are no records yet: `dfkd run quickstart` makes some.\n"])
    parts += [f"{table_section(table)}\n" for table in found]
    parts.append(f"{beside_section(papers, to_frame(scan.records, scan.versions))}\n")
    return "\n".join(parts)


def table_section(table: Table) -> str:
    """The findings of one table."""
    names = names_of(table.headline)
    parts = [f"## {table.task}, budget {table.budget.title}", provenance(table)]
    compared = class_findings(table)
    for found in compared:
        parts += [f"### {title(found.access)}", class_words(found, names)]
    alone = [
        f"{names[rows[0]]} ({rows[0].access})"
        for rows in access_classes(table.headline)
        if len(rows) == 1 and rows[0].standing in COMPLETE
    ]
    if alone:
        each = "Alone in its access class" if len(alone) == 1 else "Each alone in its access class"
        parts.append(f"{each}, and so not compared: {listed(alone)}.")
    if open_rows := unfinished(table.headline, names):
        parts.append(open_rows)
    parts += ["### Collapses and costs", " ".join(collapse_sentences(table.headline, names))]
    parts.append(" ".join(cost_sentences(table.headline, names)))
    if variants := variants_words(table):
        parts += ["### Variants against the setting of their method in the table", variants]
    return "\n\n".join(filter(None, parts))


def provenance(table: Table) -> str:
    """The teacher, and how many runs of how many methods on which seeds by which code."""
    records = [record for row in table.rows for record in row.records]
    finished = [record for row in table.rows for record in row.scored]
    methods = {row.method for row in table.rows}
    score = f"{METRIC_NAMES[table.metric]} {100 * table.teacher_score:.2f} %"
    return (
        f"Teacher `{table.teacher}`, {score}. {counted(len(finished), 'finished run')} of "
        f"{counted(len(methods), 'method')} on {seeds_words(records)}. "
        + programs_sentence(finished)
    )


def class_words(found: ClassFindings, names: Names) -> str:
    """The findings of one access class: the sums in sentences, then every pair once."""
    sentences = [*settings_sentence(found.rows, names), tally(found)]
    sentences += standing_sentences(found, names)
    parts = [" ".join(sentences)]
    if found.decided:
        lines = [*pair_lines(found.told, names), *tuning_lines(found, names)]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def settings_sentence(rows: Sequence[Row], names: Names) -> list[str]:
    """How the settings came about that are not the published ones."""
    given = [names[row] for row in rows if row.changed and not row.choice]
    tuned = [
        f"{row.name}, {row.choice} ({row.changes})" for row in rows if row.changed and row.choice
    ]
    sentences = []
    if given:
        sentences.append(f"At their suite's setting instead of the published one: {listed(given)}.")
    if tuned:
        sentences.append(f"Tuned: {'; '.join(tuned)}.")
    return sentences


def unfinished(rows: Sequence[Row], names: Names) -> str:
    """The rows that are not compared, each with the reason; empty if there are none."""
    texts = [
        f"{names[row]} ({row.note or row.standing})" for row in rows if row.standing not in COMPLETE
    ]
    why = "because runs are missing, over budget or of an older version"
    return f"Not compared, {why}: {', '.join(texts)}." if texts else ""


def variants_words(table: Table) -> str:
    """What the variants show beside the ranked setting of their method; empty without variants."""
    told = variants_told(table)
    if not told:
        return ""
    found = ClassFindings("", [], told)
    lines = pair_lines(told, names_of(table.rows)) if found.decided else []
    return "\n\n".join(filter(None, [tally(found), "\n".join(lines)]))


def title(access: str) -> str:
    """An access class as a heading."""
    return access[0].upper() + access[1:]
