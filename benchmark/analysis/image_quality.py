"""``docs/image-quality.md``: does the quality of synthetic images predict the student?"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console

from benchmark.analysis import page_files
from benchmark.analysis.comparison.plots import style
from benchmark.analysis.frame import METRIC_NAMES, OWN_OBJECTIVE, load_results
from benchmark.analysis.leaderboard.quality import FEW, METRICS
from benchmark.analysis.page_files import Files
from benchmark.analysis.statistics.correlation import RankCorrelation, rank_correlation
from benchmark.analysis.text import NO_VALUE, markdown_grid
from benchmark.errors import UserError
from benchmark.records.record import FEW_IMAGES, SCORED, Metric

EXTRACTORS = ("task", "inception")
KINDS = {"spearman": "Spearman's ρ", "kendall": "Kendall's τ"}
VERDICTS = {
    "rises": "students are better where it is higher",
    "falls": "students are better where it is lower",
    "undecided": "no claim: the interval contains 0",
    "insufficient": "*insufficient*: too few methods",
}
INTRODUCTION = """# Does image quality predict the student?

Made by `dfkd image-quality` from the records; do not edit it by hand.

Papers report that their synthetic images score well and that their students are accurate, as if
the one explained the other. Below, the runs that make images are ranked by every measure of their
images and by the scores of their students, and the two rankings are compared. The interval is a
bootstrap over methods and, within a method, over runs: seeds and settings of one method are alike
and must not count as independent evidence. The intervals are not corrected for the number of
measures: of measures without any effect, one in twenty will look as if it had one.

The extractor `task` is a critic: a network trained on the real data for this purpose. It is not the
teacher and was trained with another seed, because a generator was trained to please the teacher.
`inception` is the Inception-v3 of the original scores, which has seen photographs only. Outside
its domain its numbers mislead (Barratt & Sharma, *A Note on the Inception Score*, 2018), and the
authors of KID judge MNIST with a LeNet instead (Bińkowski et al., *Demystifying MMD GANs*, 2018).
FID falls with the number of images, so only equal numbers are compared.
"""


NOT_MEASURED = "No run's images have been measured yet: `dfkd measure SUITE` does it.\n"


@dataclass(frozen=True)
class MeasuredRuns:
    """Runs of one task, budget and teacher, their images measured in one way.

    Attributes:
        runs: data frame with one row per run.
        extractor: the extractor that measured their images.
    """

    runs: pd.DataFrame
    extractor: str

    @property
    def title(self) -> str:
        """Task, budget and number of measured images."""
        first = self.runs.iloc[0]
        images = int(first[f"{self.extractor}_samples"])
        names = ", ".join(filter(None, (first["schedule"], first["variant"])))
        variant = f" ({names})" if names else ""
        return f"{first['task']}, budget {first['budget']}{variant}, {images:,} images a run"

    @property
    def metric(self) -> Metric:
        """The metric that scores the task's students."""
        classified = "accuracy" in self.runs and self.runs["accuracy"].notna().any()
        return "accuracy" if classified else "miou"

    @property
    def name(self) -> str:
        """Task, budget, teacher and critic, for file names."""
        parts = [self.runs[c].iloc[0] for c in ("task", "budget", "teacher")]
        checksum = self.runs[f"{self.extractor}_extractor"].iloc[0]
        images = self.runs[f"{self.extractor}_samples"].iloc[0]
        return "-".join([*parts[:2], parts[2][:6], checksum[:6], str(int(images))])

    def measures(self) -> dict[str, pd.Series[float]]:
        """Values of every measure of the images that all runs have, by heading."""
        headings = {f"{key}_{self.extractor}": text for key, (text, _) in METRICS.items()}
        headings |= {"class_balance": "class balance", "confidence": "confidence"}
        return {
            text: self.runs[column].astype(float)
            for column, text in headings.items()
            if column in self.runs and self.runs[column].notna().all()
        }


def write(results: Path, output: Path, extractor: str, console: Console) -> None:
    """Write the page and, in the same folder, one plot per comparison.

    Raises:
        UserError: when no record has the extractor's numbers.
    """
    if extractor not in EXTRACTORS:
        raise UserError(
            f"there is no extractor '{extractor}'; choose from: {', '.join(EXTRACTORS)}"
        )
    files = quality_files(load_results(results), output, extractor)
    count = len(files) - 1
    if not count:
        raise UserError(
            f"no record in '{results}' has image metrics of the extractor '{extractor}'; "
            f"add them with: dfkd measure SUITE --extractor {extractor}"
        )
    page_files.write(files)
    console.print(f"{output}: {count} comparison(s)", highlight=False, soft_wrap=True)


def quality_files(frame: pd.DataFrame, output: Path, extractor: str = "task") -> Files:
    """The page and, in the same folder, one plot per comparison.

    Args:
        frame: the records, one row per run.
        output: the page.
        extractor: the extractor that measured the images.
    """
    parts = [INTRODUCTION]
    drawn: Files = {}
    names: list[str] = []
    for comparison in comparisons(frame, extractor):
        names.append(comparison.name)
        # The same experiments, measured in yet another way, have the same name.
        again = names.count(comparison.name)
        number = f"-{again}" if again > 1 else ""
        plot = output.parent / f"{output.stem}-{comparison.name}{number}.svg"
        drawn[plot] = scatter(comparison)
        parts.append(section(comparison, plot.name))
    if not drawn:
        parts.append(NOT_MEASURED)
    return {output: "\n".join(parts).encode(), **drawn}


