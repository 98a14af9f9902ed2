"""Commands on the records: tables, a report, comparisons.

None of them imports torch, unless a setting was swept that records leave out at its default. The
analysis never imports the methods: what it needs to know of them is handed to it here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.arguments.options import Results
from benchmark.cli.program import answers_in_one_line, app, console, errors

PANEL = "Judge"


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Run numpy on one thread and without garbage collection, while modules are imported too.

    The matrix products behind tables are small. Several threads only wait for one another, on a
    busy machine for longer than the sums take. numpy reads the number of threads when it is
    imported.
    """
    from benchmark.records.store import collector_paused

    if "numpy" not in sys.modules:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with collector_paused():
        yield


@app.command(rich_help_panel=PANEL)
@answers_in_one_line
def leaderboard(
    results: Results = Path("results"),
    output: Annotated[
        Path | None, typer.Option(help="The file to write (default: leaderboard.md, .tex or .csv).")
    ] = None,
    form: Annotated[
        str, typer.Option("--format", help="The format: markdown, latex (booktabs) or csv.")
    ] = "markdown",
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit code 1 if a file is out of date.")
    ] = False,
) -> None:
    """Write leaderboard.md, and the marked tables of the README, from the records."""
    with _undisturbed():
        from benchmark.analysis.leaderboard import publish

        code = publish.leaderboard(results, output, form, check, console, errors)
    raise typer.Exit(code)


@app.command(rich_help_panel=PANEL)
@answers_in_one_line
def pages(
    results: Results = Path("results"),
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit code 1 if a page is out of date.")
    ] = False,
) -> None:
    """Write every page of results from the records: tables, findings, robustness, image quality.

    The page of every method and task is written too, from its file. Results of another folder have
    their pages in that folder, without those.
    """
    with _undisturbed():
        from benchmark.analysis.pages.publish import publish
        from benchmark.cli.pages import about_robustness, pages_of_methods_and_tasks

        code = publish(
            results, check, about_robustness(), pages_of_methods_and_tasks, console, errors
        )
    raise typer.Exit(code)


@app.command(rich_help_panel=PANEL)
@answers_in_one_line
def docs(
    output: Annotated[Path, typer.Option(help="The folder of the site.")] = Path("site"),
) -> None:
    """Build a static site of every page: README, leaderboard, questions, methods. In a clone.

    `dfkd pages` writes the pages themselves. The site opens from the disk, without a network.
    """
    from benchmark.cli.pages import site

    site(output, console)


@app.command(rich_help_panel=PANEL)
@answers_in_one_line
def report(
    results: Results = Path("results"),
    output: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("report.html"),
) -> None:
    """Write one self-contained HTML page with sortable tables, plots, images and every run."""
    with _undisturbed():
        from benchmark.analysis.report import page as reporting
        from benchmark.cli.comparisons import added_defaults

        code = reporting.write(results, output, console, errors, added_defaults)
    raise typer.Exit(code)


@app.command(rich_help_panel=PANEL)
@answers_in_one_line
def watch(
    results: Results = Path("results"),
    suite: Annotated[str | None, typer.Option(help="Only the runs of this suite.")] = None,
    every: Annotated[
        float, typer.Option("--every", min=0.2, help="Seconds between two readings of the folder.")
    ] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print the tables once and end.")] = (False),
) -> None:
    """Show the ranked tables while a grid runs, in any terminal; Ctrl-C ends it."""
    from benchmark.cli import watch as watching

    watching.watch(results, suite, every, once, console)


@app.command(rich_help_panel=PANEL)
@answers_in_one_line
def compare(
    methods: Annotated[list[str], typer.Argument(help="Two or more methods.")],
    task: Annotated[str, typer.Option(help="The task to compare them on.")],
    over: Annotated[
        str | None,
        typer.Option(
            help="A parameter or a number of the budget that was swept; compare at each of "
            "its values."
        ),
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="The budget (default: that at which the most methods ran).")
    ] = None,
    results: Results = Path("results"),
    plot: Annotated[
        Path | None,
        typer.Option(
            help="The file for the plot, .svg, .png or .pdf (default: one in runs/compare)."
        ),
    ] = None,
) -> None:
    """Say which method is better, which is more robust and how sure that is; save the plot."""
    with _undisturbed():
        from benchmark.analysis.comparison import terminal
        from benchmark.cli.comparisons import added_defaults

        terminal.compare(methods, task, budget, over, results, plot, console, added_defaults)


@app.command(rich_help_panel=PANEL)
@answers_in_one_line
def robustness(
    methods: Annotated[list[str], typer.Argument(help="Two or more methods.")],
    task: Annotated[str, typer.Option(help="The task to compare them on.")],
    budget: Annotated[
        str | None, typer.Option(help="The budget (default: that at which the most methods ran).")
    ] = None,
    results: Results = Path("results"),
    output: Annotated[
        Path, typer.Option(help="The page to write; its plots go into a folder of the same name.")
    ] = Path("docs/robustness.md"),
) -> None:
    """Write the page on robustness: sweeps, random settings, stability of the losses."""
    with _undisturbed():
        from benchmark.analysis.comparison import robustness_page
        from benchmark.cli.comparisons import sweep_context

        robustness_page.robustness(
            methods, task, budget, results, output, console, sweep_context(task)
        )
