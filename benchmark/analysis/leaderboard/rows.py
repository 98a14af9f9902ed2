"""A row of the leaderboard: one method with one setting, and what is computed of its runs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean
from typing import Any, Literal

from benchmark.analysis.frame import work_of
from benchmark.analysis.preference import changes, older
from benchmark.analysis.scores import counted_score
from benchmark.analysis.statistics.intervals import Interval, mean_interval
from benchmark.records.record import OVER_BUDGET, SCORED, Metric, Record

CONTROLS = frozenset({"noise", "untrained-generator"})
"""Methods that learn nothing of the teacher to make their images. They show what a score is worth,
and have no rank. A set of names, because records tell nothing of it."""

AS_PUBLISHED = "as published"

Standing = Literal["ranked", "reference", "old version", "provisional", "over budget", "untried"]
"""Whether a row has a rank, and if not, why: it is a control; the method has a newer version; some
of its planned runs are missing; some spent more than their budget; none of its runs could be tried.
"""


@dataclass(eq=False)
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
    planned: set[str] = field(default_factory=set)
    """The id of every planned run."""
    choices: set[str] = field(default_factory=set)
    """How the setting was chosen, if it was tuned (`benchmark.records.spec.Spec.tuned`)."""
    newest: int = 0
    """The newest version of the method with these parameters."""

    @cached_property
    def scored(self) -> list[Record]:
        """Runs that ended with a student."""
        return [record for record in self.records if record.status in SCORED]

    @cached_property
    def counted(self) -> dict[str, float]:
        """What every run counts for, by run id; runs that are missing or over budget are not there.

        See `benchmark.analysis.scores.counted_score`.
        """
        found = {}
        for record in sorted(self.records, key=lambda record: record.run_id):
            score = counted_score(record.status, record.score, self.chance)
            if score is not None:
                found[record.run_id] = score
        return found

    @property
    def collapsed(self) -> int:
        """The number of students that ended at chance level."""
        return sum(record.status == "collapsed" for record in self.records)

    @cached_property
    def missing(self) -> int:
        """The number of planned runs that never started, or were interrupted."""
        settled = {record.run_id for record in self.records if record.status != "interrupted"}
        return len(self.planned - settled)

    @property
    def behind(self) -> int:
        """By how many versions its runs are older than the newest."""
        return max(0, self.newest - self.version)

    @property
    def own_objective(self) -> bool:
        """Whether the student minimises its method's own objective."""
        return not any(record.spec.objective for record in self.records)

    @cached_property
    def standing(self) -> Standing:
        """Whether the row has a rank among others, and why not."""
        if self.behind:
            return "old version"
        if any(record.status == OVER_BUDGET for record in self.records):
            return "over budget"
        if self.missing:
            return "provisional"
        if not self.counted:
            return "untried"
        return "reference" if self.method in CONTROLS else "ranked"

    def mean(self, metric: str) -> float | None:
        """Mean of a metric over the finished runs that have it."""
        values = [r.metrics[metric] for r in self.scored if metric in r.metrics]
        return fmean(values) if values else None

    @cached_property
    def interval(self) -> Interval | None:
        """Confidence interval of `score`, over the seeds."""
        return mean_interval(list(self.by_seed.values()))

    @cached_property
    def by_seed(self) -> dict[int, float]:
        """What the runs count for, by seed."""
        runs: dict[int, list[float]] = defaultdict(list)
        seeds = {record.run_id: record.spec.seed for record in self.records}
        for run_id, score in self.counted.items():
            runs[seeds[run_id]].append(score)
        return {seed: fmean(values) for seed, values in sorted(runs.items())}

    @cached_property
    def score(self) -> float | None:
        """Mean of what the runs count for; None if none counts."""
        return fmean(self.by_seed.values()) if self.by_seed else None

    @cached_property
    def work(self) -> float | None:
        """Mean floating-point operations of the method's own phases, of the finished runs.

        None if any of them was made before work was counted.
        """
        own = [work_of(record) for record in self.scored]
        known = [work for work in own if work is not None]
        return fmean(known) if known and len(known) == len(own) else None

    @property
    def queries(self) -> float | None:
        """Mean number of images sent through the teacher, forward and back."""
        own = [r.ledger.teacher_forward + r.ledger.teacher_backward for r in self.scored]
        return fmean(own) if own else None

    @cached_property
    def programs(self) -> set[str]:
        """Fingerprints of the code that made the runs; "" stands for code that is not recorded."""
        return {r.environment.fingerprint for r in self.records if r.run_id in self.counted}

    @property
    def choice(self) -> str:
        """How the setting was tuned; empty if it was not."""
        return "; ".join(sorted(self.choices))

    @property
    def tuned(self) -> bool:
        """Whether tuning chose it, and not the published setting."""
        return bool(self.choice and self.changed)

    @property
    def settings(self) -> str:
        """The parameters that differ from the paper's and the proxy data, if any."""
        return ", ".join(filter(None, [self.changes, self._proxy_setting]))

    @property
    def changes(self) -> str:
        """The parameters that differ from the paper's, if any."""
        return changes(self.changed)

    @property
    def _proxy_setting(self) -> str:
        return f"proxy={self.proxy}" if self.proxy else ""

    @property
    def setting(self) -> str:
        """Whether the parameters are the published or tuned ones, those that differ, the proxy."""
        how = [f"tuned, {self.choice}"] if self.choice else []
        how = how if self.changed else [AS_PUBLISHED, *how]
        return "; ".join(filter(None, [*how, self.changes, self._proxy_setting]))

    @property
    def name(self) -> str:
        """Title, and the version if it is not the first, or an old one."""
        return self.title + (f" v{self.version}" if self.version != 1 or self.behind else "")

    @property
    def label(self) -> str:
        """Title, version and settings."""
        return self.name + (f" ({self.settings})" if self.settings else "")

    @property
    def note(self) -> str:
        """The method's remarks on this task, and what else a reader must know of the runs.

        Whether they are of an older version; how many failed, were skipped or are missing; why some
        were over budget; and whether several programs made them. Collapsed students have a column.
        """
        counts: dict[str, int] = defaultdict(int)
        for record in self.records:
            if record.status not in ("ok", "collapsed", "interrupted"):
                why = f": {record.reason}" if record.status == OVER_BUDGET else ""
                counts[record.status.replace("_", " ") + why] += 1
        remarks = sorted({record.method.note for record in self.records} - {""})
        statuses = [f"{count} {status}" for status, count in sorted(counts.items())]
        missing = [f"{self.missing} missing"] if self.missing else []
        old = [older(self.version, self.newest)] if self.behind else []
        return ", ".join([*remarks, *old, *statuses, *missing, *self._mixture])

    @property
    def _mixture(self) -> list[str]:
        if len(self.programs) < 2:
            return []
        known = len(self.programs - {""})
        unknown = " and unrecorded ones" if "" in self.programs else ""
        return [f"made by {known} program{'s' if known > 1 else ''}{unknown}"]
