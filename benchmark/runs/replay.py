"""From a record back to the job that made it, and the verdict on two executions.

A rounding that differs anywhere sends a training down another path, as another seed does. So what
another processor does to a score is judged by what another seed does to it: the difference of two
executions is *within what another processor does* up to the difference that two seeds of the row
exceed in 5 of 100 cases only. That is ISO 5725's repeatability limit, t·s·√2, with s the standard
deviation over the row's n seeds and t Student's 97.5 % quantile at n − 1 degrees of freedom. There
is none where a row has one seed. With few seeds it is wide: at three, t is 4.3.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from scipy import special

from benchmark.errors import UserError
from benchmark.machine.cache import cache_dir
from benchmark.machine.device import available_cores, environment, pick_precision
from benchmark.records.record import SCORED, Environment, LedgerInfo, Record
from benchmark.records.store import Store
from benchmark.runs.job import Context, Job, proxy_checksum
from benchmark.tasks.loaded import dataset
from benchmark.tasks.registry import get_task
from benchmark.teachers.imported import find_imported
from benchmark.teachers.metadata import obtain_metadata
from benchmark.teachers.teacher import Say, find_teacher, teacher_folders
from methods.base.ledger import COUNTS
from methods.base.problem import Access
from methods.base.registry import discover


def revive(
    record: Record,
    results: Path,
    data_dir: Path | None,
    proxy_dir: Path | None,
    method_folders: Sequence[Path],
    say: Say,
    reuse_samples: bool,
    task_folders: Sequence[Path] = (),
) -> tuple[Job, Context]:
    """The job of a record, and the context with the device, precision and threads of its run.

    Args:
        record: the record of a run.
        results: the folder of the record, which may hold its teacher too.
        data_dir: the folder of the datasets.
        proxy_dir: the folder of the proxy images, if they are not the task's.
        method_folders: further folders of methods.
        say: called with sentences on what is ignored and what takes time.
        reuse_samples: whether images of an equal synthesis are taken from the cache.
        task_folders: further folders of tasks.

    Raises:
        UserError: when the run's method, data, proxy images or teacher are not here.
    """
    spec = record.spec
    task = get_task(spec.task)
    known = discover(method_folders)
    if spec.method not in known:
        raise UserError(
            f"the record's method '{spec.method}' is not here; give its folder: --methods-dir"
        )
    data = dataset(task.name, data_dir)
    if data.checksum() != spec.data:
        raise UserError(
            f"the data of task '{task.name}' here ({data.checksum()}) is not the record's "
            f"({spec.data}); give the folder of that data with --data-dir"
        )
    context = Context(
        cache=cache_dir(),
        teacher_folders=teacher_folders(results),
        data_dir=data_dir,
        proxy_dir=proxy_dir,
        method_folders=tuple(method_folders),
        device=record.environment.device,
        precision="bf16" if record.environment.precision == "bf16" else "fp32",
        threads=record.environment.threads,
        reuse_samples=reuse_samples,
        task_folders=tuple(task_folders),
    )
    proxy = proxy_checksum(known[spec.method], task.name, context)
    if proxy != spec.proxy:
        raise UserError(
            f"the proxy images here ({proxy or 'none'}) are not the record's "
            f"({record.method.proxy or 'none'} {spec.proxy}); give the record's with --proxy-dir"
        )
    teacher = (
        find_imported(task, spec.data, record.teacher.checksum, context.teacher_folders, say)
        if record.teacher.origin
        else find_teacher(task, spec.data, context.teacher_folders, say, spec.budget.name)
    )
    if teacher is None or teacher.info.checksum != record.teacher.checksum:
        raise UserError(
            f"the record's teacher {record.teacher.checksum} is not here; put it into "
            f"'{results / 'teachers'}' or the cache"
        )
    if Access.METADATA in known[spec.method].access:
        obtain_metadata(task, data, teacher.build(task), context.teacher_folders, say)
    return Job(spec, record.run_id, record.method.changed, teacher, record.data_note), context


def compare(record: Record, again: Record) -> list[str]:
    """The differences between two executions, a line each; seconds and memory may differ."""
    lines = []
    if record.status != again.status:
        lines.append(f"status: {record.status} then, {again.status} now ({again.reason})")
    # A metric that the record lacks was not computed at the time, which is no difference.
    for name in sorted(record.metrics):
        before, after = record.metrics.get(name), again.metrics.get(name)
        if before != after:
            lines.append(f"{name}: {before} then, {after} now")
    if record.segmentation != again.segmentation:
        lines.append("the confusion matrix differs")
    for name in sorted(record.curves.keys() | again.curves.keys()):
        if record.curves.get(name) != again.curves.get(name):
            lines.append(f"curve {name} differs")
    for name in COUNTS:
        before, after = getattr(record.ledger, name), getattr(again.ledger, name)
        uncounted = name in LedgerInfo.later and not before  # by the program of that time
        if before != after and not uncounted:
            lines.append(f"{name}: {before} then, {after} now")
    return lines


class Difference(NamedTuple):
    """One thing that is not as it was when a record was made, in words."""

    of: Literal["machine", "code", "other"]
    text: str


@dataclass(frozen=True)
class Outlook:
    """What is known of a replay before it starts.

    Attributes:
        differences: what is not as it was.
        seconds: how long the run took then.
        then: where the run was made.
    """

    differences: tuple[Difference, ...]
    seconds: float
    then: Environment

    @property
    def machine(self) -> bool:
        """Whether the bits may differ because of the machine or its libraries."""
        return any(difference.of == "machine" for difference in self.differences)

    @property
    def code(self) -> bool:
        """Whether the code is another one, as far as the record tells."""
        return any(difference.of == "code" for difference in self.differences)


def outlook(record: Record, context: Context, fingerprint: str, version: int) -> Outlook:
    """What differs between a record's run and its replay here, and how long the run took.

    Args:
        record: the record.
        context: where and how it is replayed.
        fingerprint: of the code that replays it.
        version: what the method's version is here with the record's parameters.
    """
    then = record.environment
    device = torch.device(context.device)
    now = environment(device, context.precision, fingerprint)
    found = []
    if now.processor.startswith(f"{then.processor} "):
        text = (
            f"processor: {then.processor} then, of a maker that the record does not tell, "
            f"{now.processor} now"
        )
        found.append(Difference("machine", text))
    elif now.processor != then.processor:
        text = f"processor: {then.processor} then, {now.processor} now"
        found.append(Difference("machine", text))
    found += [
        Difference("machine", f"{name}: {old} then, {new} now")
        for name, old, new in (
            ("torch", then.torch, now.torch),
            ("device", then.device, now.device),
        )
        if old != new
    ]
    if then.precision == "bf16" and pick_precision(device) != "bf16":
        text = "precision: bfloat16 is emulated here, which rounds elsewhere and takes longer"
        found.append(Difference("machine", text))
    if device.type == "cpu" and (cores := available_cores()) < then.threads:
        text = f"threads: {then.threads} then, on {cores} cores now, which takes longer"
        found.append(Difference("other", text))
    if then.python != now.python:
        found.append(Difference("other", f"python: {then.python} then, {now.python} now"))
    if record.spec.method_version != version:
        text = (
            f"method: version {record.spec.method_version} then, {version} now, in which these "
            "parameters mean something else"
        )
        found.append(Difference("code", text))
    if then.fingerprint and then.fingerprint != now.fingerprint:
        found.append(
            Difference(
                "code",
                f"code: {then.fingerprint} ({then.code_version}) then, {now.fingerprint} "
                f"({now.code_version}) now",
            )
        )
    if not then.fingerprint and then.code_version != now.code_version:
        text = (
            f"code: {then.code_version} then, {now.code_version} now; the record is older than "
            "fingerprints, so whether the run uses anything that changed is not known"
        )
        found.append(Difference("code", text))
    return Outlook(tuple(found), sum(record.ledger.seconds.values()), then)


Outcome = Literal["same bits", "within what another processor does", "differs"]


class Verdict(NamedTuple):
    """What a replay showed, and why, in a sentence."""

    outcome: Outcome
    why: str


def judge(record: Record, again: Record, before: Outlook, scores: Sequence[float]) -> Verdict:
    """The verdict on a record and its replay.

    Args:
        record: the record.
        again: what came of the replay.
        before: what was known before it.
        scores: the scores of the record's row, one a seed, the record's among them.
    """
    if not compare(record, again):
        return Verdict("same bits", "status, metrics, costs and curves are equal")
    if not (before.machine or before.code):
        return Verdict("differs", "nothing that the bits depend on does, so the same bits were due")
    if not before.machine:
        return Verdict("differs", "it runs on the record's kind of processor, by other code")
    if record.score is None or again.score is None or again.status not in SCORED:
        if record.status == again.status:
            return Verdict("differs", "neither has a score to compare")
        return Verdict("differs", f"it ended as {record.status} then, and as {again.status} now")
    points = 100 * abs(again.score - record.score)
    limit = repeatability_limit(scores)
    if limit is None:
        why = (
            f"by {points:.2f} points, and there is no other seed of its row here to tell what that "
            "means"
        )
        return Verdict("differs", why)
    count = f"{len(scores)} seeds"
    code = "; the code differs too, which this cannot tell apart" if before.code else ""
    if points <= 100 * limit:
        why = (
            f"the score differs by {points:.2f} points, and that of two seeds by up to "
            f"{100 * limit:.2f} in 95 of 100 cases ({count}){code}"
        )
        return Verdict("within what another processor does", why)
    why = (
        f"by {points:.2f} points, and two seeds by no more than {100 * limit:.2f} in 95 of 100 "
        f"cases ({count}){code}"
    )
    return Verdict("differs", why)


def repeatability_limit(scores: Sequence[float], confidence: float = 0.95) -> float | None:
    """The difference that two runs of a row exceed in 5 of 100 cases: t·s·√2 (ISO 5725).

    Args:
        scores: scores of n runs that differ in their seed alone.
        confidence: the share of pairs that differ by less.

    Returns:
        A number in [0, ∞) in the scores' unit; None when n < 2.
    """
    if len(scores) < 2:
        return None
    quantile = float(special.stdtrit(len(scores) - 1, 0.5 + confidence / 2))
    return quantile * statistics.stdev(scores) * math.sqrt(2)


def scores_of_row(record: Record, store: Store) -> list[float]:
    """Scores of the record and of all that differ from it in their seed alone, one a seed."""

    def row(of: Record) -> str:
        common = {"seed": 0, "suite": "row", "purpose": "table", "tuned": ""}
        return of.spec.model_copy(update=common).run_id(of.teacher.checksum)

    found = {record.spec.seed: record.score} if record.status in SCORED else {}
    wanted, spec = row(record), record.spec
    for path in sorted(store.root.glob(f"*/{spec.task}/{spec.method}/*.json")):
        try:
            other = store.read(path)
        except (OSError, ValueError):
            continue
        if other.status in SCORED and row(other) == wanted:
            found.setdefault(other.spec.seed, other.score)
    return [score for score in found.values() if score is not None]
