"""What stands above and below a ranked table: everything its numbers were obtained with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmark.analysis.frame import METRIC_NAMES, work_of
from benchmark.analysis.leaderboard.headline import OF_THE_SUITE, headline_setting
from benchmark.analysis.leaderboard.tables import Table
from benchmark.analysis.statistics.intervals import NOT_COVERED
from benchmark.analysis.text import counted
from benchmark.records.record import Record
from methods.settings.schedule import PAPER

SCHEDULES = {
    "cosine": "cosine decay",
    "constant": "constant rate",
    "step": "divided by ten after four fifths",
    "thirds": "divided by ten after each third",
    "fifths": "divided by ten after one and after two fifths",
    "double-fifths": "divided by ten after two and after four fifths",
}
VALIDATION_LISTS = {
    "camvid": "the list *val* of CamVid",
    "voc2012": "the list *val* of PASCAL VOC 2012",
}
"""Data sets that score students on what they call validation images, by the first word of their
tasks' names. Records do not tell; all other tasks score on the test images of their data set."""

OF_A_PAPER = (
    " At this budget each method has the schedule of its own paper, or all rows of a suite that "
    "reproduces a paper have that paper's: a table is of one schedule, and its scores compare with "
    "those of no other table."
)

SMALL_SAMPLES = f"{NOT_COVERED} The bound stands behind ≤ in the column *collapsed*."


def caption(table: Table) -> str:
    """Budget, teacher, data, machines and code behind the numbers, and what the runs lack."""
    records = [record for row in table.rows for record in row.records]
    sentences = (
        _budget(table, records),
        _teacher(table, records),
        f"Data: {table.data_note}." if table.data_note else "",
        _proxies(records),
        _scored_on(table),
        _machines(records),
        _unpublished(table),
        _code(table),
        _lacking(table),
        _missing(table),
    )
    return " ".join(filter(None, sentences))


def _budget(table: Table, records: Sequence[Record]) -> str:
    b = table.budget
    images = f"a bank of {b.images:,} images" if b.images else "fresh images at every student step"
    inverting = [r.spec.budget for r in records if r.spec.budget.inversion_images]
    pixels = "".join(
        f"; methods that optimise pixels: {i.inversion_images:,} images, "
        f"{i.inversion_steps:,} steps each"
        for i in inverting[:1]
    )
    whose = f", the schedule of {b.schedule}" if b.schedule else ""
    return (
        f"Budget `{b.name}`{whose}: {b.synthesis_steps:,} synthesis steps of {b.synthesis_batch} "
        f"images, {images}{pixels}, {b.student_steps:,} student steps of {b.student_batch} images "
        f"({b.student_optimizer.capitalize()} {b.student_lr:g}, {SCHEDULES[b.student_schedule]})."
        f"{OF_A_PAPER if b.name == PAPER else ''}"
    )


def _teacher(table: Table, records: Sequence[Record]) -> str:
    score = f"{METRIC_NAMES[table.metric]} {100 * table.teacher_score:.2f} %"
    origins = sorted({record.teacher.origin for record in records} - {""})
    return f"Teacher `{table.teacher}`, {', '.join([score, *origins])}."


def _proxies(records: Sequence[Record]) -> str:
    used = sorted({(r.method.proxy, r.spec.proxy) for r in records} - {("", "")})
    names = ", ".join(f"{name} `{checksum}`" for name, checksum in used)
    return f"Proxy images: {names}." if used else ""


def _scored_on(table: Table) -> str:
    """Which images give the scores."""
    images = VALIDATION_LISTS.get(table.task.partition("-")[0])
    return (
        f"Scores are of {f'{images}, which serves as test set' if images else 'the test images'}."
    )


def _machines(records: Sequence[Record]) -> str:
    devices = " and ".join(sorted({r.environment.device for r in records}))
    counts = sorted({r.environment.threads for r in records})
    threads = "1 thread" if counts == [1] else f"{'/'.join(map(str, counts))} threads"
    return f"Run on: {devices}, {threads} a run."


def _unpublished(table: Table) -> str:
    given = any(headline_setting(row).startswith(OF_THE_SUITE) for row in table.headline)
    return (
        f"*{OF_THE_SUITE.capitalize()}*: the method has no run as published here; its suite's "
        "setting that departs least is shown."
        if given
        else ""
    )


def _code(table: Table) -> str:
    """How many programs made the runs of a row, and what to do where it is not one."""
    programs = [row.programs for row in table.rows if row.programs]
    one = sum(len(own) == 1 and own != {""} for own in programs)
    counts = {
        "all runs of a row made by one program": one,
        "by several programs (marked)": sum(len(own) > 1 for own in programs),
        "by programs that are not recorded": sum(own == {""} for own in programs),
    }
    shown = [f"{what}: {counted(count, 'row')}" for what, count in counts.items() if count]
    if not shown:
        return ""
    text = "; ".join(shown)
    again = "`dfkd run --overwrite stale` makes again what the present code did not make"
    return f"{text[0].upper()}{text[1:]}{'' if one == len(programs) else f'; {again}'}."


LATER: dict[str, Callable[[Record, str], bool]] = {
    "the program": lambda record, _: bool(record.environment.fingerprint),
    "work": lambda record, _: work_of(record) is not None,
    "the score on the development split": lambda record, metric: f"{metric}_dev" in record.metrics,
}
"""What records did not always keep, each with the test whether a record has it."""


def _lacking(table: Table) -> str:
    """How many finished runs were made before something was recorded."""
    runs = [record for row in table.rows for record in row.scored]
    lacking = {
        what: count
        for what, has in LATER.items()
        if (count := sum(not has(record, table.metric) for record in runs))
    }
    counts = ", ".join(f"{what} of {count}" for what, count in lacking.items())
    return f"Not recorded, of {len(runs)} finished runs: {counts}." if counts else ""


def _missing(table: Table) -> str:
    absent = ", ".join(
        f"{name} ({counted(count, 'run')})" for name, count in sorted(table.missing.items())
    )
    return f"Planned, but without any record: {absent}." if absent else ""
