"""Writing every page of results, and checking that those that are there are current."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from benchmark.analysis import page_files
from benchmark.analysis.comparison.robustness_page import SweepContext, robustness_files
from benchmark.analysis.frame import Run, runs_of, to_frame
from benchmark.analysis.image_quality import quality_files
from benchmark.analysis.leaderboard.markdown import fill_blocks, markdown
from benchmark.analysis.leaderboard.publish import scanned
from benchmark.analysis.page_files import Files
from benchmark.analysis.pages.overview import Overview, fill_overview, places_of
from benchmark.analysis.pages.readme import fill_results
from benchmark.analysis.pages.results import results_page
from benchmark.published.papers import load_published
from benchmark.records.store import DEFAULT_RESULTS, Scan, collector_paused

NO_SWEEPS = """# Robustness

Made by `dfkd pages` from the records; do not edit it by hand.

Nothing can be said yet: fewer than two of {methods} have finished runs on `{task}`.
"""


@dataclass(frozen=True)
class Robustness:
    """What the page on robustness compares.

    Attributes:
        task: its task.
        methods: names of the methods.
        context: what is known of methods and suites.
    """

    task: str
    methods: Sequence[str]
    context: SweepContext


@collector_paused()
def publish(
    results: Path,
    check: bool,
    about: Robustness,
    more: Callable[[Scan, Files], Files],
    console: Console,
    errors: Console,
) -> int:
    """Write every page, or with ``check`` compare them; the exit code.

    The repository's own results make its pages; those of another folder lie in that folder.
    Unreadable records are named; the pages are made of the others, and the exit code is 1.

    Args:
        results: the folder of the records.
        check: whether to compare and not to write.
        about: what the page on robustness compares.
        more: given the records and the pages of results, those that the repository has besides.
        console: where what was done is said.
        errors: where what is wrong is said.

    Raises:
        UserError: when there is no such folder.
    """
    own = Path(results) == DEFAULT_RESULTS
    scan = scanned(results, errors)
    files = pages(scan, Path() if own else results, about)
    if own:
        files |= more(scan, files)
    if not check:
        for path in page_files.write(files):
            said = "written" if path in files else "removed"
            console.print(f"{said}: {path}", highlight=False, soft_wrap=True)
        console.print(f"{len(scan.records)} records", highlight=False)
        return int(bool(scan.unreadable))
    stale = page_files.stale(files)
    again = "dfkd pages" + ("" if own else f" --results {results}")
    for path in stale:
        errors.print(f"'{path}' does not agree with '{results}'; run: {again}", soft_wrap=True)
    if not stale and not scan.unreadable:
        console.print(f"every page agrees with '{results}'", highlight=False, soft_wrap=True)
    return int(bool(scan.unreadable or stale))


def pages(scan: Scan, root: Path, about: Robustness) -> Files:
    """Every page with its figures, by path.

    Args:
        scan: the records and the plans.
        root: the folder of ``leaderboard.md``, the README with marked parts and ``docs/``.
        about: what the page on robustness compares.
    """
    docs = root / "docs"
    files: Files = {
        root / "leaderboard.md": markdown(scan).encode(),
        docs / "results.md": results_page(scan, load_published()).encode(),
        **quality_files(to_frame(scan.records), docs / "image-quality.md"),
        **_robustness(scan, docs / "robustness.md", about),
    }
    readme = root / "README.md"
    if readme.is_file():
        text = fill_blocks(readme.read_text(encoding="utf-8"), scan)
        files[readme] = fill_overview(fill_results(text, scan), scan).encode()
        if overview := Overview.of(scan, places_of(text)).tables:
            files[docs / "scores.svg"] = Overview(overview).figure(load_published())
    return files


def _robustness(scan: Scan, output: Path, about: Robustness) -> Files:
    have = {run.method for run in runs_of(scan.records) if _is_comparable(run, about.task)}
    methods = [method for method in about.methods if method in have]
    if len(methods) < 2:
        named = ", ".join(about.methods)
        return {output: NO_SWEEPS.format(methods=named, task=about.task).encode()}
    return robustness_files(scan, methods, about.task, None, output, about.context)


def _is_comparable(run: Run, task: str) -> bool:
    return run.task == task and run.counts and not run.variant
