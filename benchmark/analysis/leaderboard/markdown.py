"""``leaderboard.md``, and the tables that other documents quote from it."""

from __future__ import annotations

import re

from benchmark.analysis.leaderboard.appendix import subtables
from benchmark.analysis.leaderboard.cells import cells, column_names
from benchmark.analysis.leaderboard.overall import Overall, overall_cells, overalls
from benchmark.analysis.leaderboard.quotes import published
from benchmark.analysis.leaderboard.tables import DATA_FREE, Table, tables
from benchmark.analysis.text import markdown_grid
from benchmark.records.store import Scan

HEADER = """# Leaderboard

Made by `dfkd leaderboard` from the records under `results/`; do not edit it by hand.

- **Overall**: every method at one setting per task: the setting with the most runs, then the one
  nearest the paper's. Scores have no say in the choice. **mean score** is the mean over tasks of
  (accuracy − chance) / (teacher's accuracy − chance), cut to [0, 1], with failed runs at 0, ±
  half-width of the 95 % t-interval. **mean rank** is the mean over tasks of the rank, with the 95 %
  interval of a bootstrap over seeds. A task's column shows the score on that task and, in brackets,
  the rank. A method that lacks a task stands below the methods that lack none; its means are over
  the tasks it has, and are shown in brackets.
- **accuracy**: the accuracy of the student at its **last** step, mean over seeds ± half-width of
  the 95 % t-interval. From 20 seeds on, the ends of a BCa bootstrap interval are shown in brackets
  instead. The rows are ordered by the score with failures at chance (below).
- **mIoU** replaces accuracy where images are segmented: intersection over union, averaged over the
  classes that the test images show. **pixel accuracy** is shown as well.
- **rank**: the rank within an access class, because a method that saw real data is no competitor
  of one that did not. A range is the 95 % interval of a bootstrap over seeds, widened for their
  small number. One seed gives no interval and no claim: *insufficient*.
- **published**: the number in the method's own paper, or in the paper that is usually quoted, at
  that paper's schedule and with its teacher. `dfkd reproduce` compares whole published tables with
  the records.
- **group**: two rows of an access class share a letter where paired sign-flip tests did not tell
  them apart. The tests are on their common seeds, with failures at chance, at the level of 5 %
  after Holm's correction over all pairs. *insufficient (n)*: no outcome could have told the row
  from any other; that takes n common seeds.
- **n ok/planned**: the number of finished runs, out of all runs that the suites planned.
  **failures at chance**: the mean score with every failed or missing run counted at chance level.
  A student that finished at chance level (*collapsed*) is a result and counts as it is; it is noted
  after the method's name.
- **oracle**: the score of each run's best checkpoint on the test set, as most papers report it.
  **agreement**: the score of the checkpoint that agrees best with the teacher on synthetic images,
  which needs no real data. Neither is the headline.
- **full-precision** and **int8**, where students were quantised (objective `quantized`): the score
  of the student before its quantisers were added, and the score of its 8-bit integer form. **KiB**:
  their size as torch stores them. At 4 bits the student is a simulation, whose score is that of the
  row; **int4 KiB** is computed from packed weights, scales and biases, and is no file's size.
- **robustness**, where it was measured: the mean of (accuracy − chance) / (teacher's accuracy −
  chance) over random draws from the method's own tuning ranges, cut to [0, 1], with failed runs at
  0, ± half-width of the 95 % t-interval, and the number of draws in brackets. It is the area under
  the method's performance profile.
- **seconds**: the time of the method's own phases on the machine of the records, without
  evaluation. **teacher queries**: the number of images sent forward through the teacher plus the
  number of images sent back.
"""

OTHERS = (
    "**Not data-free**: these methods saw more than the teacher; ranks are within an access class."
)


def markdown_table(table: Table) -> str:
    """Caption, data-free methods, the other methods, and the smaller tables below."""
    body, columns = cells(table), column_names(table)
    access = columns.index("access")
    free = [row[:access] + row[access + 1 :] for row in body if row[access] == DATA_FREE]
    others = [row for row in body if row[access] != DATA_FREE]
    names = columns[:access] + columns[access + 1 :]
    parts = [table.caption()]
    parts += ["**Data-free**", markdown_grid(names, free)] if free else []
    parts += [OTHERS, markdown_grid(columns, others)] if others else []
    _, sources = published(table)
    parts += [sources] if sources else []
    for below in subtables(table):
        parts += [below.caption, markdown_grid(below.headings, below.body)]
    return "\n\n".join(parts)


def overall_markdown(overall: Overall) -> str:
    """Caption, and one table per access class."""
    parts = [overall.caption()]
    for access in overall.access_classes:
        names, body, settings = overall_cells(overall, access)
        parts += [f"**{access[0].upper()}{access[1:]}**", markdown_grid(names, body)]
        parts += [f"Settings: {settings}."] if settings else []
    return "\n\n".join(parts)


def markdown(scan: Scan) -> str:
    """The whole of ``leaderboard.md``."""
    found = tables(scan)
    parts = [HEADER]
    for overall in overalls(found):
        parts.append(f"## Overall, budget {overall.budget}\n\n{overall_markdown(overall)}\n")
    for table in found:
        parts.append(f"## {table.task}, budget {table.budget.title}\n\n{markdown_table(table)}\n")
    if not found:
        parts.append("No records yet: `dfkd run quickstart` makes some.\n")
    return "\n".join(parts)


BLOCK = re.compile(
    r"(<!-- leaderboard (?P<task>\S+) (?P<budget>\S+) -->\n).*?(<!-- end leaderboard -->)", re.S
)


def fill_blocks(text: str, scan: Scan) -> str:
    """Replace every marked block of a document by the table it names.

    A block is ``<!-- leaderboard TASK BUDGET -->`` … ``<!-- end leaderboard -->``.
    """
    found = tables(scan)

    def fill(match: re.Match[str]) -> str:
        wanted = (match["task"], match["budget"])
        bodies = [markdown_table(t) for t in found if (t.task, t.budget.title) == wanted]
        body = "\n\n".join(bodies) or "No records yet."
        return f"{match[1]}{body}\n{match[4]}"

    return BLOCK.sub(fill, text)
