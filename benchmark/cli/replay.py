"""``dfkd replay``: the run of a record executed again and compared with the record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from benchmark.cli.display import GridDisplay, duration, job_label
from benchmark.records.store import Store
from benchmark.runs.code import code_of
from benchmark.runs.replay import (
    Outcome,
    Outlook,
    compare,
    judge,
    outlook,
    revive,
    scores_of_row,
)
from benchmark.runs.trial import execute
from benchmark.tasks.registry import look_in
from methods.base.registry import discover

EXIT_CODES: dict[Outcome, int] = {
    "same bits": 0,
    "differs": 1,
    "within what another processor does": 3,
}
STYLES: dict[Outcome, str] = {
    "same bits": "green",
    "differs": "red",
    "within what another processor does": "yellow",
}
SHOWN = 12
"""How many of the values that differ are printed."""


def replay(
    run_id: str,
    results: Path,
    data_dir: Path | None,
    method_folders: Sequence[Path],
    console: Console,
    proxy_dir: Path | None = None,
    task_folders: Sequence[Path] = (),
    dry_run: bool = False,
) -> int:
    """Execute a record's run again without cached images; the exit code of the verdict.

    With ``dry_run`` only what differs and how long the run took are printed, and the code is 0.
    """
    look_in(task_folders)
    store = Store(results)
    record = store.find(run_id)
    job, context = revive(
        record,
        results,
        data_dir,
        proxy_dir,
        method_folders,
        console.print,
        reuse_samples=False,
        task_folders=task_folders,
    )
    method = discover(context.method_folders)[record.spec.method]
    version = method.version_of(method.Params(**record.spec.params))
    before = outlook(record, context, code_of(record.spec, method), version)
    console.print(f"replaying {job_label(job)}", highlight=False)
    _announce(before, console)
    if dry_run:
        return 0
    display = GridDisplay([job], 0, console)
    with display:
        again = execute(job, context, lambda *event: display.report(job.run_id, *event))
        display.finished(again)
    verdict = judge(record, again, before, scores_of_row(record, store))
    differences = compare(record, again)
    for line in differences[:SHOWN]:
        console.print(f"  {escape(line)}", highlight=False)
    if len(differences) > SHOWN:
        console.print(f"  and {len(differences) - SHOWN} values more", highlight=False)
    style = STYLES[verdict.outcome]
    console.print(
        f"[{style}]{verdict.outcome}[/{style}]: {escape(verdict.why)} ({record.run_id})",
        highlight=False,
        soft_wrap=True,
    )
    return EXIT_CODES[verdict.outcome]


def _announce(before: Outlook, console: Console) -> None:
    """Print what is not as it was, and how long the run took."""
    for difference in before.differences:
        console.print(f"  {escape(difference.text)}", highlight=False, soft_wrap=True)
    if not (before.machine or before.code):
        expected = "nothing differs that the bits depend on: the same bits are due"
    elif not before.machine:
        expected = (
            "the machine is of the record's kind, the code is not: other bits show what changed"
        )
    else:
        expected = "other bits are likely, and a score like that of another seed"
    console.print(f"  {expected}", highlight=False, soft_wrap=True)
    then = before.then
    where = f"{then.device}, {then.processor}, {then.threads} thread" + "s" * (then.threads != 1)
    took = f"it took {duration(before.seconds)} then ({where})"
    same = "" if before.machine else ", and about as long here if nothing else runs"
    console.print(f"  {took}{same}", highlight=False, soft_wrap=True)
