"""Every run as compact JSON, which the script of the report's page draws when asked.

Parts that runs share (specification, method, teacher, environment, names, steps of curves) are
written once and referred to by number, so that ten thousand runs take about twenty megabytes.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from benchmark.records.canonical import canonical
from benchmark.records.record import Record, SegmentationInfo
from methods.settings.params import format_value

POINTS, FEW_POINTS = 200, 24
"""Points to which a curve is thinned, in a page of up to `MANY` runs and in a page of more."""
MANY = 1000
PLAIN = frozenset({str, int, float, bool, type(None)})


class _Shared:
    """Values that many runs share, each kept once."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._places: dict[Hashable, int] = {}

    def place_of(self, key: Hashable, made: Callable[[], Any]) -> int:
        """The number of a JSON value; equal keys share one value, which is made once."""
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = len(self.values)
            self.values.append(made())
        return place

    def place_of_part(self, part: BaseModel) -> int:
        """The number of a part of a record."""
        return self.place_of(_key(part), lambda: part.model_dump(mode="json"))


def _key(part: BaseModel, without: str | None = None) -> Hashable:
    """A key that is equal for parts which differ in one field only; much faster than their JSON."""
    key: list[Hashable] = [type(part)]
    for name, value in vars(part).items():
        if type(value) in PLAIN:
            key.append(value if name != without else None)
        else:
            key.append(_key(value) if isinstance(value, BaseModel) else canonical(value))
    return tuple(key)


def runs_json(records: Sequence[Record], rows: Mapping[str, int], results: Path) -> str:
    """The runs as JSON that is safe in a page's ``<script>``.

    ``{"results": folder, "points": limit, "shared": [...], "runs": [...]}``; a run is a list of
    what ``report.js`` names in ``FIELDS``.

    Args:
        records: the records, in the order wanted.
        rows: number of the table row that a run is part of, by run id.
        results: folder of the records, for the commands.
    """
    points = POINTS if len(records) <= MANY else FEW_POINTS
    shared = _Shared()
    runs = ",\n".join(_run(record, rows.get(record.run_id), points, shared) for record in records)
    head = {"results": shlex.quote(str(results)), "points": points, "shared": shared.values}
    text = f'{canonical(head)[:-1]},"runs":[{runs}]}}'
    return text.replace("<", "\\u003c")


def _run(record: Record, row: int | None, points: int, shared: _Shared) -> str:
    spec = record.spec
    quality = {
        name: {"extractor": q.extractor, "images": q.samples.images, **q.samples.metrics}
        for name, q in record.quality.items()
    }
    ious = record.segmentation and _ious(record.segmentation, shared)
    fields = [
        record.run_id,
        row,
        shared.place_of((_key(spec, "seed"), _key(record.method)), lambda: _setup(record)),
        shared.place_of_part(record.teacher),
        shared.place_of_part(record.environment),
        spec.seed,
        record.status,
        record.reason,
        record.score,
        shared.place_of(("metrics", *record.metrics), lambda: list(record.metrics)),
        list(record.metrics.values()),
        vars(record.ledger),
        record.data_note,
        record.created,
        quality,
        ious,
    ]
    return f"{canonical(fields)[:-1]},{_curves(record, points, shared)}]"


def _ious(segmentation: SegmentationInfo, shared: _Shared) -> list[Any]:
    classes = segmentation.classes
    return [
        shared.place_of(("classes", *classes), lambda: classes),
        [None if iou is None else round(iou, 4) for iou in segmentation.per_class_iou],
        [round(share, 4) for share in segmentation.test_shares],
        segmentation.sample_shares and [round(share, 4) for share in segmentation.sample_shares],
    ]


def _setup(record: Record) -> dict[str, Any]:
    """The parts that all seeds of a setting share."""
    return {
        "spec": record.spec.model_dump(mode="json", exclude={"seed"}),
        "method": record.method.model_dump(mode="json"),
        "command": rerun(record),
    }


def _curves(record: Record, points: int, shared: _Shared) -> str:
    """``{name: [place of its steps, [values]]}``, thinned evenly, the last point kept."""
    parts = []
    for name, curve in record.curves.items():
        stride = -(-len(curve["value"]) // points) or 1
        # Counted from the end, so that the last point is kept.
        steps, values = (curve[axis][::-1][::stride][::-1] for axis in ("step", "value"))
        place = shared.place_of(("steps", *steps), partial(list, steps))
        parts.append(f"{json.dumps(name)}:[{place},[{_four_digits(len(values)) % tuple(values)}]]")
    return "{" + ",".join(parts) + "}"


@cache
def _four_digits(count: int) -> str:
    """The format of so many numbers; formatting them at once takes half the time."""
    return ",".join(["%.4g"] * count)


def rerun(record: Record) -> str | None:
    """The command, up to its seed, that makes such a record again.

    None where the budget's numbers are not a preset's, or are those of a paper that may not be the
    method's own: only a suite can set those.
    """
    spec, changed = record.spec, record.method.changed
    if spec.budget.variant or spec.budget.schedule:
        return None
    words = ["dfkd", "run", "--task", spec.task, "--method", spec.method]
    words += ["--budget", spec.budget.name, "--suite-name", spec.suite]
    for name in changed:
        if name in spec.params:
            words += ["--set", f"{name}={format_value(spec.params[name])}"]
    if spec.objective:
        words += ["--objective", spec.objective.name]
        for name in changed:
            if name in spec.objective.params:
                value = format_value(spec.objective.params[name])
                words += ["--objective-set", f"{name}={value}"]
    return shlex.join(words)
