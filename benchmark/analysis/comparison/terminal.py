"""``dfkd compare``: the comparison on the terminal, and its plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmark.analysis.comparison.compare import Comparison, compare_series
from benchmark.analysis.comparison.markdown import comparison_markdown
from benchmark.analysis.comparison.plots import (
    critical_difference_figure,
    rendered,
    titled_comparison,
)
from benchmark.analysis.comparison.series import AddedDefaults, select
from benchmark.analysis.frame import read_results, runs_of
from benchmark.errors import UserError
from benchmark.records.files import write_atomic

PLOTS = (".svg", ".png", ".pdf")


def compare(
    methods: Sequence[str],
    task: str,
    budget: str | None,
    over: str | None,
    results: Path,
    plot: Path | None,
    console: Console,
    added_defaults: AddedDefaults,
) -> None:
    """Print which method is better and which is steadier, and save the plot.

    Raises:
        UserError: for fewer than two methods, unknown names, or a plot of an unknown kind.
    """
    at_least_two(methods)
    name = "-".join([task, *([over] if over else []), *methods])
    path = plot or Path("runs") / "compare" / f"{name}.svg"
    if path.suffix not in PLOTS:
        raise UserError(f"--plot '{path}' must end in {', '.join(PLOTS[:-1])} or {PLOTS[-1]}")
    scan = read_results(results)
    chosen = select(
        runs_of(scan.records), methods, task, budget, over, added_defaults, scan.versions
    )
    found = compare_series(*chosen)
    console.print(comparison_markdown(found), markup=False, highlight=False, soft_wrap=True)
    for drawn in draw(found, path):
        console.print(f"plot: {drawn}", markup=False, highlight=False, soft_wrap=True)


def draw(found: Comparison, path: Path) -> list[Path]:
    """Save the plots of a comparison; the paths of what was written."""
    drawn = plots(found, path)
    for name, content in drawn.items():
        write_atomic(name, content)
    if (ranks := _ranks_path(path)) not in drawn:
        ranks.unlink(missing_ok=True)  # an earlier call drew it from other records
    return list(drawn)


def plots(found: Comparison, path: Path) -> dict[Path, bytes]:
    """The plot, and the critical-difference diagram where blocks give it power, by path."""
    form = path.suffix.removeprefix(".")
    drawn = {path: rendered(titled_comparison(found), form)}
    if found.agreement is not None and found.agreement.nemenyi is not None:
        drawn[_ranks_path(path)] = rendered(critical_difference_figure(found.agreement), form)
    return drawn


def _ranks_path(path: Path) -> Path:
    return path.with_stem(f"{path.stem}-ranks")


def at_least_two(methods: Sequence[str]) -> None:
    """Raises UserError for fewer than two methods, or one named twice."""
    if len(set(methods)) < 2 or len(set(methods)) < len(methods):
        raise UserError("name two or more different methods to compare, like: rdskd dafl")
