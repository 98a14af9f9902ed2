"""``dfkd report``: tables, plots, pictures and every run of the records, in one HTML file.

The file needs no network and no other file. Tables and plots are part of it; a single run is kept
as data, which the page's script draws when asked.
"""

from __future__ import annotations

import base64
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from rich.console import Console

from benchmark.analysis.comparison.robustness import planned_draws
from benchmark.analysis.comparison.series import AddedDefaults, no_added_defaults
from benchmark.analysis.leaderboard.appendix import subtables
from benchmark.analysis.leaderboard.captions import SMALL_SAMPLES, caption
from benchmark.analysis.leaderboard.cells import Grid as RankedGrid
from benchmark.analysis.leaderboard.cells import headline_grid, variants_grid
from benchmark.analysis.leaderboard.legend import HEADER, OTHERS, VARIANTS
from benchmark.analysis.leaderboard.overall import overall_cells, overalls
from benchmark.analysis.leaderboard.publish import scanned
from benchmark.analysis.leaderboard.quotes import published
from benchmark.analysis.leaderboard.rows import Row
from benchmark.analysis.leaderboard.tables import DATA_FREE, Table, tables
from benchmark.analysis.report.figures import Plot, cost_plot, overall_profiles, robustness_plots
from benchmark.analysis.report.runs import runs_json
from benchmark.analysis.text import WORD_COLUMNS, plain
from benchmark.machine.cache import cache_dir, picture_path, sheet_path
from benchmark.records.files import write_atomic
from benchmark.records.record import Record, one_a_run
from benchmark.records.spec import PlannedEntry
from benchmark.records.store import Scan, collector_paused

PICTURE_BYTES = 16_000_000
"""Most bytes of pictures in a page."""


PathOf = Callable[[Path, str], Path]
"""Gives the path of a run's picture of some kind, from the cache folder and the run id."""


class Cell(NamedTuple):
    """Text of a table's cell, and the number of the row whose runs it links to, if any."""

    text: str
    row: int | None = None


@dataclass(frozen=True)
class Grid:
    """A table of the page; ``access`` is the access class of each row, empty where it has none."""

    title: str
    names: Sequence[str]
    body: list[list[Cell]]
    access: list[str]
    caption: str = ""

    @property
    def left(self) -> frozenset[str]:
        """Columns that hold words."""
        return WORD_COLUMNS


