"""The plots of the report as SVG: text stays text, and black becomes the page's text colour."""

from __future__ import annotations

import io
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmark.analysis.comparison.plots import (
    INTERVALS,
    LEGEND_COLUMNS,
    CostPoint,
    Size,
    arms,
    comparison_figure,
    cost_figure,
    profiles_figure,
)
from benchmark.analysis.comparison.robustness import robustness_scores
from benchmark.analysis.comparison.series import AddedDefaults, Series, no_added_defaults, select
from benchmark.analysis.frame import METRIC_NAMES, Run, runs_of
from benchmark.analysis.leaderboard.overall import Overall
from benchmark.analysis.leaderboard.tables import DATA_FREE, Table
from benchmark.errors import UserError
from benchmark.records.canonical import canonical
from benchmark.records.record import Record
from methods.settings.versions import Versions

if TYPE_CHECKING:
    from matplotlib.backends.backend_svg import RendererSVG
    from matplotlib.figure import Figure

MOST_LINES = 8
"""Most methods in one plot; more could not be told apart."""
MOST_SWEEPS = 4
"""Most swept settings that are shown for a task and budget."""
POINTS = 72
"""Points per inch."""
MARGINS = (45.0, 35.0, 5.0, 5.0)
"""Rough space for labels left of, below, right of and above the axes, in points."""
GAP = 4.0
"""Gap between the parts of a figure, in points."""
INK = re.compile(r"(?<=: )#000000")


class Plot(NamedTuple):
    """A drawing with its caption."""

    svg: str
    caption: str


