"""What ``dfkd reproduce`` does: run the suite behind a paper's table, print both side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from benchmark.analysis.frame import readable, to_frame
from benchmark.analysis.published import (
    SCORES,
    SELECTIONS,
    Pair,
    Paper,
    PublishedTable,
    Result,
    find_table,
    load_published,
    published_tables,
)
from benchmark.analysis.reproduction import (
    Comparison,
    PairComparison,
    available_budget,
    compare,
    our_metric,
)
from benchmark.errors import UserError
from benchmark.plan import load_suite, suite_names
from benchmark.records import Store
from methods.params import format_value, nearest

STYLES = {"agrees": "green", "differs": "bold red", "not run": "dim"}
UNITS = {
    "inception_score": "IS {:g}",
    "fid": "FID {:g}",
    "lpips": "LPIPS {:g}",
    "seconds": "{:,g} s",
    "gpu_hours": "{:g} GPU hours",
}
LEGEND = {
    "agrees": "the published number lies in the 95 % prediction interval of as many further runs "
    "of ours as are behind it",
    "differs": "it lies outside",
    "budgets differ": "these runs do not follow the paper's schedule: not comparable",
    "not comparable": "something else differs, as named",
    "insufficient seeds": "these runs cannot tell",
    "not run": "no such record at this budget",
}


@dataclass(frozen=True)
class Options:
    """The options of ``dfkd reproduce`` that decide what is run, and where."""

    budget: str | None
    task: str | None
    seeds: str | None
    data_dir: Path | None
    proxy_dir: Path | None
    jobs: str
    device: str


@dataclass(frozen=True)
class Reproduction:
    """A published table, what runs it, and where the records are."""

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
                f"no suite runs '{self.name}'; --no-run compares it with the records there are"
            )
        from benchmark import commands

        request = commands.Request(
            suite=suite,
            task=options.task,
            methods=(),
            settings=(),
            seeds=options.seeds,
            budget=options.budget,
            suite_name=suite,
            results=self.results,
            data_dir=options.data_dir,
            method_folders=(),
            jobs=options.jobs,
            threads=None,
            seeds_at_once=1,
            device=options.device,
            overwrite="never",
            proxy_dir=options.proxy_dir,
        )
        code = commands.run(request, console)
        self.show(options.budget or load_suite(suite).budget, console)
        return code

    def show(self, budget: str | None, console: Console) -> None:
        """Print the table beside the records, of ``budget`` or of the one that has most."""
        records = readable(Store(self.results).scan()) if self.results.is_dir() else []
        frame = to_frame(records)
        budget = budget or available_budget(self.table, frame)
        compared = compare(self.table, frame, budget)
        _print(self.paper, self.table, compared, budget, console)


def listing(console: Console) -> None:
    """Every published table, a line each."""
    drawn = RichTable(title="Published tables", box=box.SIMPLE_HEAD, title_justify="left")
    for column in ("name", "table", "suite", "rows", "what"):
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
            escape(table.caption or ", ".join(dict.fromkeys(p.dataset for p in table.pairs))),
        )
    console.print(drawn)
    console.print("Put one beside our records with: dfkd reproduce NAME --no-run", highlight=False)


def _suite(name: str, table: PublishedTable) -> str:
    return table.suite or (name if name in suite_names() else "")


def _print(
    paper: Paper,
    table: PublishedTable,
    compared: list[PairComparison],
    budget: str,
    console: Console,
) -> None:
    metrics = {row.metric for pair in compared for row in pair.rows}
    others = any(set(result.numbers) - set(SCORES) for _, result in table.results())
    drawn = RichTable(
        title=escape(f"{paper.short}, {table.title}, beside budget {budget}"),
        box=box.SIMPLE_HEAD,
        title_justify="left",
    )
    drawn.add_column("")
    for heading in ("ours, %", "n", "published, %", "difference"):
        drawn.add_column(heading, justify="right", no_wrap=True)
    drawn.add_column("verdict")
    if others:
        drawn.add_column("also published")
    for pair in compared:
        _add_pair(drawn, pair, len(metrics) > 1)
    console.print(drawn)
    for line in _notes(paper, table, compared):
        console.print(f"[dim]{escape(line)}[/dim]", highlight=False)


def _add_pair(drawn: RichTable, compared: PairComparison, name_metric: bool) -> None:
    pair = compared.pair
    title = f"{pair.dataset}: {pair.teacher} → {pair.student}"
    drawn.add_row(f"[bold]{escape(title)}[/bold]")
    ours = ", ".join(f"{100 * score:.2f}" for score in compared.teachers) or "–"
    drawn.add_row("  teacher", ours, "", _percent(pair.teacher_score))
    for result in pair.results:
        also = ", ".join(UNITS[n].format(v) for n, v in result.numbers.items() if n in UNITS)
        name = f"  {_label(pair, result)}"
        rows = [row for row in compared.rows if row.result is result]
        for row in rows:
            metric = f", {row.metric.replace('_', ' ')}" if name_metric else ""
            drawn.add_row(escape(name + metric), *_cells(row), escape(also))
            also = ""
        if not rows:
            drawn.add_row(escape(name), "–", "", "–", "", "", escape(also))
    drawn.add_section()


def _cells(row: Comparison) -> list[str]:
    spread = "" if row.interval is None else f" ± {100 * row.interval:.2f}"
    mark = "" if row.result.verified else " ?"
    style = STYLES.get(row.verdict, "yellow")
    reason = f" ({row.reason})" if row.reason else ""
    return [
        _percent(row.mean) + spread,
        f"{row.n}/{row.planned}" if row.planned else "",
        _percent(row.published) + mark,
        "" if row.difference is None else f"{100 * row.difference:+.2f}",
        f"[{style}]{row.verdict}[/{style}]{escape(reason)}",
    ]


def _label(pair: Pair, result: Result) -> str:
    """The method and what tells its results apart; settings they share are left out."""
    alike = [other for other in pair.results if other.method == result.method]
    varied = {
        name: format_value(value)
        for name, value in result.params.items()
        if any(other.params.get(name) != value for other in alike)
    }
    if result.generator_epochs is not None:
        varied["generator epochs"] = str(result.generator_epochs)
    settings = result.label or ", ".join(f"{name}={value}" for name, value in varied.items())
    return f"{result.method} ({settings})" if settings else result.method


def _notes(paper: Paper, table: PublishedTable, compared: list[PairComparison]) -> list[str]:
    verdicts = {row.verdict for pair in compared for row in pair.rows}
    selection = SELECTIONS[table.selection]
    ours = "the last step" if our_metric("", table.selection) == "" else "the same of ours"
    seeds = "one run" if table.seeds == 1 else f"the mean of {table.seeds} runs"
    unverified = any(not result.verified for _, result in table.results())
    return [
        f"{paper.paper}. {table.caption}".rstrip(),
        f"Published: {selection}, each number {seeds}; compared with {ours}. "
        "± is the 95 % t-interval of our mean, n the finished of our runs.",
        *(["? was not checked against the paper."] if unverified else []),
        *table.notes,
        *(f"{verdict}: {LEGEND[verdict]}." for verdict in LEGEND if verdict in verdicts),
    ]


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}"
