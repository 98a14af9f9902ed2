"""Ranked tables of records: one per task, budget and teacher.

Everything here is a pure function of the records; the same records give the same bytes.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from benchmark.analysis.frame import TIMED_PHASES
from benchmark.analysis.published import load_published
from benchmark.analysis.quality import quality_markdown
from benchmark.analysis.quotes import quote, quoted_cells
from benchmark.analysis.statistics import t_interval
from benchmark.records import SCORED, PlannedEntry, Record, Scan, Spec, canonical
from methods.budget import Budget

DATA_FREE = "data-free"
COLUMNS = (
    "rank",
    "method",
    "access",
    "accuracy, %",
    "published, %",
    "n ok/planned",
    "failures at chance, %",
    "of teacher, %",
    "oracle, %",
    "agreement, %",
    "seconds",
    "teacher queries",
)
SCHEDULES = {
    "cosine": "cosine decay",
    "constant": "constant rate",
    "step": "a tenth of it after four fifths",
}
HEADER = """# Leaderboard

Made by `dfkd leaderboard` from the records under `results/`; do not edit it by hand.

- **accuracy**: of the student at its **last** step, mean over seeds ± half-width of the 95 %
  t-interval. The table is ordered by the score with failures at chance (below).
- **rank**: within an access class, because a method that saw real data is no competitor of one
  that did not. A range means that the intervals overlap: these seeds cannot tell the methods
  apart. One seed gives no interval and no claim: *insufficient*.
- **published**: the number of the method's own paper, or of the one that is usually quoted, at that
  paper's schedule and with its teacher; `dfkd reproduce` puts whole tables beside ours.
- **n ok/planned**: finished runs of those the suites set out to do. **failures at chance**: the
  mean with every failed or missing run counted as a guess. A student that finished at chance
  level (*collapsed*) is a result and counts as it is; it is noted beside the method.
- **oracle** picks each run's best checkpoint on the test set, as most papers report it;
  **agreement** picks the one that agrees best with the teacher on synthetic images, which needs
  no real data. Neither is the headline.
- **seconds** of the method's own phases on the machine of the records, evaluation excluded;
  **teacher queries**: images sent forward through the teacher plus images sent back.
"""


@dataclass
class Row:
    """One method with one set of parameters, over its seeds."""

    method: str
    title: str
    access: str
    changed: dict[str, Any]
    version: int
    chance: float
    proxy: str = ""
    records: list[Record] = field(default_factory=list)
    planned: set[str] = field(default_factory=set)

    @property
    def scored(self) -> list[Record]:
        """Runs that ended with a student."""
        return [record for record in self.records if record.status in SCORED]

    def mean(self, metric: str) -> float | None:
        """Mean of a metric over the finished runs."""
        values = [r.metrics[metric] for r in self.scored if metric in r.metrics]
        return fmean(values) if values else None

    @property
    def interval(self) -> float | None:
        """Half-width of the accuracy's t-interval."""
        return t_interval([record.metrics["accuracy"] for record in self.scored])

    @property
    def score(self) -> float:
        """Mean accuracy with every failed or missing run at chance level."""
        return fmean(self._imputed) if self._imputed else 0.0

    @property
    def _imputed(self) -> list[float]:
        got = [record.metrics["accuracy"] for record in self.scored]
        return got + [self.chance] * (len(self.planned) - len(got))

    @property
    def score_interval(self) -> float | None:
        """Half-width of the score's t-interval; None when fewer than two runs finished."""
        return t_interval(self._imputed) if len(self.scored) > 1 else None

    @property
    def label(self) -> str:
        """Title, with the parameters that differ from the paper's and the proxy data, if any."""
        settings = {**self.changed, **({"proxy": self.proxy} if self.proxy else {})}
        changed = ", ".join(f"{name}={_short(value)}" for name, value in settings.items())
        version = f" v{self.version}" if self.version != 1 else ""
        return self.title + version + (f" ({changed})" if changed else "")

    @property
    def note(self) -> str:
        """What the method says of itself on this problem, and statuses other than ok, counted."""
        counts: dict[str, int] = defaultdict(int)
        for record in self.records:
            if record.status != "ok":
                counts[record.status.replace("_", " ")] += 1
        remarks = sorted({record.method.note for record in self.records} - {""})
        return ", ".join(
            [*remarks, *(f"{count} {status}" for status, count in sorted(counts.items()))]
        )


