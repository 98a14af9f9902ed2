"""A row of the leaderboard: one method with one setting, and what is computed of its runs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean
from typing import Any

from benchmark.analysis.frame import TIMED_PHASES
from benchmark.analysis.statistics.intervals import Interval, mean_interval
from benchmark.records.record import FAILED, SCORED, Metric, Record
from methods.settings.params import format_value


@dataclass
class Row:
    """One method with one set of parameters, over its seeds.

    Values are computed once and kept, so no run may be added once the row is in a table.
    """

    method: str
    title: str
    access: str
    changed: dict[str, Any]
    version: int
    chance: float
    metric: Metric = "accuracy"
    proxy: str = ""
    records: list[Record] = field(default_factory=list)
    planned: dict[str, int] = field(default_factory=dict)
    """Seed of every planned run, by the run's id."""
    provisional: bool = False
    """Whether other runs may still be going, so that a missing run is not counted as a failure."""

    @cached_property
    def scored(self) -> list[Record]:
        """Runs that ended with a student."""
        return [record for record in self.records if record.status in SCORED]

    def mean(self, metric: str) -> float | None:
        """Mean of a metric over the finished runs."""
        values = [r.metrics[metric] for r in self.scored if metric in r.metrics]
        return fmean(values) if values else None

    @cached_property
    def interval(self) -> Interval | None:
        """Confidence interval of the metric's mean over the finished runs."""
        return mean_interval([record.metrics[self.metric] for record in self.scored])

    @cached_property
    def judged(self) -> dict[str, int]:
        """Seeds of the planned runs that count, by run id.

        While a grid is running, only those that have ended count.
        """
        ended = {r.run_id for r in self.records if r.status in SCORED | FAILED}
        waiting = self.provisional and ended
        return {
            run_id: seed
            for run_id, seed in sorted(self.planned.items())
            if not waiting or run_id in ended
        }

    @cached_property
    def score(self) -> float:
        """Mean of the metric with every failed or missing run at chance level."""
        got = [record.metrics[self.metric] for record in self.scored]
        values = got + [self.chance] * (len(self.judged) - len(got))
        return fmean(values) if values else 0.0

    @cached_property
    def by_seed(self) -> dict[int, float]:
        """The metric by seed, every failed or missing run at chance level."""
        got = {record.run_id: record.metrics[self.metric] for record in self.scored}
        runs: dict[int, list[float]] = defaultdict(list)
        for run_id, seed in self.judged.items():
            runs[seed].append(got.get(run_id, self.chance))
        return {seed: fmean(values) for seed, values in sorted(runs.items())}

    @property
    def seconds(self) -> float | None:
        """Mean seconds of the method's own phases, of the finished runs."""
        own = [sum(r.ledger.seconds.get(p, 0.0) for p in TIMED_PHASES) for r in self.scored]
        return fmean(own) if own else None

    @property
    def queries(self) -> float | None:
        """Mean number of images sent through the teacher, forward and back."""
        own = [r.ledger.teacher_forward + r.ledger.teacher_backward for r in self.scored]
        return fmean(own) if own else None

    @property
    def settings(self) -> str:
        """The parameters that differ from the paper's and the proxy data, if any."""
        settings = {**self.changed, **({"proxy": self.proxy} if self.proxy else {})}
        return ", ".join(f"{name}={format_value(value)}" for name, value in settings.items())

    @property
    def label(self) -> str:
        """Title, version and settings."""
        version = f" v{self.version}" if self.version != 1 else ""
        return self.title + version + (f" ({self.settings})" if self.settings else "")

    @property
    def note(self) -> str:
        """The method's remarks on this task, and how often each status other than ok occurred."""
        counts: dict[str, int] = defaultdict(int)
        for record in self.records:
            if record.status != "ok":
                counts[record.status.replace("_", " ")] += 1
        remarks = sorted({record.method.note for record in self.records} - {""})
        return ", ".join(
            [*remarks, *(f"{count} {status}" for status, count in sorted(counts.items()))]
        )
