"""``docs/robustness.md``: which method is better and steadier over seeds, settings and ranges."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console

from benchmark.analysis import page_files
from benchmark.analysis.comparison.compare import Comparison, compare_series
from benchmark.analysis.comparison.loss_stability import loss_stability
from benchmark.analysis.comparison.markdown import SUMMARY, comparison_markdown, summary_cells
from benchmark.analysis.comparison.plots import rendered, titled_profiles
from benchmark.analysis.comparison.robustness import (
    drawn_ranges,
    drawn_records,
    planned_draws,
    robustness_cell,
    robustness_scores,
    score_claims,
)
from benchmark.analysis.comparison.sentences import same_runs
from benchmark.analysis.comparison.series import (
    AddedDefaults,
    Place,
    Series,
    select,
)
from benchmark.analysis.comparison.summary import summary_section
from benchmark.analysis.comparison.terminal import at_least_two, plots
from benchmark.analysis.frame import Run, read_results, runs_of
from benchmark.analysis.page_files import Files
from benchmark.analysis.statistics.claims import ALPHA, POWER, Claim
from benchmark.analysis.statistics.intervals import t_interval
from benchmark.analysis.statistics.paired import Question
from benchmark.analysis.statistics.paired import compare as compare_pairs
from benchmark.analysis.text import markdown_grid
from benchmark.records.record import Record
from benchmark.records.spec import PlannedEntry
from benchmark.records.store import Scan
from methods.settings.params import FACTOR, TEMPERATURES, format_value
from methods.settings.schedule import NUMBERS

ONE_SETTING = "At one setting each"
CHOSEN = (
    "Every method at its published setting, of its newest version; without a run there, at the "
    "setting nearest to it. Neither scores nor numbers of runs have a say in the choice."
)

SWEPT = (
    "A setting in brackets is the one at which the method was swept, and not the published one. "
    "docs/differences.md names those that were chosen on test data: nothing in favour of their "
    "method follows from them."
)

DRAWN = (
    "Settings are drawn by one rule for every method: a learning rate or the weight of a loss's "
    f"term log-uniformly within a factor of {FACTOR:g} of its published value, a temperature "
    f"log-uniformly between {TEMPERATURES[0]:g} and {TEMPERATURES[1]:g}; all else is as published."
)

OF_ITS_RANGES = (
    "A score is of a method together with its ranges, which lie around what its own authors "
    "published: where two methods' rates lie far apart, a difference may be one of the rates alone."
)

Choose = Callable[..., tuple[Place, list[Series]]]
"""`benchmark.analysis.comparison.series.select`, some of its arguments given."""

OWN_TERMS = ("loss", "diversity")
"""Terms of the generator's loss that every method defines in its own way."""


@dataclass(frozen=True)
class SweepContext:
    """What the page tells of methods and suites; the analysis itself imports neither.

    Attributes:
        added_defaults: see `benchmark.analysis.comparison.series.select`.
        sweep_suites: names of suites that sweep a setting on the task, for a reader without runs.
        draw_suites: names of those that draw settings at random.
    """

    added_defaults: AddedDefaults
    sweep_suites: Sequence[str] = ()
    draw_suites: Sequence[str] = ()


def robustness(
    methods: Sequence[str],
    task: str,
    budget: str | None,
    results: Path,
    output: Path,
    console: Console,
    context: SweepContext,
) -> None:
    """Write what the records say about the robustness of some methods.

    Args:
        methods: names of two or more.
        task: its name.
        budget: preset; the one that `benchmark.analysis.comparison.series.select` takes when None.
        results: folder of the records.
        output: the document; its plots go into a folder of the same name without suffix.
        console: for the name of what was written.
        context: what is known of methods and suites.

    Raises:
        UserError: for fewer than two methods, or unknown names.
    """
    page_files.write(
        robustness_files(read_results(results), methods, task, budget, output, context)
    )
    console.print(str(output), markup=False, highlight=False, soft_wrap=True)


