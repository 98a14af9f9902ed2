"""What is kept of a run: its record, with the ledger and the curves in their written form."""

from __future__ import annotations

import datetime
import math
import operator
from collections.abc import Callable, Mapping

import torch

from benchmark.machine.device import environment, peak_memory_mib
from benchmark.metrics.exam import Scores
from benchmark.records.record import (
    FAILED,
    UNSUCCESSFUL,
    LedgerInfo,
    MethodInfo,
    Record,
    Status,
)
from benchmark.runs.code import code_of
from benchmark.runs.failures import message
from benchmark.runs.job import Context, Job
from benchmark.tasks.base import Task
from benchmark.tasks.data.proxy import proxy_name
from methods.base.ledger import COUNTS, Ledger
from methods.base.method import Method
from methods.base.run import Run


def to_record(
    job: Job,
    task: Task,
    context: Context,
    method: type[Method],
    status: Status,
    reason: str,
    scores: Scores | None = None,
    run: Run | None = None,
    note: str = "",
) -> Record:
    """The record of a run, finished or not, which can be written and read again.

    What a method left that no record can hold, such as a title that is no text or half an image in
    its ledger, is left out. The record then says so, and its run has failed.
    """
    left = Left()
    texts = left.texts(method, note)
    reason = left.text("the reason", lambda: reason)
    ledger = left.ledger(run.ledger) if run is not None else LedgerInfo()
    curves = left.curves(run.curves) if run is not None else {}
    metrics = left.metrics(scores.metrics) if scores else {}
    segmentation = scores.segmentation if scores else None
    if left.out:
        if status not in UNSUCCESSFUL | {"interrupted"}:
            status, reason = "error", ""
        reason = "; ".join(filter(None, [reason, str(left)]))
    if status in FAILED:
        metrics, segmentation = {}, None
        curves = curves if status == "diverged" else {}
    record = Record(
        run_id=job.run_id,
        spec=job.spec,
        status=status,
        reason=reason,
        method=MethodInfo(
            **texts,
            changed=job.changed,
            proxy=proxy_name(task.proxy, context.proxy_dir) if job.spec.proxy else "",
        ),
        metrics=metrics,
        segmentation=segmentation,
        ledger=ledger,
        curves=curves,
        teacher=job.teacher.info,
        data_note=job.data_note,
        environment=environment(
            torch.device(context.device), context.precision, code_of(job.spec, method)
        ),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
    )
    # Plain values alone, and the proof that they can be read.
    return Record.model_validate_json(record.to_json())


LARGEST_COUNT = 2**63 - 1
"""The largest count that every reader of JSON takes for an integer."""


