"""Statistics of scores over few seeds: pure functions of arrays that may say *insufficient*."""

from __future__ import annotations

from benchmark.analysis.statistics.claims import Claim
from benchmark.analysis.statistics.effect import interquartile_mean
from benchmark.analysis.statistics.intervals import (
    Interval,
    collapse_bound,
    mean_interval,
    score_interval,
    stratified_interval,
    t_interval,
    wilson_interval,
)
from benchmark.analysis.statistics.paired import (
    Pair,
    Question,
    compare,
    questions_of_all_pairs,
    verdicts,
)
from benchmark.analysis.statistics.ranks import (
    Agreement,
    block_agreement,
    letters,
    rank_draws,
    rank_intervals,
)
from benchmark.analysis.statistics.sign_flips import joint_sign_flips, seeds_to_decide
from benchmark.analysis.statistics.variance import Spread, compare_spread, value_variances

__all__ = [
    "Agreement",
    "Claim",
    "Interval",
    "Pair",
    "Question",
    "Spread",
    "block_agreement",
    "collapse_bound",
    "compare",
    "compare_spread",
    "interquartile_mean",
    "joint_sign_flips",
    "letters",
    "mean_interval",
    "questions_of_all_pairs",
    "rank_draws",
    "rank_intervals",
    "score_interval",
    "seeds_to_decide",
    "stratified_interval",
    "t_interval",
    "value_variances",
    "verdicts",
    "wilson_interval",
]
