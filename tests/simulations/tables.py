"""The studies as tables of Markdown, each with the sentence that its numbers say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import sqrt
from typing import NamedTuple

from benchmark.analysis.statistics.claims import ALPHA
from benchmark.analysis.statistics.sign_flips import EXACT_UP_TO
from benchmark.analysis.text import markdown_grid
from tests.simulations import studies, worlds

APART = (2.0, 5.0)
"""How much better the better half of the methods is, in s.d."""
ADDED_TO = 7
"""Methods of the table to which a row is added."""
RARE = (0.02, 0.05, 0.10, 0.15, 0.30)
"""Shares of runs that collapse, of one method among others that never do."""
RARE_SEEDS = (6, 10, 20)
COVERED = (0.0, 0.05, worlds.COLLAPSE, 0.30)
COVERED_SEEDS = (3, 5, 10, 20)
DRAWN = (8, 16)
DRAWING = (3, 6)
RANKED = (3, 4, 7)
ORDERS = 999
"""Random permutations and orders in a simulation; a table of the benchmark takes more."""


class Section(NamedTuple):
    """A table, and what it says, in sentences made of its numbers."""

    table: str
    says: str


def percent(share: float) -> str:
    """``4.8`` for 0.048, a measured share."""
    return f"{100 * share:.1f}"


def rate(share: float) -> str:
    """``15`` for 0.15, a share that was set."""
    return f"{100 * share:g}"


def noise(count: int, share: float = ALPHA) -> str:
    """Two standard errors of a share over ``count`` tables, in points."""
    return f"{200 * sqrt(share * (1 - share) / count):.1f}"


def error_rates(count: int) -> Section:
    """The familywise error and the power of the test of all pairs."""
    tests = [studies.joint, studies.holm, studies.alone]
    apart = [f"{value:g} s.d." for value in APART]
    names = ["errors", "methods", "seeds", "error, all equal", "uncorrected"]
    names += [f"{name}, {at}" for at in apart for name in ("error", "told", "Holm")]
    body, errors, better, worse, jobs = [], [], 0, [], 0
    for kind, draw in worlds.ERRORS.items():
        for methods in studies.METHODS:
            for n in studies.SEEDS:
                jobs += 1
                same = studies.rates(tests, [0.0] * methods, n, draw, count, jobs)
                errors.append(same[0].error)
                cells = [kind, str(methods), str(n), percent(same[0].error), percent(same[2].error)]
                for value in APART:
                    shifts = worlds.halves(methods, value)
                    ours, holms, _ = studies.rates(tests, shifts, n, draw, count, jobs)
                    errors.append(ours.error)
                    cells += map(percent, (ours.error, ours.power, holms.power))
                    if ours.power >= holms.power:
                        better += 1
                    else:
                        worse.append((kind, holms.power - ours.power))
                body.append(cells)
    says = (
        f"The largest of the {len(errors)} familywise errors is {percent(max(errors))} %, of at "
        f"most {rate(ALPHA)} % that are promised (two standard errors: {noise(count)} points). "
        f"The test tells at least as many unequal pairs apart as Holm's correction in {better} of "
        f"{better + len(worse)} worlds"
    )
    if worse:
        kinds = " and ".join(f"*{kind}*" for kind in dict.fromkeys(kind for kind, _ in worse))
        says += (
            f". Elsewhere, where errors are {kinds}, Holm's tells up to "
            f"{percent(max(by for _, by in worse))} points more apart: a fall to chance in one "
            "seed makes t small even where every seed has the same sign, which is all that p of a "
            "single pair asks for"
        )
    return Section(markdown_grid(names, body, {"errors"}), says + ".")


def further_rows(count: int) -> Section:
    """What a further row does to the verdicts about the others."""
    names = [
        "added row",
        "changed",
        "lost",
        "insufficient",
        "Holm: changed",
        "lost",
        "insufficient",
    ]
    body, ours, holms = [], [], []
    shifts = worlds.halves(ADDED_TO, APART[0])
    for name, further in studies.FURTHER.items():
        joint, holm = studies.added_row(
            [studies.joint, studies.holm], shifts, further, max(studies.SEEDS), count, ADDED_TO
        )
        ours.append(joint)
        holms.append(holm)
        body.append([name, *map(percent, (*joint, *holm))])
    says = (
        f"A table of {ADDED_TO} rows and {max(studies.SEEDS)} seeds, of which half are "
        f"{APART[0]:g} s.d. better, is given one row more. A copy of a row changes no verdict, and "
        "a row that is told apart from all others changes none either, because it steps down "
        f"first: {percent(ours[0].verdicts)} and {percent(ours[1].verdicts)} % of the pairs. A row "
        "that could be equal to others adds questions with answers of their own, for which any "
        "test that keeps the familywise error has to pay: up to "
        f"{percent(max(own.verdicts for own in ours))} % of the pairs. After Holm's correction up "
        f"to {percent(max(own.insufficient for own in holms))} % of the tables become "
        "*insufficient* as a whole."
    )
    return Section(markdown_grid(names, body, {"added row"}), says)


def letters(count: int) -> Section:
    """How often a method that collapses now and then is told apart from one of equal mean."""
    names = ["collapses, %", "seeds", "none met", "told, two", "told, seven", "Holm, seven"]
    body: list[list[str]] = []
    worst, at_issue = 0.0, None
    for share in RARE:
        for n in RARE_SEEDS:
            made = count if n <= EXACT_UP_TO else count // 5  # random flips take much longer
            two = studies.rare_collapse(share, n, made, len(body))
            seven = studies.rare_collapse(share, n, made, 100 + len(body), 7)
            worst = max(worst, two.joint, seven.joint)
            if (share, n) == (worlds.COLLAPSE, 10):
                at_issue = seven
            body.append(
                [
                    rate(share),
                    str(n),
                    *map(percent, (two.unmet, two.joint, seven.joint, seven.holm)),
                ]
            )
    assert at_issue is not None
    says = (
        f"With a collapse rate of {rate(worlds.COLLAPSE)} % and ten seeds, "
        f"{percent(at_issue.joint)} % of the tables tell the collapsing method apart from one of "
        f"equal mean ({percent(at_issue.holm)} % after Holm's correction), and in "
        f"{percent(at_issue.unmet)} % of them no collapse was met. The worst row has "
        f"{percent(worst)} %. Such a letter is right about the runs that were made, and wrong "
        "about the means: no test of seeds that met no collapse can know of one."
    )
    return Section(markdown_grid(names, body, set()), says)


def coverages(count: int) -> Section:
    """How often intervals hold the mean where some runs collapse."""
    names = ["collapses, %", *(f"interval, n = {n}" for n in COVERED_SEEDS)]
    names += [f"bound, n = {n}" for n in COVERED_SEEDS]
    body: list[list[str]] = []
    at = []
    for share in COVERED:
        found = [studies.coverage(share, n, count, 100 * len(body) + n) for n in COVERED_SEEDS]
        if share == worlds.COLLAPSE:
            at = found
        bounds = [percent(own.bound) for own in found]
        body.append([rate(share), *(percent(own.interval) for own in found), *bounds])
        assert all(own.interval == own.uncut for own in found)
    held = ", ".join(
        f"{percent(own.interval)} % at n = {n}" for n, own in zip(COVERED_SEEDS, at, strict=True)
    )
    says = (
        f"Where {rate(worlds.COLLAPSE)} % of the runs collapse, the 95 % interval of the mean "
        f"holds the mean in {held}. What is missing are the samples that met no collapse, or too "
        "few. Cutting intervals to what a score can be changed none of these shares. The *bound* "
        "is the upper end of Wilson's 95 % interval of the collapse rate: the share of samples in "
        "which it is no lower than the rate."
    )
    return Section(markdown_grid(names, body, set()), says)


def draws(count: int) -> Section:
    """The familywise error of joint permutations of independent draws."""
    names = ["robustness scores of the draws", "methods", *(f"{n} draws" for n in DRAWN)]
    body: list[list[str]] = []
    kept: list[float] = []
    broken: list[float] = []
    for world in studies.DRAWS:
        for methods in DRAWING:
            shares: list[float] = []
            for n in DRAWN:
                seed = len(kept) + len(broken) + len(shares)
                shares.append(studies.draws(world, methods, n, count, seed, ORDERS))
            (broken if world == studies.MEANS_ALONE else kept).extend(shares)
            body.append([world, str(methods), *map(percent, shares)])
    says = (
        "The table has the share of tables in which methods of equal mean robustness are told "
        f"apart. Where methods of equal mean have one distribution, the largest of {len(kept)} "
        f"shares is {percent(max(kept))} % (two standard errors at {rate(ALPHA)} %: "
        f"{noise(count)} points). Where only their means are equal, it is "
        f"{percent(max(broken))} %: such a claim is one of distributions, as letters are."
    )
    return Section(markdown_grid(names, body, {names[0]}), says)


def agreement(count: int) -> Section:
    """The error of Friedman's test."""
    names = ["methods", "seeds", "by orders", "by χ²"]
    body = []
    for methods in RANKED:
        for n in studies.SEEDS:
            orders, chi = studies.friedman(methods, n, count, methods, ORDERS)
            body.append([str(methods), str(n), percent(orders), percent(chi)])
    says = (
        "The share of tables of equal methods in which they are said to differ: by the orders "
        "that the benchmark uses, and by the χ² approximation that it does not use."
    )
    return Section(markdown_grid(names, body, set()), says)


STUDIES: dict[str, tuple[Callable[[int], Section], float]] = {
    "error_rates": (error_rates, 1.0),
    "further_rows": (further_rows, 0.5),
    "letters": (letters, 1.0),
    "coverages": (coverages, 1.0),
    "draws": (draws, 0.5),
    "agreement": (agreement, 0.5),
}
"""Every study, and the share of the asked number of tables that it makes."""


def sections(count: int) -> Iterator[tuple[str, Section]]:
    """Every study by its name, of about ``count`` made-up tables a row."""
    for name, (study, share) in STUDIES.items():
        yield name, study(max(10, round(count * share)))
