"""``dfkd reproduce``: the suite of a paper's table is run, and both are printed side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from benchmark.analysis.frame import readable, to_frame
from benchmark.analysis.reproduction import (
    LEGEND,
    PairComparison,
    ScoreComparison,
    available_budget,
    compare,
    label,
)
from benchmark.cli.run_request import RunRequest
from benchmark.errors import UserError
from benchmark.published.papers import (
    SCORES,
    SELECTIONS,
    Pair,
    Paper,
    PublishedTable,
    Result,
    find_table,
    load_published,
    protocol,
    published_tables,
)
from benchmark.records.store import Store
from benchmark.suites.suite import load_suite, suite_names
from benchmark.tasks.registry import all_tasks, get_task
from methods.settings.params import nearest

STYLES = {"agrees": "green", "differs": "bold red", "not run": "dim"}
COSTS_AND_QUALITY = {
    "inception_score": ("IS", "{:.2f}"),
    "fid": ("FID", "{:.0f}"),
    "lpips": ("LPIPS", "{:.3f}"),
    "seconds": ("seconds", "{:,.0f}"),
    "gpu_hours": ("GPU hours", "{:g}"),
}
"""The heading and format of numbers that are shown as published, without a number of ours."""
WIDE = 110
"""The columns that a terminal must have to show them."""


@dataclass(frozen=True)
class Options:
    """The options of ``dfkd reproduce`` that say what is run and where."""

    budget: str | None
    task: str | None
    seeds: str | None
    data_dir: Path | None
    proxy_dir: Path | None
    jobs: str
    device: str
    allow_dirty: bool
    teacher: str = ""


@dataclass(frozen=True)
class Reproduction:
    """A published table and the folder of our records."""

    name: str
    paper: Paper
    table: PublishedTable
    results: Path

    @classmethod
    def of(cls, name: str, results: Path, task: str | None = None) -> Reproduction:
        """The table of this name, cut to one of its tasks if ``task`` is given.

        Raises:
            UserError: when there is no such table, or it has no such task.
        """
        paper, table = find_table(name, load_published())
        if task is not None:
            pairs = [pair for pair in table.pairs if task in (pair.task, pair.stand_in)]
            if not pairs:
                valid = [n for pair in table.pairs for n in (pair.task, pair.stand_in) if n]
                raise UserError(f"'{name}' has no task '{task}'; {nearest(task, valid)}")
            table = table.model_copy(update={"pairs": pairs})
        return cls(name, paper, table, results)

    def run(self, options: Options, console: Console) -> int:
        """Run what is missing of the suite, then `show`; the exit code of the runs.

        Raises:
            UserError: when no suite runs the table.
        """
        suite = _suite(self.name, self.table)
        if not suite:
            raise UserError(
                f"no suite runs '{self.name}'; compare it with the records that are there: --no-run"
            )
        from benchmark.cli import run as commands

        request = RunRequest(
            suite=suite,
            task=options.task,
            seeds=options.seeds,
            budget=options.budget,
            results=self.results,
            data_dir=options.data_dir,
            proxy_dir=options.proxy_dir,
            jobs=options.jobs,
            device=options.device,
            allow_dirty=options.allow_dirty,
            teacher=options.teacher,
        )
        code = commands.run(request, console)
        self.show(options.budget or load_suite(suite).budget, console)
        return code

    def show(self, budget: str | None, console: Console) -> None:
        """Print the table beside our records of a budget; by default `available_budget`."""
        store = Store.existing(self.results)
        known = {name for task in all_tasks() for name in get_task(task).budgets}
        if budget is not None and budget not in known:
            raise UserError(f"there is no budget '{budget}'; {nearest(budget, sorted(known))}")
        scan = store.scan()
        frame = to_frame(readable(scan), scan.versions)
        budget = budget or available_budget(self.table, frame)
        compared = compare(self.table, frame, budget, self.paper.short)
        _print(self.paper, self.table, compared, budget, console)


def listing(console: Console) -> None:
    """Every published table, a line each."""
    drawn = RichTable(title="Published tables", box=box.SIMPLE_HEAD, title_justify="left")
    for column in ("name", "table", "suite", "rows", "data"):
        drawn.add_column(column, no_wrap=column == "name")
    for name, (paper, table) in published_tables(load_published()).items():
        rows = [result for _, result in table.results()]
        unverified = sum(not result.verified for result in rows)
        count = f"{len(rows)}" + (f" ({unverified} unverified)" if unverified else "")
        drawn.add_row(
            name,
            escape(f"{paper.short}, {table.title}"),
            _suite(name, table) or "–",
            count,
            escape(", ".join(dict.fromkeys(pair.dataset for pair in table.pairs))),
        )
    console.print(drawn)
    console.print("Compare one with our records: dfkd reproduce NAME --no-run", highlight=False)


def _suite(name: str, table: PublishedTable) -> str:
    return table.suite or (name if name in suite_names() else "")


def _print(
    paper: Paper,
    table: PublishedTable,
    compared: list[PairComparison],
    budget: str,
    console: Console,
) -> None:
    console.print(
        f"[bold]{escape(f'{paper.short}, {table.title}, and our budget {budget}')}[/bold]"
    )
    reasons: dict[str, int] = {}
    for pair in compared:
        for row in pair.rows:
            if row.reason:
                reasons.setdefault(row.reason, len(reasons) + 1)
        console.print(_drawn(pair, reasons, console.width))
    for line in [*_hidden(compared, console.width), *_notes(paper, table, compared, reasons)]:
        console.print(escape(line), highlight=False, style="dim")


def _numbers(pair: Pair) -> list[str]:
    """The names of the numbers that are published of a pair, in order."""
    return list(dict.fromkeys(name for result in pair.results for name in result.numbers))


def _hidden(compared: list[PairComparison], width: int) -> list[str]:
    """The note on the columns that a narrow terminal does not show."""
    names = dict.fromkeys(name for own in compared for name in _numbers(own.pair))
    headings = [COSTS_AND_QUALITY[name][0] for name in names if name not in SCORES]
    if width >= WIDE or not headings:
        return []
    return [
        f"Not shown in {width} columns: {', '.join(headings)}, as published; use a wider terminal "
        "(COLUMNS=140)."
    ]


def _drawn(compared: PairComparison, reasons: dict[str, int], width: int) -> RichTable:
    pair = compared.pair
    scores = [name for name in _numbers(pair) if name in SCORES]
    # A narrow terminal does not show the numbers that are printed and never compared.
    others = [name for name in _numbers(pair) if name not in SCORES and width >= WIDE]
    drawn = RichTable(
        title=escape(f"{pair.dataset}: {pair.teacher} → {pair.student}"),
        box=box.SIMPLE_HEAD,
        title_justify="left",
    )
    drawn.add_column("method", min_width=22)
    for heading in ("ours, %", "n", "paper, %", "differ by"):
        drawn.add_column(heading, justify="right", no_wrap=True)
    drawn.add_column("verdict", min_width=8)
    for name in others:
        drawn.add_column(COSTS_AND_QUALITY[name][0], justify="right", no_wrap=True)
    ours = ", ".join(_percent(score) for score in compared.teachers) or "–"
    drawn.add_row("teacher", ours, "", _percent(pair.teacher_score))
    for result in pair.results:
        name = label(pair, result)
        also = [_other(result, metric) for metric in others]
        rows = [row for row in compared.rows if row.result is result]
        for row in rows:
            metric = f", {row.metric.replace('_', ' ')}" if len(scores) > 1 else ""
            drawn.add_row(escape(name + metric), *_cells(row, reasons), *also)
            also = []
        if not rows:
            drawn.add_row(escape(name), "", "", "", "", "", *also)
    return drawn


def _cells(row: ScoreComparison, reasons: dict[str, int]) -> list[str]:
    spread = "" if row.interval is None else row.interval.plus_minus
    style = STYLES.get(row.verdict, "yellow")
    note = escape(f" [{reasons[row.reason]}]") if row.reason else ""
    return [
        _percent(row.mean) + spread,
        f"{row.n}/{row.runs}" if row.runs else "",
        _percent(row.published) + ("" if row.result.verified else " ?"),
        "" if row.difference is None else f"{100 * row.difference:+.2f}",
        f"[{style}]{row.verdict}[/{style}]{note}",
    ]


def _other(result: Result, metric: str) -> str:
    _, form = COSTS_AND_QUALITY[metric]
    return form.format(result.numbers[metric]) if metric in result.numbers else ""


def _notes(
    paper: Paper, table: PublishedTable, compared: list[PairComparison], reasons: dict[str, int]
) -> list[str]:
    verdicts = {row.verdict for pair in compared for row in pair.rows}
    same = table.selection in ("best-on-test", "agreement")
    seeds = "one run" if table.seeds == 1 else f"the mean of {table.seeds} runs"
    unverified = any(not row.result.verified for pair in compared for row in pair.rows)
    return [
        f"{paper.paper}. {table.caption}".rstrip(),
        *table.notes,
        f"Published: {SELECTIONS[table.selection]}, {seeds}; ours: "
        f"{'selected alike' if same else 'last step'}, mean ± half-width of the 95 % t-interval "
        "(from 20 seeds on the ends of a BCa bootstrap's), n finished of all runs.",
        *_schedules(table),
        *(["?: not checked against the paper."] if unverified else []),
        *([] if table.budget else ["No budget here follows this paper's schedule."]),
        *(f"{verdict}: {LEGEND[verdict]}." for verdict in LEGEND if verdict in verdicts),
        *(f"[{number}] {reason}." for reason, number in reasons.items()),
    ]


def _schedules(table: PublishedTable) -> list[str]:
    """The papers' schedules, a line for every method and length of training."""
    lines = {
        f"Schedule of {result.method}: {schedule}."
        for pair, result in table.results()
        if (schedule := protocol(table, pair, result).schedule)
    }
    return sorted(lines)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}"
