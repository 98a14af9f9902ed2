"""Plots for people: colour-blind safe, a method's colour the same everywhere, intervals drawn."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

import numpy as np

from benchmark.analysis.comparison.compare import Comparison
from benchmark.analysis.comparison.series import Place, Series
from benchmark.analysis.statistics.intervals import BCA_FROM, mean_interval
from benchmark.analysis.statistics.profiles import performance_profile
from benchmark.analysis.statistics.ranks import Agreement
from methods.settings.params import format_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito, "Color Universal Design", 2008, without yellow and black.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#5D5D5D")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
SALT = 77
"""Chosen so that no two of this package's methods look alike; other methods may."""

INTERVALS = f"95 % intervals (Student's t, BCa bootstrap from {BCA_FROM} seeds on)"
"""The intervals of means, for captions."""

Size = tuple[float, float]
"""Width and height in inches."""
PAGE: Size = (7.0, 4.0)
LEGEND_COLUMNS = 2
"""Columns in the legend of the cost plot, which names every method."""


def style(method: str) -> dict[str, Any]:
    """Colour and marker of a method, made of its name alone, so that every plot agrees."""
    number = crc32(f"{method} {SALT}".encode())
    return {
        "color": COLOURS[number % len(COLOURS)],
        "marker": MARKERS[number // len(COLOURS) % len(MARKERS)],
    }


def titled_comparison(comparison: Comparison) -> Figure:
    """Mean scores with intervals, and every seed as a faint point."""
    place = comparison.place
    figure = comparison_figure(place, comparison.values, comparison.series)
    figure.axes[0].set_title(f"{place.task}, budget {place.budget}: means with 95 % intervals")
    return figure


def comparison_figure(
    place: Place, values: Sequence[Any], compared: Sequence[Series], size: Size = PAGE
) -> Figure:
    """`titled_comparison` without a title."""
    figure, axes = _figure(size)
    positions = _positions(place, values, axes)
    shift = 0.02 * (max(positions) - min(positions) or 1)
    count = len(compared)
    for order, series in enumerate(compared):
        look = style(series.method)
        own_values = [value for value in values if value in series.points]
        scores = [list(series.points[value].values()) for value in own_values]
        x = [positions[values.index(v)] + (order - (count - 1) / 2) * shift for v in own_values]
        axes.plot(
            [at for at, own in zip(x, scores, strict=True) for _ in own],
            [100 * score for own in scores for score in own],
            ".",
            color=look["color"],
            alpha=0.3,
        )
        axes.errorbar(
            x,
            [100 * float(np.mean(own)) for own in scores],
            yerr=[[100 * side for side in sides] for sides in zip(*map(arms, scores), strict=True)],
            label=_literal(f"{series.label}, n = {_counts(scores)}"),
            capsize=3,
            linewidth=1.2,
            **look,
        )
    axes.set_ylabel(f"{place.metric}, %")
    figure.legend(loc="outside lower center", frameon=False, fontsize="small")
    return figure


def titled_profiles(scores: Mapping[str, Sequence[float]], title: str) -> Figure:
    """Performance profiles of normalised scores, with pointwise 95 % bands."""
    figure = profiles_figure({name: (name, [draws]) for name, draws in scores.items()})
    figure.axes[0].set_title(title)
    return figure


def profiles_figure(
    scores: Mapping[str, tuple[str, Sequence[Sequence[float]]]],
    of: str = "random settings",
    size: Size = PAGE,
) -> Figure:
    """`titled_profiles` without a title.

    Args:
        scores: title and normalised scores by stratum, for every method.
        of: what a score belongs to, for the label of the axis.
        size: of the figure.
    """
    figure, axes = _figure(size)
    thresholds = np.linspace(0, 1, 101).tolist()
    for method, (title, own) in scores.items():
        profile = performance_profile(own, thresholds, np.random.default_rng(0))
        colour = style(method)["color"]
        label = _literal(f"{title}, n = {sum(map(len, own))}")
        axes.step(profile.thresholds, profile.share, color=colour, label=label)
        axes.fill_between(profile.thresholds, profile.low, profile.high, color=colour, alpha=0.15)
    axes.set_xlabel("score: 0 is chance, 1 the teacher")
    axes.set_ylabel(f"share of {of} above it")
    figure.legend(loc="outside lower center", frameon=False, fontsize="small")
    return figure


def arms(scores: Sequence[float]) -> tuple[float, float]:
    """How far the interval of the mean reaches below and above it; (0, 0) where there is none."""
    found = mean_interval(scores)
    return (
        (0.0, 0.0) if found is None else (found.estimate - found.low, found.high - found.estimate)
    )


class CostPoint(NamedTuple):
    """A row of a table: mean work in floating-point operations, mean score and its `arms`.

    Scores are fractions.
    """

    method: str
    title: str
    work: float
    score: float
    arms: tuple[float, float]
    data_free: bool


def cost_figure(points: Sequence[CostPoint], metric: str, size: Size = PAGE) -> Figure:
    """Score against cost, and the Pareto front of the data-free rows; others are hollow."""
    from matplotlib.ticker import LogLocator

    figure, axes = _figure(size)
    drawn = []
    for method in dict.fromkeys(point.method for point in points):
        own = [point for point in points if point.method == method]
        bars = axes.errorbar(
            [point.work for point in own],
            [100 * point.score for point in own],
            yerr=[[100 * point.arms[side] for point in own] for side in (0, 1)],
            label=_literal(own[0].title),
            linestyle="none",
            markerfacecolor=None if own[0].data_free else "none",
            **style(method),
        )
        drawn.append(bars)
    front = pareto_front([point for point in points if point.data_free])
    if front:
        x = [*(point.work for point in front), max(point.work for point in points)]
        y = [*(point.score for point in front), front[-1].score]
        y = [100 * score for score in y]
        axes.step(x, y, where="post", color="#5D5D5D", linestyle="--", linewidth=1, zorder=0)
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -1), min(high, 101))  # an interval may reach beyond what a score can be
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    for axis_formatter in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        axis_formatter("{x:g}")  # powers of ten would be set as formulas, which takes long
    axes.set_xlabel("floating-point operations a run, log scale")
    axes.set_ylabel(f"{metric}, %")
    # Markers alone: with their intervals a legend takes as long to draw as the points.
    figure.legend(
        [bars.lines[0] for bars in drawn],
        [str(bars.get_label()) for bars in drawn],
        loc="outside lower center",
        frameon=False,
        fontsize="small",
        ncols=LEGEND_COLUMNS,
    )
    return figure