def comparisons(frame: pd.DataFrame, extractor: str) -> Iterator[MeasuredRuns]:
    """The runs that may be compared with each other, each experiment once."""
    checksum, images = f"{extractor}_extractor", f"{extractor}_samples"
    if frame.empty or checksum not in frame:
        return
    runs = frame[frame["status"].isin(sorted(SCORED)) & frame[checksum].notna()]
    runs = runs.drop_duplicates("run_id").copy()
    runs["row"] = _labels(runs)
    ways = [f"{extractor}_{name}" for name in ("reference", "pairs", "version")]
    keys = ["task", "budget", "variant", "schedule", "teacher", checksum, images, *ways]
    for _, group in runs.groupby(keys, sort=True):
        yield MeasuredRuns(group, extractor)


def _labels(runs: pd.DataFrame) -> list[str]:
    """Labels that tell a table's rows apart: title, version, settings, objective, proxy images."""
    sources = runs[["proxy_name", "proxy"]].drop_duplicates()
    shared = set(sources["proxy_name"][sources["proxy_name"].duplicated()])
    labels = []
    for row in runs.to_dict("records"):
        settings = json.loads(row["changed"])
        if row["objective"] != OWN_OBJECTIVE:
            settings["objective"] = row["objective"]
        if row["proxy"]:
            checksum = f" {row['proxy'][:6]}" if row["proxy_name"] in shared else ""
            settings["proxy"] = f"{row['proxy_name']}{checksum}"
        title = row["title"] + (f" v{row['version']}" if row["version"] != 1 else "")
        text = ", ".join(f"{name}={value}" for name, value in settings.items())
        labels.append(f"{title} ({text})" if text else title)
    return labels


def section(comparison: MeasuredRuns, plot: str) -> str:
    """Rank correlations of one comparison, in Markdown."""
    runs, metric, by = comparison.runs, METRIC_NAMES[comparison.metric], comparison.extractor
    first = runs.iloc[0]
    rng = np.random.default_rng(0)
    few = f" {FEW}" if first[f"{by}_samples"] < FEW_IMAGES else ""
    lines = [
        f"## {comparison.title}",
        "",
        f"{len(runs)} runs of {runs['method'].nunique()} methods; extractor `{by}` "
        f"(`{first[f'{by}_extractor']}`, version {int(first[f'{by}_version'])} of the measures), "
        f"compared with {int(first[f'{by}_reference']):,} real images, LPIPS of "
        f"{int(first[f'{by}_pairs']):,} pairs; teacher `{first['teacher']}`.{few}",
        "",
    ]
    body = []
    for heading, values in comparison.measures().items():
        found = [
            rank_correlation(
                values.tolist(),
                runs[comparison.metric].tolist(),
                runs["method"].tolist(),
                rng,
                kind,
            )
            for kind in ("spearman", "kendall")
        ]
        body.append([heading, *map(_cell, found), VERDICTS[found[0].verdict]])
    names = ["measure", *(f"{name} with {metric}" for name in KINDS.values()), "claim"]
    lines.append(markdown_grid(names, body, ["measure", "claim"]))
    return "\n".join([*lines, "", f"![Image quality and {metric}]({plot})", ""])


def _cell(found: RankCorrelation) -> str:
    if found.value is None:
        return NO_VALUE
    if found.interval is None:
        return f"{found.value:.2f}"
    low, high = found.interval
    return f"{found.value:.2f} [{low:.2f}, {high:.2f}]"


def scatter(comparison: MeasuredRuns) -> bytes:
    """Score against every measure, one point per run; SVG, the same bytes for the same runs."""
    measures = comparison.measures()
    columns = min(3, len(measures))
    lines = -(-len(measures) // columns)
    with matplotlib.rc_context({"svg.hashsalt": "dfkd", "font.size": 8}):
        figure = Figure(figsize=(3.2 * columns, 2.4 * lines + 0.8), layout="constrained")
        axes = figure.subplots(lines, columns, squeeze=False, sharey=True).ravel()
        for axis, (heading, values) in zip(axes, measures.items(), strict=False):
            seen: set[str] = set()
            for (method, row), group in comparison.runs.groupby(["method", "row"], sort=True):
                # The second and further settings of a method have its colour and are hollow.
                axis.plot(
                    values[group.index],
                    100 * group[comparison.metric],
                    linestyle="none",
                    markersize=4,
                    markerfacecolor="none" if method in seen else None,
                    label=f"{row}, n = {len(group)}",
                    **style(str(method)),
                )
                seen.add(str(method))
            axis.set_xlabel(heading)
        for axis in axes[::columns]:
            axis.set_ylabel(f"{METRIC_NAMES[comparison.metric]}, %")
        for axis in axes[len(measures) :]:
            axis.set_visible(False)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        content = io.BytesIO()
        figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()