@dataclass
class Table:
    """All rows of one task, budget and teacher."""

    task: str
    budget: Budget
    teacher: str
    teacher_accuracy: float
    rows: list[Row]
    missing: dict[str, int] = field(default_factory=dict)
    data_note: str = ""

    def caption(self) -> str:
        """What the numbers were obtained with."""
        b = self.budget
        images = (
            f"a bank of {b.images:,} images" if b.images else "fresh images at every student step"
        )
        schedule = SCHEDULES[b.student_schedule]
        threads = sorted({r.environment.threads for row in self.rows for r in row.records})
        devices = sorted({r.environment.device for row in self.rows for r in row.records})
        absent = ", ".join(f"{name} ({count} runs)" for name, count in sorted(self.missing.items()))
        where = " and ".join(devices) + ", " + "/".join(str(n) for n in threads) + " threads a run"
        inverting = [
            record.spec.budget
            for row in self.rows
            for record in row.records
            if record.spec.budget.inversion_images
        ]
        pixels = "".join(
            f"; methods that optimise pixels: {i.inversion_images:,} images, "
            f"{i.inversion_steps:,} steps each"
            for i in inverting[:1]
        )
        proxies = sorted(
            {(r.method.proxy, r.spec.proxy) for row in self.rows for r in row.records} - {("", "")}
        )
        proxy = ", ".join(f"{name} `{checksum}`" for name, checksum in proxies)
        return (
            f"Budget `{b.name}`: {b.synthesis_steps:,} synthesis steps of {b.synthesis_batch} "
            f"images, {images}{pixels}, {b.student_steps:,} student steps of {b.student_batch} "
            f"images ({b.student_optimizer.capitalize()} {b.student_lr:g}, {schedule}). "
            f"Teacher `{self.teacher}`, accuracy {100 * self.teacher_accuracy:.2f} %. "
            + (f"Data: {self.data_note}. " if self.data_note else "")
            + (f"Proxy images: {proxy}. " if proxy else "")
            + f"Run on: {where}."
            + (f" Planned, but without any record: {absent}." if absent else "")
        )


TableKey = tuple[str, int, str, str, str]
"""Task, its version, data, budget (canonical) and teacher: what a table never mixes."""
RowKey = tuple[str, int, str, str, str]
"""Method, its version, parameters (canonical), proxy images and objective (canonical)."""


