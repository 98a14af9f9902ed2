"""``dfkd replay``: the run of a record executed again and compared with the record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from benchmark.cli.display import GridDisplay, job_label
from benchmark.records.store import Store
from benchmark.runs.replay import compare, revive
from benchmark.runs.trial import execute
from benchmark.tasks.registry import look_in


def replay(
    run_id: str,
    results: Path,
    data_dir: Path | None,
    method_folders: Sequence[Path],
    console: Console,
    proxy_dir: Path | None = None,
    task_folders: Sequence[Path] = (),
) -> int:
    """Execute a record's run again without cached images; 0 on a match, 1 on a difference."""
    look_in(task_folders)
    record = Store(results).find(run_id)
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
    console.print(f"replaying {job_label(job)}", highlight=False)
    display = GridDisplay([job], 0, console)
    with display:
        again = execute(job, context, lambda *event: display.report(job.run_id, *event))
        display.finished(again)
    differences = compare(record, again)
    if not differences:
        console.print(
            f"[green]match[/green]: status, metrics, costs and curves of {record.run_id} are equal"
        )
        return 0
    console.print(f"[yellow]different[/yellow]: {len(differences)} values of {record.run_id}")
    for line in differences[:12]:
        console.print(f"  {escape(line)}", highlight=False)
    then, now = record.environment, again.environment
    for name in type(then).model_fields:
        old, new = getattr(then, name), getattr(now, name)
        if old and old != new:  # records older than fingerprints have none
            console.print(f"  made with {name} {old}, replayed with {new}")
    return 1
