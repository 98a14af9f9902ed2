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

- **Overall**: every method at one setting a task, the one with the most runs, then the one nearest
  the paper's; scores have no say in it. **mean score** is the mean over tasks of
  (accuracy − chance) / (teacher's − chance), cut to [0, 1], failures at 0, ± half-width of the 95 %
  t-interval. **mean rank** with the 95 % interval of a bootstrap over seeds; a task's column has
  the score there and, in brackets, the rank. A method that lacks a task stands below those that
  lack none, and its means, over the tasks it has, stand in brackets.
- **accuracy**: of the student at its **last** step, mean over seeds ± half-width of the 95 %
  t-interval; from 20 seeds on the ends of a BCa bootstrap's stand in brackets. The table is ordered
  by the score with failures at chance (below).
- **mIoU**: where maps are segmented, in the place of accuracy: intersection over union, averaged
  over the classes that the test images show. **pixel accuracy** stands beside it.
- **rank**: within an access class, because a method that saw real data is no competitor of one
  that did not. A range is the 95 % interval of a bootstrap over seeds, widened for their small
  number. One seed gives no interval and no claim: *insufficient*.
- **published**: the number of the method's own paper, or of the one that is usually quoted, at that
  paper's schedule and with its teacher; `dfkd reproduce` puts whole tables beside ours.
- **group**: rows of an access class that share a letter were not told apart by paired sign-flip
  tests on their common seeds, failures at chance, at 5 % after Holm's correction over all pairs.
  *insufficient (n)*: no outcome could have told the row from any other; it takes n common seeds.
- **n ok/planned**: finished runs of those the suites set out to do. **failures at chance**: the
  mean with every failed or missing run counted as a guess. A student that finished at chance
  level (*collapsed*) is a result and counts as it is; it is noted beside the method.
- **oracle** picks each run's best checkpoint on the test set, as most papers report it;
  **agreement** picks the one that agrees best with the teacher on synthetic images, which needs
  no real data. Neither is the headline.
- **full-precision** and **int8**, where students were quantised (objective `quantized`): the score
  of the student before its quantisers, and of its 8-bit integers; **KiB**: their size as torch
  stores them. At 4 bits the student is a simulation, whose score is that of the row; **int4 KiB**
  is computed, from packed weights, scales and biases, and no file's size.
- **robustness**, where it was measured: mean over random draws from the method's own tuning ranges
  of (accuracy − chance) / (teacher's − chance), cut to [0, 1], failures at 0: the area under its
  performance profile, ± half-width of the 95 % t-interval (number of draws).
- **seconds** of the method's own phases on the machine of the records, evaluation excluded;
  **teacher queries**: images sent forward through the teacher plus images sent back.
"""

OTHERS = "**Not data-free**: these saw more than the teacher; ranks are within each access class."


def markdown_table(table: Table) -> str:
    """Caption, data-free methods, the others, and below them what else is known of them."""
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
    """Caption, and a table an access class."""
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