class Picture(NamedTuple):
    """A PNG as a data URI, and its caption."""

    uri: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A heading and its caption, tables, plots and pictures."""

    anchor: str
    title: str
    caption: str
    grids: list[Grid] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    sources: str = ""


@collector_paused()
def write(
    results: Path, output: Path, console: Console, errors: Console, added_defaults: AddedDefaults
) -> int:
    """Write the report; 0, or 1 when unreadable records were left out.

    Raises:
        UserError: when there is no results folder, or the file cannot be written.
    """
    scan = scanned(results, errors)
    page = render(scan, results, cache_dir(), added_defaults).encode()
    write_atomic(output, page)
    size = f"{len(page) / 1e6:.1f} MB"
    console.print(f"{output}: {len(scan.records)} records, {size}", highlight=False, soft_wrap=True)
    return int(bool(scan.unreadable))


def render(
    scan: Scan, results: Path, cache: Path, added_defaults: AddedDefaults = no_added_defaults
) -> str:
    """The page.

    Args:
        scan: the records and plans.
        results: folder of the records, for the commands that run them again.
        cache: cache folder, which may hold pictures of runs.
        added_defaults: see `benchmark.analysis.comparison.series.select`.
    """
    found = tables(scan)
    numbers = {id(row): i for i, row in enumerate(row for table in found for row in table.rows)}
    rows = {r.run_id: numbers[id(row)] for t in found for row in t.rows for r in row.records}
    unique = {record.run_id: record for record in one_a_run(scan.records)}
    anchors = (f"section-{i}" for i in itertools.count())
    sections = list(_overall_sections(found, anchors))
    budget = PICTURE_BYTES
    for table in found:
        pictures = _pictures(table, cache, budget)
        budget -= sum(len(picture.uri) for picture in pictures)
        sections.append(_table_section(table, numbers, pictures, next(anchors)))
    sections += _robustness_sections(list(unique.values()), scan, anchors, added_defaults)
    environment = Environment(
        loader=PackageLoader("benchmark.analysis.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plain"] = plain
    return environment.get_template("report.html").render(
        legend=[plain(" ".join(entry.split())) for entry in HEADER.split("\n- ")[1:]],
        sections=sections,
        count=len(unique),
        newest=max((record.created for record in unique.values()), default="")[:10],
        access_classes=sorted({r.method.access for r in unique.values()}, key=_data_free_first),
        runs=Markup(runs_json(list(unique.values()), rows, results)),
        labels=[f"{row.label}, {table.task}" for table in found for row in table.rows],
    )


def _data_free_first(access: str) -> tuple[bool, str]:
    return (access != DATA_FREE, access)


def _overall_sections(found: Sequence[Table], anchors: Iterator[str]) -> Iterable[Section]:
    for overall in overalls(found):
        section = Section(next(anchors), overall.title, overall.caption())
        for own in overall.classes:
            names, body, settings = overall_cells(own)
            unlinked = [[Cell(text) for text in row] for row in body]
            text = own.caption() + (f" Settings: {settings}." if settings else "")
            section.grids.append(
                Grid(own.access, names, unlinked, [own.access] * len(unlinked), text)
            )
        profiles = overall_profiles(overall)
        section.plots.extend([profiles] if profiles else [])
        yield section


def _table_section(
    table: Table, numbers: dict[int, int], pictures: list[Picture], anchor: str
) -> Section:
    headline, variants = headline_grid(table), variants_grid(table)
    titled = (
        (DATA_FREE, headline.where(lambda row: row.access == DATA_FREE)),
        (plain(OTHERS), headline.where(lambda row: row.access != DATA_FREE)),
        (plain(VARIANTS), variants),
    )
    grids = [_linked(title, grid, numbers) for title, grid in titled if grid.rows]
    for below in subtables(table):
        unlinked = [[Cell(text) for text in row] for row in below.body]
        grids.append(Grid("", below.headings, unlinked, [""] * len(unlinked), below.caption))
    plot = cost_plot(table)
    title = f"{table.task}, budget {table.budget.title}"
    text, plots = f"{caption(table)} {SMALL_SAMPLES}", [plot] if plot else []
    return Section(anchor, title, text, grids, plots, pictures, published(table)[1])


def _linked(title: str, grid: RankedGrid, numbers: dict[int, int]) -> Grid:
    """The table with every method's cell linked to the row's runs."""
    method = grid.names.index("method")
    body = [
        [Cell(text, numbers[id(row)] if i == method else None) for i, text in enumerate(line)]
        for row, line in zip(grid.rows, grid.body, strict=True)
    ]
    return Grid(title, grid.names, body, [row.access for row in grid.rows])


def _pictures(table: Table, cache: Path, budget: int) -> list[Picture]:
    """One picture of each kind for every method that has one in the cache."""
    pictures = []
    for row in table.headline:
        for kind in (picture_path, sheet_path):
            path = _first(row, kind, cache)
            if path is None or 4 * path.stat().st_size // 3 > budget:
                continue
            uri = "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
            budget -= len(uri)
            pictures.append(Picture(uri, f"{row.label}, run {path.stem.partition('-')[0]}"))
    return pictures


def _first(row: Row, kind: PathOf, cache: Path) -> Path | None:
    """Path of the picture of the lowest seed that has one."""
    for record in sorted(row.records, key=lambda record: record.spec.seed):
        path = kind(cache, record.run_id)
        if path.is_file():
            return path
    return None


def _robustness_sections(
    records: Sequence[Record],
    scan: Scan,
    anchors: Iterator[str],
    added_defaults: AddedDefaults,
) -> Iterable[Section]:
    places: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
    for record in records:
        spec = record.spec
        places[spec.task, spec.budget.name, record.teacher.checksum].append(record)
    for (task, budget, teacher), own in sorted(places.items()):
        planned = planned_draws(scan, partial(_is_of, task, budget, teacher))
        plots = list(robustness_plots(own, planned, added_defaults, scan.versions))
        if plots:
            title = f"Robustness: {task}, budget {budget}"
            caption = f"Teacher {teacher}. `dfkd compare` says which differences the seeds support."
            yield Section(next(anchors), title, caption, plots=plots)


def _is_of(task: str, budget: str, teacher: str, entry: PlannedEntry) -> bool:
    return (entry.task, entry.budget.name, entry.teacher) == (task, budget, teacher)
