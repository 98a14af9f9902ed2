"""The page ``docs/statistics.md``: what each test is, what it assumes, and how often it errs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from math import comb

from benchmark.analysis.scores import RULE
from benchmark.analysis.statistics import intervals, permutations, ranks, sign_flips, variance
from benchmark.analysis.statistics.claims import ALPHA, MOST_SEEDS, POWER
from tests.simulations import studies, worlds
from tests.simulations.tables import ORDERS, Section, rate

WIDTH = 100
KEPT = "\N{NO-BREAK SPACE}"
"""Stands for a space at which no line is broken."""
LEVEL = f"{rate(ALPHA)} %"
SEEDS = sign_flips.seeds_to_decide()
DRAWS_NEEDED = next(n for n in range(2, 99) if permutations.smallest_p(n, n) <= ALPHA)
BEFORE, AFTER = next(
    (k, k + 1)
    for k in range(2, 99)
    if comb(k, 2) * sign_flips.smallest_p(10) <= ALPHA < comb(k + 1, 2) * sign_flips.smallest_p(10)
)
"""Rows of ten seeds that Holm's correction can still answer, and one row more."""


def page(found: Mapping[str, Section], count: int) -> str:
    """The whole page.

    Args:
        found: the sections of `tests.simulations.tables.STUDIES`, by name.
        count: number of tables that was asked for.
    """

    def study(name: str) -> str:
        return f"{found[name].says}\n\n{found[name].table}"

    text = f"""# Statistics

Written by `make simulations`; do not edit it by hand. The text is kept in
`tests/simulations/page.py`, and every number in it is a constant of the code or comes from
simulations of which the truth is known: {count:,} made-up tables a row, fewer where a table takes
long. Unless something else is said, numbers in tables are per cent.

## What a run counts for

{RULE}. There is one function for it, `benchmark.analysis.scores.counted_score`.

A student below chance is worth as much as one at chance, because a constant prediction needs no
training. So a run that crashed never beats one that finished, and a method gains nothing by
crashing instead of finishing badly. Zero in the place of chance would put a crash below the worst
student that finished, although both leave their user with a constant prediction.

## Which of two methods is better

**The question.** All pairs of methods that stand in one part of a table (an access class), or in
one comparison, are one *family*. The level is {LEVEL} for the family: if no two of its methods
differ, the probability that any two are told apart is at most {LEVEL}; and if some differ, the
probability that any two **equal** ones are told apart is at most {LEVEL} as well (strong control).

**The test.** Two methods are compared on their common seeds, by the differences of their scores.
Under the hypothesis, a difference is as likely to be +d as −d. The test gives every seed one random
sign for all pairs together, so that the pairs keep their dependence. It computes Student's t of
every pair's differences, and notes the largest. The p of the largest observed t is the share of
flips whose largest is as large; the second largest is compared with the largest of all pairs but
the first, and so on (step-down max-T: Westfall and Young 1993; Romano and Wolf 2005). Pairs with
unequal numbers of seeds take the signs of their own seeds, and their t values are compared as
normal scores. All 2ⁿ flips are tried up to {sign_flips.EXACT_UP_TO} seeds, and
{sign_flips.FLIPS:,} random ones beyond. Wilcoxon's signed-rank test is corrected in the same way,
with ranks in the place of differences.

**Insufficient.** The smallest p is 2 / 2ⁿ, however many rows a table has. With fewer than {SEEDS}
common seeds it is above {LEVEL}: such pairs are *insufficient*, and no part of the family. Under
Holm's correction the smallest p was multiplied by the number of pairs: the {AFTER}th row of a table
with ten seeds made every pair *insufficient* that {BEFORE} rows could tell apart.

**Seeds that it would take.** They are for a difference as large as the observed one, with
probability {POWER:g}, by the formula of a t-test at the level at which one pair of this family is
tested; numbers above {MOST_SEEDS:,} are not shown.

**What is assumed.** Seeds are independent. The differences of all pairs that do not differ are,
jointly, symmetric about zero: seed by seed, a table is as likely as the table with all of these
differences reversed. Normal errors are; and for a single pair it holds whenever the two methods
have one distribution. For several pairs of skewed or collapsing methods it holds in approximation
only, which is what this table is for. *Error* is the share of tables in which equal methods were
told apart, *uncorrected* the same without any correction. Columns with *s.d.* are of tables in
which half of the methods are better by so many standard deviations of a score: *told* is the share
of the unequal pairs that were told apart, *Holm* that share after Holm's correction of the same
flips.

{study("error_rates")}

### A further row

{study("further_rows")}

### What letters mean

Two rows without a common letter were told apart: that their differences on common seeds are
symmetric about zero was rejected, at {LEVEL} for the family. Where errors are symmetric, this
is a statement about means over seeds. Where a method collapses now and then, it is a statement
about the distributions of the scores and not about their means: a method that is better on most
seeds and
rarely falls to chance can be told apart from a steadier one of **equal mean**. Two rows with a
common letter were not shown to differ; they were not shown to be equal.

In this table one method collapses at the given rate, and one other method, or six, never do and
have the same mean. *None met* is the share of tables in which the first method had no collapse;
*told* is the share in which it was told apart from a method of equal mean.

{study("letters")}

So a letter is read together with the bound of the collapse rate that stands beside it.

## Intervals of means

Below {intervals.BCA_FROM} seeds, Student's t-interval; from there on, the bias-corrected
accelerated
bootstrap of {intervals.RESAMPLES:,} resamples (Efron 1987). The level is 95 %, for each interval on
its own. An interval assumes independent seeds and a mean that is nearly normal. No interval is
shown
beyond what a score can be, 0 to 100 %; the ends are cut in one place
(`benchmark.analysis.statistics.intervals.score_interval`).

{intervals.NOT_COVERED} After ten runs without a collapse, for instance:
{intervals.collapse_words(0, 10)}.

{study("coverages")}

Means over several tasks: the tasks are fixed and weigh the same, seeds vary; Student's t with
Satterthwaite's degrees of freedom (1946).

## Robustness over random draws

The robustness score is a mean over random draws from a method's tuning ranges, as a share of the
way
from chance to the teacher. Draws of two methods are not paired, so values are divided anew among
the
samples instead of flipping signs ({permutations.PERMUTATIONS:,} random divisions); the statistic is
Welch's t, and p values step down in the same way. A method that was told apart from all others
leaves the pool. With fewer than {DRAWS_NEEDED} draws of each of two methods, they are
*insufficient*.
The hypothesis is that methods which are not told apart have one distribution. Settings are drawn
independently; where all draws have one seed, as those of `robustness-draws` have, intervals and
tests are over settings alone and not over seeds.

{study("draws")}

## All methods together

Friedman's test asks whether seeds agree on any order of the methods, with Kendall's W as the
size of
the agreement. Its p is the share of all orders of the methods within seeds that agree as much or
more: all orders are enumerated where the sums of ranks allow it, and {ranks.ORDERS:,} random ones
are drawn elsewhere (in this simulation {ORDERS:,}). It needs three methods and {SEEDS} seeds.
Nemenyi's test of all pairs of mean ranks is asymptotic: it is shown from {ranks.FEWEST_BLOCKS}
seeds
on, only where Friedman's test has shown that methods differ.

{study("agreement")}

## The other numbers

- **Spread over seeds**: Brown and Forsythe's test (1974) of absolute deviations from the medians,
  with Bonferroni's correction, from {variance.FEWEST} seeds on; the ratio of variances has a
  percentile bootstrap interval. A method at chance is never called steady.
- **Sensitivity to a setting**: the variance of the means over the values of the setting, less what
  seeds add to it, by jackknife pseudo-values (Arvesen 1969). All pairs are tested together by joint
  sign flips of the differences of pseudo-values.
- **Rank**: the 95 % interval of the rank in a bootstrap over seeds, in which methods with the same
  seeds are resampled together; deviations are stretched to the width of Student's interval.
- **Effect size**: Hedges' g of the paired differences. **Probability of improvement**: that a
  run of
  one method beats a run of the other, ties counting half. **Interquartile mean**: the mean of the
  middle half (Agarwal et al. 2021).
- **Performance profile**: the share of runs above every score, with a pointwise bootstrap band.
- **Rank correlation**: Spearman's ρ or Kendall's τ over runs, with a bootstrap that draws methods
  first and their seeds second.
- **Collapse rate**: Wilson's 95 % interval (1927).

## The same runs in several families

The {LEVEL} are kept in every family on its own. Access classes share no runs. A headline comparison
and a sweep over a setting do, and so do a table and a comparison of its methods: a page with
several
families that use the same runs says so.

## What is simulated

*Normal* errors have a standard deviation of one; a *skewed* error is minus an exponential
variable of the same standard deviation. Where *seeds are missing*, every fourth method has only the
first {worlds.FEWEST} seeds and every fourth only the last {worlds.FEWEST + 1}. A student that does
not collapse scores
{100 * worlds.LEVEL:g} % ± {100 * worlds.DEVIATION:g}, one that does {100 * worlds.CHANCE:g} %, so
that a collapse is a fall by {(worlds.LEVEL - worlds.CHANCE) / worlds.DEVIATION:.0f} standard
deviations. Methods collapse independently of each other. Tables have
{", ".join(map(str, studies.METHODS[:-1]))} or {studies.METHODS[-1]} methods. Seeds of the
generators are fixed, so that the page is the same wherever it is made;
`python -m tests.simulations --check` makes it again and compares.
"""
    return "\n\n".join(map(_wrapped, text.strip().split("\n\n"))) + "\n"


def _wrapped(block: str) -> str:
    """A paragraph or a list in lines of at most `WIDTH`; headings and tables as they are."""
    if block.startswith(("#", "|")):
        return block
    return "\n".join(_lines(block))


def _lines(block: str) -> Iterator[str]:
    for item in block.replace("\n- ", "\n\n- ").split("\n\n"):
        indent = "  " if item.startswith("- ") else ""
        text = " ".join(item.split()).replace(" %", KEPT + "%")
        wrapped = textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_on_hyphens=False)
        yield from (line.replace(KEPT, " ") for line in wrapped)
