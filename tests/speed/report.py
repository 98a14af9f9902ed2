"""The measurements as a page of Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.speed.clock import Timing, apart

Growth = tuple[str, Sequence[tuple[str, ...]]]
"""A heading, with the names of the columns behind a colon, and the rows."""

INTRODUCTION = """# Performance

Written by `make bench`. *Ours* is what a run executes; *plain* is the same algorithm as the RDSKD
paper reads: eager float32, layer by layer, the default allocator, and for the student a fresh batch
of the generator's images at every step, in a process of its own without our memory settings. Both
were timed in turn, after a warm-up, from equal weights and latents; *apart* is the largest relative
difference of their losses (the student's: of its first loss on one batch). *Share of the peak*
counts the operations **as written** against the fastest large matrix product of this machine; it
can pass 100 %, because fewer are executed: a convolution of an upsampled image needs a quarter of
them (`methods/acceleration/batch_last.py`).
Absolute times belong to one machine; quote the ratios.
"""


@dataclass(frozen=True)
class Row:
    """The times of one piece of work, ours and plain."""

    name: str
    timings: tuple[Timing, Timing]
    flops: float | None
    peak: float
    difference: float | None = None

    def cells(self) -> tuple[str, ...]:
        """The row of the table."""
        ours, plain = (timing.median for timing in self.timings)
        share = "" if self.flops is None else f"{100 * self.flops / ours / self.peak:.0f} %"
        difference = apart(self.timings) if self.difference is None else self.difference
        ratio = f"{plain / ours:.1f}×"
        return self.name, seconds(ours), seconds(plain), ratio, f"{difference:.1e}", share


@dataclass(frozen=True)
class Report:
    """All measurements."""

    machine: str
    rows: list[Row]
    growth: list[Growth]
    notes: list[str]


def seconds(value: float) -> str:
    """A time in seconds, minutes or hours, to about three digits."""
    if value >= 120:
        return f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:.1f} h"
    return f"{value:.3f}" if value < 1 else f"{value:.2f}"


def markdown(report: Report) -> str:
    """The page ``docs/performance.md``."""
    head = ("step", "ours, s", "plain, s", "ratio", "apart", "share of the peak")
    parts = [INTRODUCTION, f"Machine: {report.machine}.\n"]
    parts.append(table(head, [row.cells() for row in report.rows]))
    for heading, rows in report.growth:
        title, _, columns = heading.partition(": ")
        parts.append(f"## {title}\n")
        parts.append(table(tuple((columns or f"{title}, cost").split(", ")), rows))
    parts.extend(f"{note}\n" for note in report.notes)
    return "\n".join(parts)


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table, numbers to the right."""
    align = ["---"] + ["---:"] * (len(head) - 1)
    lines = [head, tuple(align), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
