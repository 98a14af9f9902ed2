"""Plots for people: colour-blind safe, a method's colour the same everywhere, intervals drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from benchmark.analysis.compare import Comparison
from benchmark.analysis.statistics.intervals import t_interval
from benchmark.analysis.statistics.profiles import performance_profile
from benchmark.analysis.statistics.ranks import Agreement
from methods.params import format_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito, "Color Universal Design", 2008, without yellow and black.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#5D5D5D")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
SALT = 1040
"""With it no two of this package's methods look alike; another's method may look like one."""


def style(method: str) -> dict[str, Any]:
    """Colour and marker of a method, made of its name alone, so that every plot agrees."""
    number = crc32(f"{method} {SALT}".encode())
    return {
        "color": COLOURS[number % len(COLOURS)],
        "marker": MARKERS[number // len(COLOURS) % len(MARKERS)],
    }


def draw_comparison(comparison: Comparison, path: Path) -> None:
    """Mean scores with t-intervals, and every seed as a faint point."""
    figure, axes = _figure()
    positions = _positions(comparison, axes)
    shift = 0.02 * (max(positions) - min(positions) or 1)
    count = len(comparison.series)
    for order, series in enumerate(comparison.series):
        look = style(series.method)
        values = [value for value in comparison.values if value in series.points]
        scores = [list(series.points[value].values()) for value in values]
        x = [
            positions[comparison.values.index(value)] + (order - (count - 1) / 2) * shift
            for value in values
        ]
        for place, own in zip(x, scores, strict=True):
            axes.plot(
                [place] * len(own), [100 * s for s in own], ".", color=look["color"], alpha=0.3
            )
        axes.errorbar(
            x,
            [100 * float(np.mean(own)) for own in scores],
            yerr=[100 * (t_interval(own) or 0.0) for own in scores],
            label=f"{series.label}, n = {_counts(scores)}",
            capsize=3,
            linewidth=1.2,
            **look,
        )
    axes.set_ylabel(f"{comparison.place.metric}, %")
    axes.set_title(
        f"{comparison.place.task}, budget {comparison.place.budget}: means with 95 % t-intervals"
    )
    figure.legend(loc="outside lower center", frameon=False, fontsize="small")
    _save(figure, path)


def draw_profiles(scores: Mapping[str, Sequence[float]], title: str, path: Path) -> None:
    """Performance profiles of normalised scores, with pointwise 95 % bands."""
    figure, axes = _figure()
    thresholds = np.linspace(0, 1, 101).tolist()
    for method, draws in scores.items():
        profile = performance_profile(draws, thresholds, np.random.default_rng(0))
        colour = style(method)["color"]
        axes.step(
            profile.thresholds, profile.share, color=colour, label=f"{method}, n = {len(draws)}"
        )
        axes.fill_between(profile.thresholds, profile.low, profile.high, color=colour, alpha=0.15)
    axes.set_xlabel("score: 0 is chance, 1 the teacher")
    axes.set_ylabel("share of random settings above it")
    axes.set_title(title)
    figure.legend(loc="outside lower center", frameon=False, fontsize="small")
    _save(figure, path)


def draw_critical_difference(agreement: Agreement, path: Path) -> None:
    """Demšar's diagram: methods at their mean ranks, joined where they were not told apart.

    Args:
        agreement: one whose ``nemenyi`` is there.
        path: of the file.
    """
    from scikit_posthocs import critical_difference_diagram

    figure, axes = _figure(height=1.0 + 0.3 * len(agreement.mean_ranks))
    colours = {name: style(name)["color"] for name in agreement.mean_ranks}
    critical_difference_diagram(
        agreement.mean_ranks, agreement.nemenyi, ax=axes, color_palette=colours
    )
    axes.set_title(f"Mean ranks over n = {agreement.claim.n} blocks (Nemenyi, 5 %)")
    _save(figure, path)


def _positions(comparison: Comparison, axes: Axes) -> list[float]:
    """Where the values lie on the horizontal axis, which is labelled with them."""
    values = comparison.values
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    positions = [float(i) for i in range(len(values))]
    if numeric and min(values) > 0:
        positions = [float(np.log10(value)) for value in values]
    axes.set_xticks(positions, [format_value(v) for v in values] if comparison.place.over else [""])
    axes.set_xlabel(comparison.place.over or "")
    return positions


def _counts(scores: Sequence[Sequence[float]]) -> str:
    counts = sorted({len(own) for own in scores})
    return "–".join(str(n) for n in dict.fromkeys((counts[0], counts[-1]))) if counts else "0"


def _figure(height: float = 4.0) -> tuple[Figure, Axes]:
    # Not pyplot: it keeps figures of the whole process, and may look for a screen.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    """Write the file; equal numbers give equal bytes."""
    import matplotlib

    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"svg.hashsalt": "dfkd"}):
        figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