def pareto_front(points: Sequence[CostPoint]) -> list[CostPoint]:
    """The points that no other point of at most their cost beats in score, the cheapest first."""
    front: list[CostPoint] = []
    for point in sorted(points, key=lambda p: (p.work, -p.score)):
        if not front or point.score > front[-1].score:
            front.append(point)
    return front


def critical_difference_figure(agreement: Agreement) -> Figure:
    """Demšar's diagram: methods at their mean ranks, joined where they were not told apart.

    Args:
        agreement: an agreement that has its ``nemenyi``.
    """
    from scikit_posthocs import critical_difference_diagram

    figure, axes = _figure((7.0, 1.0 + 0.3 * len(agreement.mean_ranks)))
    colours = {name: style(name)["color"] for name in agreement.mean_ranks}
    critical_difference_diagram(
        agreement.mean_ranks, agreement.nemenyi, ax=axes, color_palette=colours
    )
    for line in axes.lines:
        x, y = (np.asarray(values) for values in line.get_data())
        if len(set(y)) == 1:  # what joins methods, in the order of a set: another in every process
            line.set_data(np.sort(x), y)
    axes.set_title(f"Mean ranks over n = {agreement.claim.n} seeds (Nemenyi, 5 %)")
    return figure


def _positions(place: Place, values: Sequence[Any], axes: Axes) -> list[float]:
    """Where the values lie on the horizontal axis, which is labelled with them."""
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    positions = [float(i) for i in range(len(values))]
    if numeric and min(values) > 0:
        positions = [float(np.log10(value)) for value in values]
    axes.set_xticks(positions, [format_value(v) for v in values] if place.over else [""])
    axes.set_xlabel(place.over or "")
    return positions


def _literal(text: str) -> str:
    """Text in which matplotlib reads no dollar as the start of a formula."""
    return text.replace("$", r"\$")


def _counts(scores: Sequence[Sequence[float]]) -> str:
    counts = sorted({len(own) for own in scores})
    return "–".join(str(n) for n in dict.fromkeys((counts[0], counts[-1]))) if counts else "0"


def _figure(size: Size) -> tuple[Figure, Axes]:
    # Not pyplot: it keeps figures of the whole process, and may look for a screen.
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def rendered(figure: Figure, form: str = "svg") -> bytes:
    """The figure as a file of this format; equal numbers give equal bytes."""
    import matplotlib

    content = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "dfkd"}):
        date = {"Date": None} if form == "svg" else None
        figure.savefig(content, dpi=150, format=form, metadata=date)
    return content.getvalue()
