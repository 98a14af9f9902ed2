"""Time `dfkd leaderboard` and `dfkd report` on ten thousand made-up records.

``python -m tests.speed.tables [RECORDS] [--output docs/tables.md]`` writes the records into a
temporary folder, runs each command in a process of its own, and exits with 1 when one takes longer,
or more memory, than it may. The seconds are of the clock and need an idle machine; the seconds of
the processors are printed too.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from benchmark.analysis.text import markdown_grid
from benchmark.records.files import write_atomic
from benchmark.records.store import Store
from tests.speed.made_up import synthetic_records

RECORDS = 10_000
MIB_ALLOWED = 1000
SECONDS_ALLOWED = {"leaderboard": 3.0, "report": 10.0}
PAGE = """# Time of the tables

Written by `python -m tests.speed.tables --output docs/tables.md`. Machine: {machine}.

{records:,} made-up records: runs like those of twenty methods, a tenth of them with measured
images, a tenth of sweeps and random draws on two tasks, a tenth of segmentation. Each command is a
process of its own, from reading the records to writing its file.

{table}
"""


class Spent(NamedTuple):
    """The costs of a command: exit code, seconds of the clock and of processors, peak MiB."""

    code: int
    wall: float
    processor: float
    memory: float

    def within(self, seconds: float) -> bool:
        """Whether the command succeeded within so many seconds and the memory it may take."""
        return self.code == 0 and self.wall < seconds and self.memory < MIB_ALLOWED


def measure(command: str, results: Path, output: Path) -> Spent:
    """The costs of a command on the records."""
    arguments = [sys.executable, "-m", "benchmark.cli", command]
    arguments += ["--results", str(results), "--output", str(output)]
    start = time.monotonic()
    child = os.posix_spawn(sys.executable, arguments, os.environ)
    _, status, usage = os.wait4(child, 0)
    kib = 1024 if sys.platform == "darwin" else 1
    return Spent(
        os.waitstatus_to_exitcode(status),
        time.monotonic() - start,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss / kib / 1024,
    )


def main(count: int = RECORDS, page: Path | None = None) -> int:
    """Make records, time the commands, print the figures; 1 when a limit was not kept.

    Args:
        count: how many records.
        page: the Markdown file for the figures, or None.
    """
    missed, rows = False, []
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "results")
        for record in synthetic_records(count):
            store.put(record)
        print(f"{count:,} records")
        for command, allowed in SECONDS_ALLOWED.items():
            output = Path(folder) / "output" / command
            spent = measure(command, store.root, output)
            size = output.stat().st_size / 1e6 if output.exists() else 0.0
            kept = spent.within(allowed)
            missed |= not kept
            print(
                f"dfkd {command}: {spent.wall:.1f} s (may take {allowed:g}; processors "
                f"{spent.processor:.1f} s), {spent.memory:.0f} MiB (may take {MIB_ALLOWED}), "
                f"a file of {size:.1f} MB{'' if kept else '  <- missed'}"
            )
            rows.append(_cells(command, allowed, spent, size))
    if page is not None:
        write_atomic(page, page_text(count, rows).encode())
    return int(missed)


def _cells(command: str, allowed: float, spent: Spent, size: float) -> list[str]:
    numbers = [f"{spent.wall:.1f}", f"{allowed:g}", f"{spent.processor:.1f}"]
    numbers += [f"{spent.memory:.0f}", f"{MIB_ALLOWED:,}", f"{size:.1f}"]
    return [f"`dfkd {command}`", *numbers, "yes" if spent.within(allowed) else "**no**"]


def page_text(count: int, rows: list[list[str]]) -> str:
    """The figures and the limits as a page of Markdown."""
    import torch

    from benchmark.machine.device import environment, pick_precision

    cpu = torch.device("cpu")
    machine = f"{environment(cpu, pick_precision(cpu)).processor}, {os.cpu_count()} cores"
    names = ["command", "seconds", "at most", "of processors", "MiB", "at most", "MB written"]
    table = markdown_grid([*names, "kept"], rows)
    return PAGE.format(machine=machine, records=count, table=table)


def command(
    records: Annotated[int, typer.Argument(min=1, help="How many made-up records.")] = RECORDS,
    output: Annotated[
        Path | None, typer.Option(help="Also write the figures to this file, like docs/tables.md.")
    ] = None,
) -> None:
    """Time the leaderboard and the report; this needs an idle machine."""
    raise typer.Exit(main(records, output))


if __name__ == "__main__":
    typer.run(command)
