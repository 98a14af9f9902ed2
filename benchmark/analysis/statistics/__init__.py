"""Statistics of scores over few seeds: pure functions of arrays that may say *insufficient*."""

from benchmark.analysis.statistics.claims import Claim
from benchmark.analysis.statistics.intervals import (
    Interval,
    mean_interval,
    t_interval,
    wilson_interval,
)
from benchmark.analysis.statistics.paired import Pair, all_pairs, seeds_to_decide
from benchmark.analysis.statistics.ranks import block_agreement, letters, rank_intervals
from benchmark.analysis.statistics.variance import Spread, compare_spread

__all__ = [
    "Claim",
    "Interval",
    "Pair",
    "Spread",
    "all_pairs",
    "block_agreement",
    "compare_spread",
    "letters",
    "mean_interval",
    "rank_intervals",
    "seeds_to_decide",
    "t_interval",
    "wilson_interval",
]
