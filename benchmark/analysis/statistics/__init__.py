"""Statistics of scores over few seeds: pure functions of arrays that may say *insufficient*."""

from __future__ import annotations

from benchmark.analysis.statistics.claims import Claim
from benchmark.analysis.statistics.effect import interquartile_mean
from benchmark.analysis.statistics.intervals import (
    Interval,
    mean_interval,
    stratified_interval,
    t_interval,
    wilson_interval,
)
from benchmark.analysis.statistics.paired import (
    Pair,
    Question,
    compare,
    questions_of_all_pairs,
    seeds_to_decide,
    verdicts,
)
from benchmark.analysis.statistics.ranks import (
    Agreement,
    block_agreement,
    letters,
    rank_draws,
    rank_intervals,
)
from benchmark.analysis.statistics.variance import Spread, compare_spread, value_variances

__all__ = [
    "Agreement",
    "Claim",
    "Interval",
    "Pair",
    "Question",
    "Spread",
    "block_agreement",
    "compare",
    "compare_spread",
    "interquartile_mean",
    "letters",
    "mean_interval",
    "questions_of_all_pairs",
    "rank_draws",
    "rank_intervals",
    "seeds_to_decide",
    "stratified_interval",
    "t_interval",
    "value_variances",
    "verdicts",
    "wilson_interval",
]
