"""Findings as sentences: each has its verdict, its p or interval, and its n."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from benchmark.analysis.leaderboard.rows import CONTROLS, Row
from benchmark.analysis.leaderboard.work import work_unit
from benchmark.analysis.pages.findings import ClassFindings, Names, Told
from benchmark.analysis.pages.wording import are, listed, ranged
from benchmark.analysis.statistics.claims import about_seeds
from benchmark.analysis.statistics.intervals import collapse_percents
from benchmark.analysis.statistics.sign_flips import seeds_to_decide
from benchmark.analysis.text import counted
from benchmark.records.record import Record


def tally(found: ClassFindings) -> str:
    """How many pairs got which verdict, in one sentence."""
    total = len(found.told)
    counts = [
        (found.verdicts["shown"], "*shown* to differ"),
        (found.verdicts["not shown"], "*not shown* to differ"),
        (found.verdicts["insufficient"], "*insufficient*"),
    ]
    present = [(count, words) for count, words in counts if count]
    if len(present) == 1:
        words = present[0][1]
        subject = "The only pair is" if total == 1 else f"All {total} pairs are"
        return f"{subject} {words}{_too_few(found.told)}."
    parts = [f"{count} {are(count)} {words}" for count, words in present]
    return f"Of {total} pairs, {listed(parts)}{_too_few(found.told)}."


def _too_few(told: Sequence[Told]) -> str:
    """Why pairs are insufficient; empty if none is."""
    seeds = [one.pair.n for one in told if one.pair.claim.verdict == "insufficient"]
    if not seeds:
        return ""
    common = counted(max(seeds), "common seed")
    if min(seeds) < max(seeds):
        common = f"{min(seeds)} to {common}"
    return f" ({common}; fewer than {seeds_to_decide()} can show nothing)"


def standing_sentences(found: ClassFindings, names: Names) -> list[str]:
    """Who is better than all others, and who than the controls; nothing where nothing can be."""
    if not found.decided:
        return []
    sentences = []
    if len(found.rows) > 2:
        best = [row for row in found.rows if len(found.beaten_by(row)) == len(found.rows) - 1]
        sentences.append(
            f"**{names[best[0]]}** is shown to be better than every other row."
            if best
            else "No row is shown to be better than every other."
        )
    controls = [row for row in found.rows if row.method in CONTROLS]
    real = [row for row in found.rows if row.method not in CONTROLS]
    if controls and real:
        above = [row for row in real if found.beaten_by(row) >= set(controls)]
        others = [names[row] for row in real if row not in above]
        what = f"every control ({listed([names[row] for row in controls])})"
        what = f"the control ({names[controls[0]]})" if len(controls) == 1 else what
        shown = listed([names[row] for row in above]) or "none"
        rest = f"; not shown to be: {listed(others)}" if others else ""
        sentences.append(f"Shown to be better than {what}: {shown}{rest}.")
    return sentences


def pair_lines(told: Sequence[Told], names: Names) -> list[str]:
    """Every pair once, as items of a list: by winner what is shown, then the rest."""
    won: dict[Row, list[Told]] = defaultdict(list)
    for one in told:
        if one.winner is not None:
            won[one.winner].append(one)
    lines = [
        f"- **{names[winner]}** is better than "
        + listed([f"{names[one.loser]} ({one.numbers})" for one in own if one.loser is not None])
        + "."
        for winner, own in won.items()
    ]
    open_ones = [one for one in told if one.pair.claim.verdict == "not shown"]
    if open_ones:
        texts = [
            f"{names[one.first]} or {names[one.second]} ({one.numbers}; {_needed(one)})"
            for one in open_ones
        ]
        lines.append(f"- Not shown: {'; '.join(texts)}.")
    few: dict[int, list[str]] = defaultdict(list)
    for one in told:
        if one.pair.claim.verdict == "insufficient":
            few[one.pair.n].append(f"{names[one.first]} or {names[one.second]}")
    lines += [f"- Insufficient (n = {n}): {'; '.join(own)}." for n, own in sorted(few.items())]
    return lines


def _needed(one: Told) -> str:
    needed = one.pair.claim.seeds_needed
    return f"it would take {about_seeds(needed)}"


def tuning_lines(found: ClassFindings, names: Names) -> list[str]:
    """Whether tuning helped each method that has a tuned and a published row."""
    texts = []
    for one in found.told:
        if (one.first.method, one.first.proxy) != (one.second.method, one.second.proxy):
            continue
        tuned = [row for row in (one.first, one.second) if row.tuned]
        if len(tuned) != 1:
            continue
        words: str = one.pair.claim.verdict
        if one.winner is not None:
            words = "better" if one.winner is tuned[0] else "worse"
        texts.append(f"{tuned[0].name} {words} ({one.numbers})")
    kept = [row.name for row in found.rows if row.choice and not row.changed]
    lines = [f"- Tuned, against the published setting: {'; '.join(texts)}."] if texts else []
    if kept:
        lines.append(f"- Tuning chose the published setting of {listed(kept)}.")
    return lines


def collapse_sentences(rows: Sequence[Row], names: Names) -> list[str]:
    """How many students of which rows ended at chance, and how often that may be."""
    finished = [row for row in rows if row.scored]
    some = [row for row in finished if row.collapsed]
    sentences = [
        f"{row.collapsed} of {counted(len(row.scored), 'student')} of {names[row]} ended at chance "
        f"(the rate is {_rate(row.collapsed, len(row.scored))})."
        for row in some
    ]
    clean: dict[int, list[str]] = defaultdict(list)
    for row in finished:
        if not row.collapsed:
            clean[len(row.scored)].append(names[row])
    sentences += [
        f"No student of {listed(own, 'or')} did (0 of {n} each: at most {_bound(0, n)})."
        if some
        else f"No student of {listed(own, 'or')} ended at chance (0 of {n} each: at most "
        f"{_bound(0, n)})."
        for n, own in sorted(clean.items(), reverse=True)
    ]
    return sentences


def _rate(collapsed: int, runs: int) -> str:
    low, high = collapse_percents(collapsed, runs)
    return f"{low} to {high} %"


def _bound(collapsed: int, runs: int) -> str:
    return f"{collapse_percents(collapsed, runs)[1]} %"


def cost_sentences(rows: Sequence[Row], names: Names) -> list[str]:
    """Work and teacher queries of a run, the cheapest first."""
    finished = [row for row in rows if row.scored]
    sentences = []
    unit = work_unit(row.work for row in finished)
    known = sorted((row for row in finished if row.work is not None), key=lambda r: r.work or 0.0)
    if unit is not None:
        texts = [f"{names[row]} {unit.cell(row.work)}" for row in known]
        sentences.append(f"Work of a run, in {unit.name}: {', '.join(texts)}.")
    without = [names[row] for row in finished if row.work is None]
    if without and known:
        sentences.append(f"Work was not recorded for {listed(without)}.")
    elif without:
        sentences.append("Work was not recorded for any of these runs.")
    queries: dict[int, list[str]] = defaultdict(list)
    for row in finished:
        if row.queries is not None:
            queries[round(row.queries)].append(names[row])
    texts = [f"{count:,} ({', '.join(own)})" for count, own in sorted(queries.items())]
    if texts:
        sentences.append(f"Teacher queries of a run: {'; '.join(texts)}.")
    return sentences


def programs_sentence(records: Sequence[Record]) -> str:
    """Which programs made the runs, by fingerprint, the most frequent first."""
    counts = Counter(record.environment.fingerprint for record in records)
    unknown = counts.pop("", 0)
    known = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    if not known:
        return f"The code that made them is not recorded ({counted(unknown, 'run')})."
    texts = ", ".join(f"`{name[:8]}` {count:,}" for name, count in known)
    made = f"{sum(count for _, count in known):,} of them" if unknown else "them"
    rest = f"; the code of the other {unknown:,} is not recorded" if unknown else ""
    return f"Code with {counted(len(known), 'fingerprint')} made {made} ({texts}){rest}."


def seeds_words(records: Iterable[Record]) -> str:
    """``seeds 0 to 9``."""
    seeds = [record.spec.seed for record in records]
    return f"{'seed' if len(set(seeds)) == 1 else 'seeds'} {ranged(seeds)}"