def svg(figure: Figure, name: str) -> str:
    """An element for a page.

    Args:
        figure: the figure.
        name: a name that no other figure of the page has; the ids in the SVG are made of it.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import RendererSVG

    figure.set_layout_engine("none")
    figure.set_dpi(POINTS)
    for patch in (figure.patch, *(axes.patch for axes in figure.axes)):
        patch.set_visible(False)
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        # The same renderer measures and draws, so that every text is measured only once.
        size = figure.bbox.size
        renderer: Any = RendererSVG(*size, buffer, metadata={"Date": None})  # type: ignore[no-untyped-call]
        _make_room(figure, renderer)
        figure.draw(renderer)
        renderer.finalize()
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.S)
    # Ids of groups are the same in every figure, and nothing refers to them.
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(r' width="[^"]*pt"| height="[^"]*pt"', "", text, count=2)
    return INK.sub("currentColor", text.replace("<svg ", '<svg role="img" ', 1))


def _make_room(figure: Figure, renderer: RendererSVG) -> None:
    """Let a figure's only axes fill the space that their labels and the legend below leave.

    A constrained layout does that too, but measures everything twice.
    """
    from matplotlib.ticker import FixedLocator
    from matplotlib.transforms import Bbox

    (axes,) = figure.axes
    width, height = figure.bbox.size
    below = sum(own.get_window_extent(renderer).height + 2 * GAP for own in figure.legends)

    def fill(left: float, bottom: float, right: float, top: float) -> None:
        bottom += below
        axes.set_position(
            (left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + top) / height)
        )

    fill(*MARGINS)
    # At the final height there may be other ticks, with longer labels: these stay.
    axes.yaxis.set_major_locator(FixedLocator(list(axes.get_yticks())))
    inner = axes.get_window_extent(renderer)
    boxes = [axis.get_tightbbox(renderer) for axis in (axes.xaxis, axes.yaxis)]
    outer = Bbox.union([inner, *(box for box in boxes if box)])
    fill(
        inner.x0 - outer.x0 + GAP,
        inner.y0 - outer.y0 + GAP,
        outer.x1 - inner.x1 + GAP,
        outer.y1 - inner.y1 + GAP,
    )


def size_with_legend(lines: int) -> Size:
    """Size in inches; narrow, so that the text can be read when a phone shows it at full width."""
    return (5.2, 2.8 + 0.17 * lines)


def cost_plot(table: Table) -> Plot | None:
    """Score against work, one point per row of the headline that has both."""
    shown = [row for row in table.headline if row.work and row.score is not None]
    points = [
        CostPoint(
            row.method,
            row.title,
            row.work,
            row.score,
            arms(list(row.by_seed.values())),
            row.access == DATA_FREE,
        )
        for row in shown
        if row.work and row.score is not None
    ]
    if len(points) < 2:
        return None
    counts = [len(row.by_seed) for row in shown]
    lines = -(-len({point.method for point in points}) // LEGEND_COLUMNS)
    figure = cost_figure(points, METRIC_NAMES[table.metric], size_with_legend(lines))
    return Plot(
        svg(figure, f"cost {table.task} {table.budget.title} {table.teacher}"),
        "Score, with failures at chance, against the work of a method's own phases. Means with "
        f"{INTERVALS}, n = {_span(counts)} seeds per point. The dashed line is the Pareto front of "
        "the data-free rows; hollow points are rows that saw more than the teacher.",
    )


def overall_profiles(overall: Overall) -> Plot | None:
    """Performance profiles of the ranked data-free methods of a budget."""
    free = next((own for own in overall.classes if own.access == DATA_FREE), None)
    ranked = [standing for standing in free.standings if standing.rank] if free else []
    scores = {
        standing.method: (standing.title, list(standing.scores.values()))
        for standing in ranked[:MOST_LINES]
    }
    if not scores:
        return None
    left = f" The best {MOST_LINES} of {len(ranked)} are shown." * (len(ranked) > MOST_LINES)
    return Plot(
        svg(
            profiles_figure(scores, "runs", size_with_legend(len(scores))),
            f"profiles {overall.budget} {overall.settings}",
        ),
        "Performance profiles of the data-free methods: the share of runs above each normalised "
        "score, mean over tasks. Failures count as 0, bands are 95 % bootstrap bands over the "
        f"seeds of each task, and n counts runs.{left}",
    )


def robustness_plots(
    records: Sequence[Record],
    planned: Iterable[tuple[str, str, str]] = (),
    added_defaults: AddedDefaults = no_added_defaults,
    versions: Mapping[str, Versions] | None = None,
) -> Iterator[Plot]:
    """Plots of scores over every swept setting, all else being equal, and over random draws.

    Args:
        records: records of one task, budget preset and teacher.
        planned: planned draws, as `robustness_scores` takes them.
        added_defaults, versions: see `benchmark.analysis.comparison.series.select`.
    """
    spec, titles = records[0].spec, {r.spec.method: r.method.title for r in records}
    name = f"{spec.task} {spec.budget.name} {records[0].teacher.checksum}"
    shown, runs = 0, runs_of(records)
    for over, methods in sorted(_candidates(runs).items()):
        try:
            place, found = select(
                runs, methods, spec.task, spec.budget.name, over, added_defaults, versions
            )
        except UserError:
            continue  # it was varied at another budget's numbers only
        swept = [series for series in found if len(series.points) > 1]
        swept.sort(key=lambda series: (-len(series.points), series.method))
        if swept and shown < MOST_SWEEPS:
            shown += 1
            lines = swept[:MOST_LINES]
            left = f" {len(lines)} of {len(swept)} methods are shown." * (len(lines) < len(swept))
            yield Plot(
                svg(
                    comparison_figure(place, _values(lines), lines, size_with_legend(len(lines))),
                    f"{over} {name}",
                ),
                f"Over {over}, all else being equal: means with {INTERVALS}, one faint point "
                f"per seed, n seeds per value.{left}",
            )
    best = sorted(robustness_scores(records, planned).items(), key=lambda item: -fmean(item[1]))
    if best:
        scores = {method: (titles[method], [draws]) for method, draws in best[:MOST_LINES]}
        yield Plot(
            svg(
                profiles_figure(scores, "draws", size_with_legend(len(scores))),
                f"draws {name}",
            ),
            "Performance profiles over random draws from the tuning ranges: the area "
            "under a curve is the robustness score. Bands are 95 % bands, and n counts draws.",
        )


def _candidates(runs: Iterable[Run]) -> dict[str, list[str]]:
    """Settings with more than one value, each with the methods that have several."""
    values: dict[tuple[str, str], set[str]] = defaultdict(set)
    settings = {(run.method, run.budget_numbers, run.params) for run in runs if run.counts}
    by_method: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for method, numbers, params in settings:
        by_method[method].append({**json.loads(numbers), **json.loads(params)})
    for method, known in by_method.items():
        # A record that lacks a parameter which others have was run at its default.
        for name in set().union(*known):
            values[name, method] = {canonical(own.get(name)) for own in known}
    found: dict[str, list[str]] = defaultdict(list)
    for (name, method), different in sorted(values.items()):
        if len(different) > 1:
            found[name].append(method)
    return found


def _values(compared: Sequence[Series]) -> list[Any]:
    values = list(dict.fromkeys(value for series in compared for value in series.points))
    return sorted(values) if all(isinstance(v, int | float) for v in values) else values


def _span(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low}–{high}"