class Left:
    """What a method left for its record. What a record cannot hold is dropped and remembered.

    Attributes:
        out: what was dropped, in words.
    """

    def __init__(self) -> None:
        self.out: list[str] = []

    def __str__(self) -> str:
        return f"a record cannot hold {', '.join(self.out)}" if self.out else ""

    def texts(self, method: type[Method], note: object) -> dict[str, str]:
        """The title, paper, access and note; the name stands for a title that is no text."""
        return {
            "title": self.text("the method's title", lambda: method.title, method.name),
            "paper": self.text("the method's paper", lambda: method.paper),
            "access": self.text("the method's access", lambda: method.access.describe(), "unknown"),
            "note": self.text("the method's note", lambda: note),
        }

    def text(self, what: str, read: Callable[[], object], otherwise: str = "") -> str:
        """A text that UTF-8 can encode."""
        try:
            return plain(read())
        except Exception as error:
            self._drop(what, message(error))
            return otherwise

    def ledger(self, ledger: Ledger) -> LedgerInfo:
        """The ledger as a record keeps it, seconds to the millisecond."""
        counts = {name: self._count(name, getattr(ledger, name, None)) for name in COUNTS}
        return LedgerInfo(
            **counts,
            seconds=to_milliseconds(self._numbers("seconds", ledger)),
            processor_seconds=to_milliseconds(self._numbers("processor_seconds", ledger)),
            work=dict(sorted(self._numbers("work", ledger).items())),
            peak_memory_mib=peak_memory_mib(),
        )

    def metrics(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """The metrics that are finite numbers."""
        return {
            name: float(value)
            for name, value in metrics.items()
            if self._is_number(f"the metric {name}", value)
        }

    def curves(self, curves: object) -> dict[str, dict[str, list[float]]]:
        """The curves with as many finite values as steps, to seven digits, which float32 holds."""
        found: dict[str, dict[str, list[float]]] = {}
        if not isinstance(curves, Mapping):
            self._drop("the curves", f"they are {type(curves).__name__}")
            return found
        for name, curve in curves.items():
            try:
                axes = {axis: [float(value) for value in curve[axis]] for axis in ("step", "value")}
                if len(axes["step"]) != len(axes["value"]):
                    raise ValueError("it has not as many values as steps")
                if not all(math.isfinite(value) for values in axes.values() for value in values):
                    raise ValueError("it has values that are no numbers")
                found[plain(name)] = axes
            except Exception as error:  # a value of a method's own may raise anything; it is named
                self._drop(f"the curve {_shown(name)}", message(error))
        return rounded(found)

    def _count(self, name: str, value: object) -> int:
        try:
            count = operator.index(value)  # type: ignore[arg-type]
            if not 0 <= count <= LARGEST_COUNT:
                raise ValueError("it is no count")
            return int(count)
        except Exception:  # whatever its `__index__` raises; the record names it
            self._drop(f"the ledger's {name}", f"it is {_shown(value)}")
            return 0

    def _numbers(self, name: str, ledger: Ledger) -> dict[str, float]:
        values = getattr(ledger, name, None)
        if not isinstance(values, Mapping):
            self._drop(f"the ledger's {name}", f"it is {_shown(values)}")
            return {}
        return {
            plain(phase): float(value)
            for phase, value in values.items()
            if self._is_text(f"a phase of the ledger's {name}", phase)
            and self._is_number(f"the ledger's {name} of {plain(phase)}", value)
        }

    def _is_text(self, what: str, value: object) -> bool:
        if not isinstance(value, str):
            self._drop(what, f"it is {_shown(value)}")
        return isinstance(value, str)

    def _is_number(self, what: str, value: object) -> bool:
        try:
            finite = math.isfinite(float(value))  # type: ignore[arg-type]
        except Exception:  # whatever its `__float__` raises; the record names it
            finite = False
        if not finite:
            self._drop(what, f"it is {_shown(value)}")
        return finite

    def _drop(self, what: str, why: str) -> None:
        self.out.append(f"{what} ({why})")


def plain(text: object) -> str:
    """A text that UTF-8 can encode.

    Raises:
        TypeError: when it is no text.
    """
    if not isinstance(text, str):
        raise TypeError(f"it is {type(text).__name__}, not text")
    return str(text).encode("utf-8", "backslashreplace").decode()


def _shown(value: object) -> str:
    """A value in a few characters, whatever it does when it is printed."""
    try:
        return " ".join(plain(repr(value)).split())[:40]
    except Exception:  # whatever its `__repr__` raises; its type can still be told
        return f"of type {type(value).__name__}"


def to_milliseconds(seconds: dict[str, float]) -> dict[str, float]:
    """Seconds by phase, rounded to the millisecond."""
    return {phase: round(value, 3) for phase, value in sorted(seconds.items())}


def rounded(curves: dict[str, dict[str, list[float]]]) -> dict[str, dict[str, list[float]]]:
    """Curves rounded to seven significant digits, which is what float32 holds."""
    return {
        name: {axis: [float(f"{value:.7g}") for value in values] for axis, values in curve.items()}
        for name, curve in curves.items()
    }
