"""The best trial of every method, from the records of a tuning; no test score is looked at."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from benchmark.records.record import FAILED, OVER_BUDGET, SCORED, Record
from benchmark.suites.choices import By, Choice

LACKING: dict[By, str] = {
    "agreement": "agreement: the method never calls run.checkpoint(student, step) while its "
    "student learns; let it do so, or choose with `dfkd tune --by dev`",
    "dev": "score on the development split, which older records lack; make them again with "
    "--overwrite always",
}
"""What finished runs may lack, and what helps."""


@dataclass(frozen=True)
class Trial:
    """One setting of a method, and its runs.

    Attributes:
        method: name of the method.
        version: version of the method.
        number: 0 for the published setting.
        params: parameters that differ from the published ones.
        runs: run ids, by ascending seed.
    """

    method: str
    version: int
    number: int
    params: Mapping[str, Any]
    runs: tuple[str, ...]


@dataclass
class Tuning:
    """What the trials of one method came to.

    Attributes:
        method: name of the method.
        trials: its trials, by ascending number.
        by: what they are compared by.
        scores: mean scores of the trials that succeeded, by the trial's number.
        failed: numbers of the trials with a run that failed or spent more than its budget.
        missing: how many runs have not ended.
        unscored: how many finished runs have no such score: no agreement, because their student
            was never looked at while it learnt; or no score on the development split, because they
            are older than it.
        skipped: why the method cannot run on the task; empty if it can.
    """

    method: str
    trials: list[Trial]
    by: By = "agreement"
    scores: dict[int, float] = field(default_factory=dict)
    failed: list[int] = field(default_factory=list)
    missing: int = 0
    unscored: int = 0
    skipped: str = ""

    @property
    def best(self) -> int | None:
        """The number of the trial with the highest score, of equal ones the first; None without."""
        return max(self.scores, key=lambda n: (self.scores[n], -n), default=None)

    @property
    def why_not(self) -> str:
        """Why nothing can be chosen, in a few words; empty if something can."""
        if self.skipped:
            return self.skipped
        if self.missing:
            runs = sum(len(trial.runs) for trial in self.trials)
            return f"{self.missing} of {runs} runs are missing"
        if self.unscored:
            have = "run has" if self.unscored == 1 else "runs have"
            return f"{self.unscored} finished {have} no {LACKING[self.by]}"
        return "" if self.scores else "every trial failed"

    def choice(self) -> Choice:
        """What was chosen; there must be no reason why nothing can be."""
        assert not self.why_not, self.why_not
        best = self.best
        (trial,) = (trial for trial in self.trials if trial.number == best)
        return Choice(
            version=trial.version,
            trials=len(self.trials),
            chosen=trial.number,
            params=dict(trial.params),
            score=round(self.scores[trial.number], 6),
            published=round(self.scores[0], 6) if 0 in self.scores else None,
            failed=len(self.failed),
            runs=list(trial.runs),
        )


def tunings(trials: Iterable[Trial], records: Iterable[Record], by: By) -> list[Tuning]:
    """What the trials of every method came to, in the order in which the methods come.

    A score is the mean over a trial's runs of the student's agreement with the teacher on synthetic
    images, or of its score on the development split. Whether a student collapsed is known from test
    data alone, so that such a run counts like any other.

    Args:
        trials: all trials of one task and budget.
        records: records among which those of the trials are; others are ignored.
        by: what the trials are compared by.
    """
    known = {record.run_id: record for record in records}
    own: dict[str, list[Trial]] = defaultdict(list)
    for trial in trials:
        own[trial.method].append(trial)
    return [
        _tuning(method, sorted(of_method, key=lambda trial: trial.number), known, by)
        for method, of_method in own.items()
    ]


def _tuning(method: str, trials: Sequence[Trial], known: Mapping[str, Record], by: By) -> Tuning:
    tuning = Tuning(method, list(trials), by)
    for trial in trials:
        records = [known[run_id] for run_id in trial.runs if run_id in known]
        ended = [r for r in records if r.status in SCORED | FAILED | {OVER_BUDGET, "skipped"}]
        tuning.missing += len(trial.runs) - len(ended)
        tuning.skipped = next((r.reason for r in ended if r.status == "skipped"), tuning.skipped)
        if any(record.status not in SCORED for record in ended):
            tuning.failed.append(trial.number)
            continue
        scores = [_score(record, by) for record in ended]
        tuning.unscored += scores.count(None)
        found = [score for score in scores if score is not None]
        if len(found) == len(trial.runs):
            tuning.scores[trial.number] = fmean(found)
    return tuning


def _score(record: Record, by: By) -> float | None:
    name = "agreement" if by == "agreement" else f"{record.teacher.metric}_dev"
    return record.metrics.get(name)