def tables(scan: Scan) -> list[Table]:
    """Group a scan's records into tables, rows in order of rank."""
    groups: dict[TableKey, dict[RowKey, Row]] = defaultdict(dict)
    first: dict[TableKey, Record] = {}
    seen: set[str] = set()
    for record in scan.records:
        if record.run_id in seen:
            continue  # the same experiment, asked for by two suites
        seen.add(record.run_id)
        table, key = _keys(record)
        first.setdefault(table, record)
        row = groups[table].setdefault(
            key,
            Row(
                record.spec.method,
                record.method.title,
                record.method.access,
                record.method.changed,
                record.spec.method_version,
                record.teacher.chance,
                record.method.proxy,
            ),
        )
        row.records.append(record)
        row.planned.add(record.run_id)
    missing: dict[TableKey, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for run_id, table, key in _planned(scan):
        if key in groups.get(table, {}):
            groups[table][key].planned.add(run_id)
        else:
            missing[table][key[0]] += 1
    return [
        Table(
            first[table].spec.task,
            first[table].spec.budget,
            first[table].teacher.checksum,
            first[table].teacher.accuracy,
            sorted(rows.values(), key=_order),
            dict(missing[table]),
            first[table].data_note,
        )
        for table, rows in sorted(groups.items())
    ]


def _keys(record: Record) -> tuple[TableKey, RowKey]:
    spec = record.spec
    budget = _common(spec.budget)
    table = (spec.task, spec.task_version, spec.data, budget, record.teacher.checksum)
    params, objective = canonical(spec.params), _canonical_objective(spec)
    return table, (spec.method, spec.method_version, params, spec.proxy, objective)


def _canonical_objective(run: Spec | PlannedEntry) -> str:
    """The objective put on a run's method; empty for the method's own."""
    return canonical(run.objective.model_dump(mode="json")) if run.objective else ""


def _common(budget: Budget) -> str:
    """What the methods of a table have in common; only some of them optimise pixels."""
    return canonical(budget.of_method(inverts_pixels=False).identity())


def _planned(scan: Scan) -> Iterable[tuple[str, TableKey, RowKey]]:
    """Every planned run with the table and the row it belongs to."""
    for suite in sorted(scan.planned):
        for run_id, entry in sorted(scan.planned[suite].items()):
            budget = _common(entry.budget)
            table = (entry.task, entry.task_version, entry.data, budget, entry.teacher)
            params, objective = canonical(entry.params), _canonical_objective(entry)
            row = (entry.method, entry.version, params, entry.proxy, objective)
            yield run_id, table, row


def _order(row: Row) -> tuple[Any, ...]:
    return (row.access != DATA_FREE, row.access, -row.score, row.label)


def ranks(table: Table) -> list[str]:
    """For every row its rank within its access class, as a range where intervals overlap."""
    result = []
    for row in table.rows:
        peers = [other for other in table.rows if other.access == row.access]
        position = 1 + sum(other.score > row.score for other in peers)
        if not row.scored:
            result.append("–")
        elif row.score_interval is None:
            result.append(f"{position} (insufficient)")
        else:
            low, high = row.score - row.score_interval, row.score + row.score_interval
            others = [other for other in peers if other is not row]
            better = sum(o.score - (o.score_interval or 0) > high for o in others)
            worse = sum(o.score + (o.score_interval or 0) < low for o in others)
            best, last = 1 + better, len(peers) - worse
            result.append(str(best) if best == last else f"{best}–{last}")
    return result


def cells(table: Table) -> list[list[str]]:
    """The table's body as text, one list a row, in the order of `COLUMNS`."""
    body = []
    quoted, _ = published(table)
    for rank, row, number in zip(ranks(table), table.rows, quoted, strict=True):
        accuracy, interval = row.mean("accuracy"), row.interval
        mean = "–" if accuracy is None else f"{100 * accuracy:.2f}"
        spread = "" if interval is None else f" ± {100 * interval:.2f}"
        share = None if accuracy is None else accuracy / table.teacher_accuracy
        done = row.scored
        seconds = [sum(r.ledger.seconds.get(p, 0.0) for p in TIMED_PHASES) for r in done]
        queries = [r.ledger.teacher_forward + r.ledger.teacher_backward for r in done]
        body.append(
            [
                rank,
                row.label + (f" [{row.note}]" if row.note else ""),
                row.access,
                mean + spread,
                number,
                f"{len(done)}/{len(row.planned)}",
                f"{100 * row.score:.2f}",
                _percent(share),
                _percent(row.mean("accuracy_oracle")),
                _percent(row.mean("accuracy_agreement")),
                f"{sum(seconds) / len(seconds):.0f}" if seconds else "–",
                f"{round(sum(queries) / len(queries)):,}" if queries else "–",
            ]
        )
    return body


def published(table: Table) -> tuple[list[str], str]:
    """For every row the cell of its published number; and where those come from.

    A row whose student has another objective than its method's own has none.
    """
    papers = load_published()
    quotes = []
    for row in table.rows:
        spec = row.records[0].spec
        settings = {**spec.params, **row.changed}
        quotes.append(None if spec.objective else quote(papers, table.task, row.method, settings))
    return quoted_cells(quotes)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}"


def _short(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def markdown_table(table: Table) -> str:
    """Caption and body in Markdown, and below them the tables of image quality, if any."""
    left = {"method", "access"}
    lines = [
        "| " + " | ".join(COLUMNS) + " |",
        "|" + "|".join(":--" if name in left else "--:" for name in COLUMNS) + "|",
    ]
    lines += [
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells(table)
    ]
    _, sources = published(table)
    ranked = "\n".join([table.caption(), "", *lines])
    return "\n\n".join([ranked, *([sources] if sources else []), *quality_markdown(table)])


def markdown(scan: Scan) -> str:
    """The whole of ``leaderboard.md``."""
    parts = [HEADER]
    for table in tables(scan):
        parts.append(f"## {table.task}, budget {table.budget.name}\n\n{markdown_table(table)}\n")
    if len(parts) == 1:
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
        bodies = [markdown_table(t) for t in found if (t.task, t.budget.name) == wanted]
        body = "\n\n".join(bodies) or "No records yet."
        return f"{match[1]}{body}\n{match[4]}"

    return BLOCK.sub(fill, text)
