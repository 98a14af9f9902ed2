"""The leaderboard for programs (CSV) and for papers (LaTeX)."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from statistics import fmean

from benchmark.analysis.leaderboard import cells, groups, published, ranks
from benchmark.analysis.overall import Overall, overall_cells, overalls
from benchmark.analysis.tables import DATA_FREE, Table, tables
from benchmark.store import Scan

CSV_COLUMNS = (
    "task",
    "budget",
    "teacher",
    "metric",
    "teacher_score",
    "chance",
    "access",
    "rank",
    "method",
    "title",
    "version",
    "settings",
    "mean",
    "half_width",
    "low",
    "high",
    "mean_failures_at_chance",
    "oracle",
    "agreement",
    "published",
    "group",
    "n_ok",
    "n_planned",
    "seconds",
    "teacher_queries",
    "robustness",
)
IN_LATEX = (
    "rank",
    "method",
    "access",
    "accuracy, %",
    "mIoU, %",
    "published, %",
    "group",
    "n ok/planned",
    "of teacher, %",
)
"""What fits a page."""
SPECIAL = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "–": "--",
    "−": "$-$",
}


def csv_text(scan: Scan) -> str:
    """A line a row of every table; scores are fractions, and what is not there is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for table in tables(scan):
        beside = zip(table.rows, ranks(table), groups(table), published(table)[0], strict=True)
        for row, rank, group, quoted in beside:
            draws, interval = table.robustness.get(row.method), row.interval
            writer.writerow(
                [
                    table.task,
                    table.budget.title,
                    table.teacher,
                    table.metric,
                    table.teacher_score,
                    row.chance,
                    row.access,
                    _or_empty(rank),
                    row.method,
                    row.title,
                    row.version,
                    row.settings,
                    row.mean(row.metric),
                    (interval.high - interval.low) / 2 if interval else None,
                    interval.low if interval else None,
                    interval.high if interval else None,
                    row.score,
                    row.mean(f"{row.metric}_oracle"),
                    row.mean(f"{row.metric}_agreement"),
                    _fraction(quoted),
                    _or_empty(group),
                    len(row.scored),
                    len(row.planned),
                    row.seconds,
                    row.queries,
                    fmean(draws) if draws else None,
                ]
            )
    return text.getvalue()


def _fraction(quoted: str) -> float | None:
    """``98.20 [1]`` to 0.982."""
    return None if quoted == "–" else round(float(quoted.partition(" ")[0]) / 100, 4)


def _or_empty(cell: str) -> str:
    return "" if cell == "–" else cell


def latex(scan: Scan) -> str:
    """A table for every task and budget, and one over all tasks of each budget, for booktabs."""
    found = tables(scan)
    parts = ["% Made by: dfkd leaderboard --format latex. Needs \\usepackage{booktabs}.\n"]
    parts += [
        _overall_latex(overall, access)
        for overall in overalls(found)
        for access in overall.access_classes
    ]
    parts += [_table_latex(table) for table in found]
    return "\n".join(parts)


def _overall_latex(overall: Overall, access: str) -> str:
    names, body, settings = overall_cells(overall, access)
    caption = f"{overall.caption()} Access: {access}."
    caption += f" Settings: {settings}." if settings else ""
    return _environment(names, [body], caption, f"overall-{overall.budget}-{access}")


def _table_latex(table: Table) -> str:
    kept = [i for i, name in enumerate(table.columns) if name in IN_LATEX]
    access = table.columns.index("access")
    body = cells(table)
    classes = [
        [[row[i] for i in kept] for row in body if (row[access] == DATA_FREE) == free]
        for free in (True, False)
    ]
    _, sources = published(table)
    caption = " ".join(
        [f"{table.task}, budget {table.budget.title}.", table.caption(), *filter(None, [sources])]
    )
    label = f"{table.task}-{table.budget.title}-{table.teacher}"
    return _environment([table.columns[i] for i in kept], classes, caption, label)


def _environment(
    names: Sequence[str], classes: Sequence[Sequence[Sequence[str]]], caption: str, label: str
) -> str:
    """A float with a rule between classes that are not ranked against each other."""
    words = {"method", "access", "group"}
    parts = ["".join(f"{_line(row)}\n" for row in body) for body in classes if body]
    return (
        "\\begin{table}\n\\centering\n"
        f"\\caption{{{escaped(caption.replace('`', ''))}}}\n"
        f"\\label{{tab:{''.join(c if c.isalnum() else '-' for c in label)}}}\n"
        f"\\begin{{tabular}}{{{''.join('l' if name in words else 'r' for name in names)}}}\n"
        f"\\toprule\n{_line(names)}\n\\midrule\n"
        + "\\midrule\n".join(parts)
        + "\\bottomrule\n\\end{tabular}\n\\end{table}\n"
    )


def _line(row: Sequence[str]) -> str:
    return " & ".join(map(escaped, row)) + r" \\"


def escaped(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(SPECIAL.get(character, character) for character in text)