def robustness_files(
    scan: Scan,
    methods: Sequence[str],
    task: str,
    budget: str | None,
    output: Path,
    context: SweepContext,
) -> Files:
    """The document and its plots; see `robustness`."""
    at_least_two(methods)
    records = scan.records
    runs = runs_of(records)
    folder = output.with_suffix("")
    choose = partial(select, added_defaults=context.added_defaults, versions=scan.versions)
    found = compare_series(*choose(runs, methods, task, budget))
    mine = [
        r
        for r in {r.run_id: r for r in records}.values()
        if (r.spec.task, r.spec.budget.name) == (task, found.place.budget)
        and r.teacher.checksum == found.place.teacher
        and r.spec.method in methods
    ]
    titles = {series.method: series.title for series in found.series}
    drawn: Files = {}
    parts = [
        f"# Robustness of {', '.join(titles[m] for m in methods)}",
        f"Written by `dfkd robustness {' '.join(methods)} --task {task}` from the records; do not "
        "edit it by hand. A difference is *shown* where paired sign flips on the common "
        f"seeds (for spread, Brown–Forsythe's test) give p ≤ {ALPHA:g}, corrected for all "
        "questions of the same section. It is *insufficient* where no outcome could have shown it "
        "with so few seeds. The seeds that it would take are for a difference as large as the "
        f"observed one, with probability {POWER:g}.",
    ]
    sweeps = [
        compare_series(*choose(runs, methods, task, found.place.budget, over))
        for over in swept(runs, methods, task, found.place.budget, choose)
    ]
    families = {f"“{ONE_SETTING}”": _runs_of(found)}
    families |= {f"“Over `{one.place.over}`”": _runs_of(one) for one in sweeps}
    if shared := same_runs(families):
        parts.append(shared)
    planned = list(planned_draws(scan, _like(found.place, methods)))
    draws, scores = drawn_records(mine, planned), robustness_scores(mine, planned)
    parts.append(summary_section([found, *sweeps], score_claims(scores), scores))
    headline = _section(ONE_SETTING, found, folder / "headline.svg", output, drawn, CHOSEN)
    parts.append(headline)
    for over_it in sweeps:
        over = str(over_it.place.over)
        about = SWEPT if any(series.settings for series in over_it.series) else ""
        plot = folder / f"{over}.svg"
        parts.append(_section(f"Over `{over}`", over_it, plot, output, drawn, about))
    if not sweeps:
        parts.append(
            "## Over a setting\n\nInsufficient: no setting of these methods was swept on this "
            f"task. Suites that sweep one: {_commands(context.sweep_suites)}."
        )
    parts += _alone(runs, methods, found.place, [str(one.place.over) for one in sweeps], choose)
    parts.append(
        _draws(
            draws, scores, titles, task, folder / "draws.svg", output, context.draw_suites, drawn
        )
    )
    parts.append(_stability(mine, found.series))
    return {output: ("\n\n".join(parts) + "\n").encode(), **drawn}


def _runs_of(found: Comparison) -> set[str]:
    return set().union(*(series.run_ids for series in found.series))


def _like(place: Place, methods: Sequence[str]) -> Callable[[PlannedEntry], bool]:
    return lambda entry: (
        (entry.task, entry.budget.name, entry.teacher) == (place.task, place.budget, place.teacher)
        and entry.method in methods
    )


def swept(
    runs: Sequence[Run],
    methods: Sequence[str],
    task: str,
    budget: str,
    choose: Choose = select,
) -> list[str]:
    """Settings that two of the methods have several common values of, all else being equal."""
    names = set(NUMBERS) | set.intersection(*(_settings(runs, m) for m in methods))
    return [
        name
        for name in sorted(names)
        if any(
            len(a.points.keys() & b.points.keys()) > 1
            for a, b in itertools.combinations(choose(runs, methods, task, budget, name)[1], 2)
        )
    ]


def _settings(runs: Sequence[Run], method: str) -> set[str]:
    """Parameters that a method's records name; some records always name a swept one."""
    texts = {run.params for run in runs if run.method == method and run.counts}
    return set().union(*map(json.loads, texts))


def _alone(
    runs: Sequence[Run],
    methods: Sequence[str],
    place: Place,
    shared: Sequence[str],
    choose: Choose,
) -> list[str]:
    """The section on settings that only one method was swept over; empty without such settings."""
    body = []
    for method in methods:
        own = [run for run in runs if (run.method, run.teacher) == (method, place.teacher)]
        names = _settings(own, method) - set(shared)
        for name in sorted(names):
            _, (series,) = choose(own, [method], place.task, place.budget, name)
            if len(series.points) < 2:
                continue
            for value, scores in series.points.items():
                cells = summary_cells(list(scores.values()), series.collapsed[value])
                start = [series.label, f"`{name}` = {format_value(value)}"]
                body.append([*start, *cells, str(len(scores))])
    if not body:
        return []
    words = ["method", "setting"]
    table = markdown_grid([*words, *SUMMARY, "n"], body, words)
    return [
        "## Over settings of one method alone\n\nThe other methods lack the setting, or have runs "
        f"at fewer than two of its values, so no methods are compared.\n\n{table}"
    ]


def _section(
    heading: str, found: Comparison, plot: Path, output: Path, drawn: Files, about: str = ""
) -> str:
    """One comparison with its plots, which are added to ``drawn``."""
    own = plots(found, plot)
    drawn |= own
    images = "\n\n".join(f"![{heading}]({path.relative_to(output.parent)})" for path in own)
    return "\n\n".join(filter(None, [f"## {heading}", about, comparison_markdown(found), images]))


