"""The answers about two methods, or about all of them, in one sentence each."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from benchmark.analysis.statistics.claims import ALPHA, Claim, format_p
from benchmark.analysis.statistics.intervals import Interval
from benchmark.analysis.statistics.paired import Pair
from benchmark.analysis.statistics.ranks import Agreement
from benchmark.analysis.text import percent, signed_percent


@dataclass(frozen=True)
class Steadiness:
    """Which of two methods varies less, over seeds or over the values of a setting.

    Attributes:
        first, second: the methods.
        claim: whether their deviations differ.
        deviations: standard deviations of the first and of the second; None where unknown.
        at_chance: methods of the two that were no better than chance, so that nothing could vary.
        ratio: of the first's variance to the second's, where it was estimated.
    """

    first: str
    second: str
    claim: Claim
    deviations: tuple[float | None, float | None]
    at_chance: frozenset[str]
    ratio: Interval | None = None

    @property
    def winner_first(self) -> Steadiness:
        """The same answer, told of the method `winner`, if it is the second."""
        if self.winner != self.second:
            return self
        ratio = self.ratio
        if ratio is not None:
            middle, low, high = (1 / end if end else math.inf for end in ratio[:3])
            ratio = ratio._replace(estimate=middle, low=high, high=low)
        return replace(
            self,
            first=self.second,
            second=self.first,
            deviations=(self.deviations[1], self.deviations[0]),
            ratio=ratio,
        )

    @property
    def less(self) -> str | None:
        """The method that was shown to vary less, whatever the reason."""
        a, b = self.deviations
        if not self.claim.shown or a is None or b is None or a == b:
            return None
        return self.first if a < b else self.second

    @property
    def winner(self) -> str | None:
        """The method `less`, or None when that method is at chance."""
        return None if self.less in self.at_chance else self.less


def which_is_better(pair: Pair, titles: Mapping[str, str]) -> str:
    """One sentence on the means; where one is better, all of it speaks of that method."""
    pair = pair.winner_first
    first, second = titles[pair.first], titles[pair.second]
    if pair.difference is None:
        return f"{first} or {second}: {pair.claim.words}"
    d = pair.difference
    numbers = (
        f"difference {signed_percent(d.estimate)} points, "
        + f"{signed_percent(d.low)} to {signed_percent(d.high)}"
        + ("" if pair.effect is None else f"; effect size {pair.effect:+.2f}".replace("-", "−"))
        + f"; Wilcoxon's p {format_p(pair.p_wilcoxon)}"
        + f"; a run of {first} beats one of {second} with probability {pair.improvement:.2f}"
    )
    if pair.better is None:
        return f"{first} or {second}: {pair.claim.words}; {numbers}"
    return f"**{first} is better than {second}**, {pair.claim.words}; {numbers}"


def which_spreads_less(spread: Steadiness, titles: Mapping[str, str]) -> str:
    """One sentence on the spread over seeds; of the steadier one, where there is one."""
    spread = spread.winner_first
    first, second = titles[spread.first], titles[spread.second]
    a, b = spread.deviations
    if a is None or b is None:
        return f"spread over seeds: {spread.claim.words}"
    numbers = f"s.d. {percent(a)} against {percent(b)}"
    if spread.ratio is not None:
        r = spread.ratio
        numbers += f", ratio of variances {r.estimate:.3g}, {r.low:.3g} to {r.high:.3g}"
    if spread.winner is None:
        about = f"spread over seeds, {first} or {second}"
        return f"{about}: {_no_winner(spread, titles)}; {numbers}"
    won = f"**{first} spreads less over seeds than {second}**"
    return f"{won}, {spread.claim.words}; {numbers}"


def which_is_less_sensitive(found: Steadiness, titles: Mapping[str, str], over: str) -> str:
    """One sentence on how much the means vary over the swept values; of the steadier, likewise."""
    found = found.winner_first
    first, second = titles[found.first], titles[found.second]
    about = f"sensitivity to `{over}`, {first} or {second}"
    a, b = found.deviations
    if a is None or b is None:
        return f"{about}: insufficient: fewer than two common values with three common seeds each"
    numbers = (
        "s.d. of the means over the values, without the variance that seeds add, "
        f"{percent(a)} against {percent(b)}"
    )
    if found.winner is None:
        return f"{about}: {_no_winner(found, titles)}; {numbers}"
    won = f"**{first} is less sensitive to `{over}` than {second}**"
    return f"{won}, {found.claim.words}; {numbers}"


def _no_winner(found: Steadiness, titles: Mapping[str, str]) -> str:
    if found.less is None:
        return found.claim.words
    return f"{titles[found.less]} is at chance, where nothing varies"


def all_together(agreement: Agreement, titles: Mapping[str, str]) -> str:
    """One sentence on whether the blocks agree on an order of all methods."""
    ranks = ", ".join(
        f"{titles[name]} {rank:.2f}"
        for name, rank in sorted(agreement.mean_ranks.items(), key=lambda item: item[1])
    )
    text = f"all methods together (Friedman's test over seeds): {agreement.claim.words}"
    if agreement.concordance is not None:
        text += f"; Kendall's W {agreement.concordance:.2f}"
    if ranks:
        text += f"; mean ranks {ranks}"
    if agreement.nemenyi is not None:
        text += f", which differ where they are {agreement.critical_difference:.2f} apart (Nemenyi)"
    return text


def same_runs(families: Mapping[str, Collection[str]]) -> str:
    """Say that several families of questions on a page use the same runs; empty if none do.

    Args:
        families: ids of the runs behind each family, by the family's name.
    """
    counts = Counter(run for runs in families.values() for run in set(runs))
    shared = {run for run, count in counts.items() if count > 1}
    names = [name for name, runs in families.items() if not shared.isdisjoint(runs)]
    if not names:
        return ""
    listed = ", ".join(names[:-1]) + f" and {names[-1]}"
    runs = "1 run stands" if len(shared) == 1 else f"{len(shared):,} runs stand"
    return (
        f"{listed} use the same runs: {runs} in more than one of them. Each is a family of its "
        f"own: false claims are kept at {100 * ALPHA:g} % in each, and not over all of them "
        "together."
    )
