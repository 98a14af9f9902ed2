"""``dfkd watch``: the ranked tables while a grid runs, in any terminal that sees the records."""

from __future__ import annotations

import time
from pathlib import Path
from typing import get_args

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from benchmark.analysis.leaderboard.tables import tables
from benchmark.analysis.leaderboard.terminal import drawn_table
from benchmark.cli.display import label, outcome
from benchmark.errors import UserError
from benchmark.records.record import SCORED, UNSUCCESSFUL, Record
from benchmark.records.spec import Purpose
from benchmark.records.store import Scan, Store
from methods.settings.params import nearest


class WatchedStore(Store):
    """A store that reads a file again only when it has changed."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._known: dict[Path, tuple[tuple[int, int], Record]] = {}

    def read(self, path: Path) -> Record:
        status = path.stat()
        stamp = (status.st_mtime_ns, status.st_size)
        if path not in self._known or self._known[path][0] != stamp:
            self._known[path] = (stamp, super().read(path))
        return self._known[path][1]


def watch(results: Path, suite: str | None, every: float, once: bool, console: Console) -> None:
    """Show the tables again and again until Ctrl-C.

    Args:
        results: the folder of the records.
        suite: the suite whose runs are shown; None for all runs.
        every: seconds between two readings of the folder.
        once: print the tables a single time instead.
        console: where the tables are printed.

    Raises:
        UserError: when there is no such folder, or no run of the suite in it.
    """
    store = WatchedStore.existing(results)
    if suite is not None:
        scan = store.scan()
        names = sorted({record.spec.suite for record in scan.records} | scan.planned.keys())
        if suite not in names:
            raise UserError(f"'{results}' has no run of a suite '{suite}'; {nearest(suite, names)}")
    if once:
        console.print(view(store.scan(), suite))
        return
    try:
        with Live(console=console, auto_refresh=False) as live:
            while True:
                live.update(view(store.scan(), suite), refresh=True)
                time.sleep(every)
    except KeyboardInterrupt:
        return


def view(scan: Scan, suite: str | None) -> RenderableType:
    """How many runs are done, and their tables; the table that changed last comes first."""
    planned = {name: runs for name, runs in scan.planned.items() if suite in (None, name)}
    adopted: set[str] = set().union(*planned.values())
    records = [
        record
        for record in scan.records
        if suite in (None, record.spec.suite)
        # What another suite has finished is not run again.
        or (record.run_id in adopted and record.status in SCORED)
    ]
    own = Scan(records, planned=planned)
    # Trials are not ranked: nobody is to see test scores while settings are chosen.
    purposes = [purpose for purpose in get_args(Purpose) if purpose != "tune"]
    found = [table for purpose in purposes for table in tables(own, purpose)]
    found.sort(
        key=lambda table: max(r.created for row in table.rows for r in row.records), reverse=True
    )
    waiting = "a row has its rank when all its runs have ended"
    note = [Text(waiting, style="dim")] if missing(own) else []
    if scan.unreadable:
        note.append(Text(f"{len(scan.unreadable)} unreadable file(s) left out", style="yellow"))
    return Group(Text(progress(own)), *note, *(drawn_table(table) for table in found))


def progress(scan: Scan) -> str:
    """``12 of 30 runs, 1 failed, 18 missing; last: mnist rdskd seed 3, 0.9712 (teacher 0.9927)``.

    A run that spent more than its budget counts as failed, an interrupted one as missing.
    """
    ended = [record for record in scan.records if record.status != "interrupted"]
    done, absent = {record.run_id for record in ended}, missing(scan)
    failed = len({record.run_id for record in ended if record.status in UNSUCCESSFUL})
    counts = [(failed, "failed"), (len(absent), "missing")]
    text = f"{len(done)} of {len(done | absent)} runs"
    text += "".join(f", {count} {what}" for count, what in counts if count)
    if not ended:
        return text
    last = max(ended, key=lambda record: record.created)
    spec = last.spec
    name = label(spec.task, spec.method, last.method.changed, spec.budget, spec.seed)
    return f"{text}; last: {name}, {outcome(last)}"


def missing(scan: Scan) -> set[str]:
    """The ids of the runs that are planned, or were begun, and have not ended."""
    wanted = {record.run_id for record in scan.records}.union(*scan.planned.values())
    return wanted - {record.run_id for record in scan.records if record.status != "interrupted"}
