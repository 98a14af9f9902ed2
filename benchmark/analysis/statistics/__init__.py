"""Statistics of scores over few seeds: pure functions of arrays that may say *insufficient*."""

from benchmark.analysis.statistics.claims import Claim
from benchmark.analysis.statistics.effect import interquartile_mean
from benchmark.analysis.statistics.intervals import (
    Interval,
    mean_interval,
    t_interval,
    wilson_interval,
)
from benchmark.analysis.statistics.paired import Pair, Question, all_pairs, compare, seeds_to_decide
from benchmark.analysis.statistics.ranks import Agreement, block_agreement, letters, rank_intervals
from benchmark.analysis.statistics.variance import Spread, compare_spread

__all__ = [
    "Agreement",
    "Claim",
    "Interval",
    "Pair",
    "Question",
    "Spread",
    "all_pairs",
    "block_agreement",
    "compare",
    "compare_spread",
    "interquartile_mean",
    "letters",
    "mean_interval",
    "rank_intervals",
    "seeds_to_decide",
    "t_interval",
    "wilson_interval",
]
