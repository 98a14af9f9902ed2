"""The end of a tuning: the best trial of every method, written to a file and printed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from benchmark.analysis.tuning import Trial, Tuning, tunings
from benchmark.cli.tables import plain_table
from benchmark.errors import UserError
from benchmark.grid.agenda import Agenda
from benchmark.records.files import write_atomic
from benchmark.records.store import Store
from benchmark.suites.choices import FILE, By, Choice, Choices, load_choices
from benchmark.suites.plan import PlannedRun
from methods.settings.params import format_value

WORDS: dict[By, str] = {
    "agreement": "the student's agreement with the teacher on synthetic images",
    "dev": "the student's score on the development split",
}


@dataclass(frozen=True)
class Choosing:
    """How trials are compared, and the file of the choice; by default beside their records."""

    by: By = "agreement"
    file: Path | None = None


def conclude(agenda: Agenda, store: Store, choosing: Choosing, console: Console) -> int:
    """Choose for every task of an agenda, write the files, print the tables; the exit code.

    It is 1 if nothing could be chosen for some method that can run on the task.
    """
    groups: dict[str, list[tuple[PlannedRun, str]]] = defaultdict(list)
    for run, run_id in agenda.planned:
        groups[run.suite].append((run, run_id))
    records = [record for record in store.scan().records if record.run_id in agenda.ids]
    code = 0
    for folder, planned in groups.items():
        found = tunings(trials_of(planned), records, choosing.by)
        path = choosing.file or store.root / folder / FILE
        teachers = {record.run_id: record.teacher.checksum for record in records}
        checksums = {teachers[run_id] for _, run_id in planned if run_id in teachers}
        first = planned[0][0]
        chosen = {t.method: t.choice() for t in found if not t.why_not}
        if chosen:
            choices = Choices(
                task=first.task.name,
                budget=first.budget.name,
                by=choosing.by,
                seeds=sorted({run.seed for run, _ in planned}),
                teacher=min(checksums),
                methods=chosen,
            )
            _write(choices, path, console)
        _print(found, first, choosing.by, console)
        console.print(f"records: {store.root / folder}", soft_wrap=True, highlight=False)
        console.print(f"choices: {path if chosen else 'none'}", soft_wrap=True, highlight=False)
        code = max(code, any(tuning.why_not and not tuning.skipped for tuning in found))
    return int(code)


def trials_of(planned: Iterable[tuple[PlannedRun, str]]) -> list[Trial]:
    """The trials of planned runs, each given with its run id."""
    groups: dict[tuple[str, int], list[tuple[PlannedRun, str]]] = defaultdict(list)
    for run, run_id in planned:
        groups[run.method.name, run.trial].append((run, run_id))
    return [
        Trial(
            method=method,
            version=own[0][0].method.version_of(own[0][0].params),
            number=number,
            params=dict(own[0][0].changed),
            runs=tuple(run_id for _, run_id in sorted(own, key=lambda pair: pair[0].seed)),
        )
        for (method, number), own in groups.items()
    ]


def _write(choices: Choices, path: Path, console: Console) -> None:
    """Write the choices; older ones of other methods stay if they were made the same way."""
    if path.is_file():
        try:
            older = load_choices(path, choices.task, choices.budget)
        except UserError:
            older = None
        merged = choices if older is None else choices.with_those_of(older)
        if merged is choices:
            console.print(f"replaced: '{path}', whose choices were made otherwise", soft_wrap=True)
        choices = merged
    write_atomic(path, choices.to_toml().encode())


def _print(found: Sequence[Tuning], first: PlannedRun, by: By, console: Console) -> None:
    table = plain_table(
        f"{first.task.name}, budget {first.budget.name}",
        "method",
        "trials",
        "failed",
        "published",
        "chosen",
        "trial",
    )
    notes = []
    for tuning in found:
        failed = str(len(tuning.failed)) if tuning.failed else ""
        published = f"{tuning.scores[0]:.4f}" if 0 in tuning.scores else "–"
        cells = [tuning.method, str(len(tuning.trials)), failed, published]
        if tuning.why_not:
            table.add_row(*cells, "–", "–")
            notes.append(f"{tuning.method}: nothing chosen, because {tuning.why_not}")
        else:
            choice = tuning.choice()
            table.add_row(*cells, f"{choice.score:.4f}", str(choice.chosen))
            notes.append(f"{tuning.method}: {_settings(choice)}")
    console.print(table)
    console.print(f"Chosen by {WORDS[by]}, of which the table has means.", soft_wrap=True)
    for note in notes:
        console.print(escape(note), soft_wrap=True, highlight=False)


def _settings(choice: Choice) -> str:
    settings = ", ".join(f"{name}={format_value(v)}" for name, v in sorted(choice.params.items()))
    if choice.trials == 1:
        return ", ".join(filter(None, [settings, "as published (nothing to tune)"]))
    if choice.chosen == 0:
        return ", ".join(filter(None, [settings, "as published"]))
    return settings
