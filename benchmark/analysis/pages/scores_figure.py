"""A picture of scores: a row a method, a panel a task, intervals, and published points beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from benchmark.analysis.comparison.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GREY = "#5D5D5D"


class Score(NamedTuple):
    """A mean with its interval, and what is published; fractions."""

    mean: float
    low: float
    high: float
    published: float | None


class Panel(NamedTuple):
    """One task: its heading, the name of its metric, its teacher's score, scores by method."""

    title: str
    metric: str
    teacher: float
    scores: Mapping[str, Score]


def scores_figure(panels: Sequence[Panel], titles: Mapping[str, str]) -> Figure:
    """Draw the panels side by side, on white, which is read on dark pages too.

    Args:
        panels: the tasks.
        titles: the methods to show and their titles, the first on top.
    """
    from matplotlib.figure import Figure

    shown = [name for name in titles if any(name in panel.scores for panel in panels)]
    size = (2.2 + 2.4 * len(panels), 1.2 + 0.24 * len(shown))
    figure = Figure(figsize=size, layout="constrained")
    figure.set_facecolor("white")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for own, panel in zip(axes, panels, strict=True):
        own.spines[["top", "right"]].set_visible(False)
        own.axvline(100 * panel.teacher, color=GREY, linestyle="--", linewidth=1)
        for height, name in enumerate(shown):
            if name not in panel.scores:
                continue
            score, look = panel.scores[name], style(name)
            sides = [[100 * (score.mean - score.low)], [100 * (score.high - score.mean)]]
            own.errorbar([100 * score.mean], [height], xerr=sides, capsize=2, markersize=5, **look)
            if score.published is not None:
                own.plot([100 * score.published], [height], "|", color="black", markersize=10)
        own.set_title(panel.title, fontsize="medium")
        own.set_xlabel(f"{panel.metric}, %")
        own.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(range(len(shown)), [titles[name] for name in shown])
    axes[0].set_ylim(len(shown) - 0.5, -0.5)
    return figure