def _draws(
    draws: Sequence[Record],
    scores: dict[str, list[float]],
    titles: dict[str, str],
    task: str,
    plot: Path,
    output: Path,
    draw_suites: Sequence[str],
    drawn: Files,
) -> str:
    """The section on random draws from tuning ranges; its plot is added to ``drawn``."""
    start = f"## Over whole tuning ranges\n\n{DRAWN} "
    if len(scores) < 2:
        having = (
            f"Insufficient: of these methods only {titles[next(iter(scores))]} has draws by this "
            "rule."
            if scores
            else "There are no draws by this rule yet, so nothing is claimed."
        )
        return f"{start}{having} Suites that make them: {_commands(draw_suites)}."
    title = f"{task}: random draws from the tuning ranges, 95 % bands"
    ranges = drawn_ranges(draws)
    drawn[plot] = rendered(titled_profiles(scores, title))
    lines = [
        f"{start}The robustness score is the mean of (score − chance) / (teacher's score − chance) "
        "over the draws, with its 95 % t-interval and, in brackets, the number of draws. It is the "
        f"area under the performance profile. {of_which_seeds(draws)} {OF_ITS_RANGES}",
        "",
        *(
            f"- {titles[m]}: {robustness_cell(scores[m])}; drawn were {_ranges_in_words(ranges[m])}"
            for m in titles
            if m in scores
        ),
        "",
        *(
            f"- {_more_robust(a, b, scores, claim, titles)} (permutation test of the means; "
            "n counts draws)"
            for (a, b), claim in score_claims(scores).items()
        ),
    ]
    image = f"![Performance profiles]({plot.relative_to(output.parent)})"
    return "\n".join(lines) + f"\n\n{image}"


def of_which_seeds(draws: Sequence[Record]) -> str:
    """Which seeds draws have, and what their intervals are over, in a sentence."""
    seeds = sorted({record.spec.seed for record in draws})
    if len(seeds) == 1:
        return (
            f"All draws have seed {seeds[0]}: intervals and tests are over settings, and say "
            "nothing of other seeds."
        )
    return f"Draws have the seeds {', '.join(map(str, seeds))}."


def _ranges_in_words(ranges: Mapping[str, tuple[float, float]]) -> str:
    texts = [f"`{name}` from {low:.3g} to {high:.3g}" for name, (low, high) in ranges.items()]
    return ", ".join(texts) or "no numbers"


def _more_robust(
    a: str, b: str, scores: dict[str, list[float]], claim: Claim, titles: dict[str, str]
) -> str:
    words = claim.words.replace("seeds", "draws")
    if len(scores[a]) != len(scores[b]):
        words += f"; unequal numbers of draws, {len(scores[a])} and {len(scores[b])}"
    if not claim.shown:
        return f"{titles[a]} or {titles[b]}: {words}"
    more, less = (a, b) if np.mean(scores[a]) > np.mean(scores[b]) else (b, a)
    return f"**{titles[more]} is more robust than {titles[less]}**, {words}"


def _stability(records: Sequence[Record], series: Sequence[Series]) -> str:
    """The section on the generator's loss terms, at one setting each."""
    terms: dict[str, dict[str, dict[int, float]]] = defaultdict(dict)
    for own in series:
        runs = [r for r in records if r.spec.method == own.method and r.run_id in own.run_ids]
        for term, seeds in loss_stability(runs).items():
            terms[term][own.method] = seeds
    if not terms:
        return "## Stability of the generator's loss\n\nNo record has curves of a generator's loss."
    titles = {own.method: own.title for own in series}
    dead = {own.method for own in series if own.at_chance(list(own.points))}
    asked = [
        (term, Question(a, b, seeds[a], seeds[b]))
        for term, seeds in sorted(terms.items())
        if term not in OWN_TERMS
        for a, b in itertools.combinations(seeds, 2)
    ]
    answers = compare_pairs([question for _, question in asked], np.random.default_rng(0))
    body = []
    for term, by_method in sorted(terms.items()):
        for method, seeds in by_method.items():
            values = list(seeds.values())
            half = t_interval(values)
            spread = "" if half is None else f" ± {half:.2g}"
            mean = f"{float(np.mean(values)):.3g}"
            body.append([term, titles[method], f"{mean}{spread}", str(len(values))])
    lines = [
        "## Stability of the generator's loss",
        "",
        "The fluctuation of a term is how much it jumps from one recorded step to the next in the "
        "second half of the generator's training, in the term's own unit: the root of half the "
        "mean square of successive differences, mean over seeds ± half-width of the 95 % "
        "t-interval. RDSKD shows it in Figure 3. Only terms that mean the same in both methods are "
        "compared.",
        "",
        markdown_grid(["term", "method", "fluctuation", "n"], body, ["term", "method"]),
        "",
    ]
    for (term, _), pair in zip(asked, answers, strict=True):
        first, second = titles[pair.first], titles[pair.second]
        if pair.better is None:
            lines.append(f"- `{term}`, {first} or {second}: {pair.claim.words}")
            continue
        calmer = pair.second if pair.better == pair.first else pair.first
        if calmer in dead:
            lines.append(f"- `{term}`, {first} or {second}: {titles[calmer]} is at chance")
        else:
            lines.append(f"- `{term}`: **{titles[calmer]} fluctuates less**, {pair.claim.words}")
    return "\n".join(lines)


def _commands(suites: Sequence[str]) -> str:
    """The suites as a reader would run them."""
    return ", ".join(f"`dfkd run {name}`" for name in suites) or "none yet"
