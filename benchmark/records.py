"""The record of one run, and the folder that holds records.

A record is one JSON file, ``<results>/<suite>/<task>/<method>/<run-id>.json``. This module
imports no torch, so a table of ten thousand records starts at once.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    model_serializer,
    model_validator,
)

from benchmark.errors import UserError
from methods.budget import Budget

SCHEMA_VERSION = 1

MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""From schema version n to n + 1; applied in turn when an older record is read."""

Status = Literal[
    "ok",
    "diverged",
    "collapsed",
    "out_of_memory",
    "timeout",
    "error",
    "skipped",
    "interrupted",
]
SCORED: frozenset[str] = frozenset({"ok", "collapsed"})
"""Statuses of a finished student. A collapsed one is a result, not a failure."""
FAILED: frozenset[str] = frozenset({"diverged", "out_of_memory", "timeout", "error"})


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Purpose = Literal["table", "sweep", "draw"]
"""What a run is for: a row of the leaderboard, one value of a swept setting, or one of the random
draws from a method's tuning ranges behind its robustness score."""


class _OmitsUnset(_Strict):
    """Leaves fields that later versions added out of what is written while they have their default.

    So identities and files are what they were before there were such fields.
    """

    later: ClassVar[frozenset[str]]

    @model_serializer(mode="wrap")
    def _without_unset(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = write(self)
        fields = type(self).model_fields
        unset = {name for name in self.later if getattr(self, name) == fields[name].default}
        return {name: value for name, value in values.items() if name not in unset}


class ObjectiveSpec(_Strict):
    """An objective that takes the place of a method's own."""

    name: str
    version: int
    params: dict[str, Any]


@lru_cache(1024)
def _budget_identity(budget: Budget) -> Mapping[str, Any]:
    """Few budgets are behind many records."""
    return budget.identity()


class Spec(_OmitsUnset):
    """What was asked for. Two runs with equal specs and teachers are the same experiment.

    ``proxy`` is the checksum of the proxy images, empty for methods that do not see any;
    ``objective`` is None where the student minimises the method's own.
    """

    later = frozenset({"proxy", "objective", "purpose"})

    suite: str
    task: str
    task_version: int
    data: str
    method: str
    method_version: int
    params: dict[str, Any]
    budget: Budget
    seed: int
    proxy: str = ""
    objective: ObjectiveSpec | None = None
    purpose: Purpose = "table"

    def run_id(self, teacher_checksum: str) -> str:
        """Identity of the experiment; the suite that asked for it, and why, is not part of it."""
        identity = self.model_dump(mode="json", exclude={"suite", "budget", "purpose"})
        budget = _budget_identity(self.budget)
        return digest({**identity, "budget": budget, "teacher": teacher_checksum})


Metric = Literal["accuracy", "miou"]
"""What a task is ranked by: of images classified, or of maps segmented."""


class TeacherInfo(_OmitsUnset):
    """The teacher a run distilled: scored by ``accuracy``, or by ``miou`` where it segments.

    ``chance`` is what a constant prediction scores by the same metric.
    """

    later = frozenset({"accuracy", "miou", "pixel_accuracy"})

    checksum: str
    accuracy: float | None = None
    miou: float | None = None
    pixel_accuracy: float | None = None
    chance: float
    recipe: dict[str, Any]

    @model_validator(mode="after")
    def _one_metric(self) -> TeacherInfo:
        if (self.accuracy is None) == (self.miou is None):
            raise ValueError("a teacher has either an accuracy or a miou")
        return self

    @property
    def metric(self) -> Metric:
        """By which the teacher, and with it every run of its, is scored."""
        return "accuracy" if self.miou is None else "miou"

    @property
    def score(self) -> float:
        """The teacher's score by `metric`."""
        value = self.accuracy if self.miou is None else self.miou
        assert value is not None
        return value


class SegmentationInfo(_Strict):
    """How a student segments the test images, class by class.

    ``per_class_iou`` is None for a class of which the test images hold no pixel; `miou` leaves it
    out. ``confusion`` counts pixels: rows are true classes, columns predicted ones.
    """

    classes: list[str]
    per_class_iou: list[float | None]
    confusion: list[list[int]]


class MethodInfo(_OmitsUnset):
    """What a table needs to know of a method without importing it.

    ``proxy`` is what the proxy data are called, empty for methods that do not see any.
    """

    later = frozenset({"proxy"})

    title: str
    paper: str
    access: str
    changed: dict[str, Any]
    proxy: str = ""
    note: str = ""


class LedgerInfo(_Strict):
    """What the run spent. Images count once per forward or backward pass."""

    teacher_forward: int = 0
    teacher_backward: int = 0
    synthetic_images: int = 0
    student_steps: int = 0
    seconds: dict[str, float] = {}
    peak_memory_mib: int = 0


class Environment(_Strict):
    """Where it ran; never a path or a host name."""

    python: str
    torch: str
    device: str
    processor: str
    threads: int
    precision: str
    code_version: str


class Measured(_Strict):
    """A set of images by the numbers: ``inception_score``, ``fid``, ``kid``, ``lpips``, ..."""

    images: int
    metrics: dict[str, float]


class ImageQuality(_Strict):
    """A run's images as one extractor sees them, and the sets that frame the numbers.

    Attributes:
        version: of the definitions.
        extractor: what the network is called.
        checksum: of its weights.
        dtype: in which features were computed.
        batch: images at a time, on which nothing depends.
        reference: how many real training images they were compared with.
        pairs: how many pairs the perceptual distances are means of.
        samples: the run's images.
        real_test: as many real images, held out from training; the best that can be reached.
        noise: as many images of normal noise.
    """

    version: int
    extractor: str
    checksum: str
    dtype: str
    batch: int
    reference: int
    pairs: int
    samples: Measured
    real_test: Measured
    noise: Measured


class Record(_OmitsUnset):
    """One run, finished or failed. ``quality`` holds what `dfkd measure` found, by extractor."""

    later = frozenset({"quality", "segmentation"})

    schema_version: int = Field(SCHEMA_VERSION, strict=True)
    run_id: str
    spec: Spec
    status: Status
    reason: str = ""
    method: MethodInfo
    metrics: dict[str, float] = {}
    quality: dict[str, ImageQuality] = {}
    segmentation: SegmentationInfo | None = None
    ledger: LedgerInfo = LedgerInfo()
    curves: dict[str, dict[str, list[float]]] = {}
    teacher: TeacherInfo
    data_note: str = ""
    environment: Environment
    created: str

    @property
    def score(self) -> float | None:
        """The student's score by its teacher's metric; None when there is none."""
        return self.metrics.get(self.teacher.metric)

    def to_json(self) -> str:
        """Canonical text: sorted keys, one trailing newline."""
        return canonical(self.model_dump(mode="json"), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Read a record of this or an older schema.

        Raises:
            ValueError: one line saying why it is not a record.
        """
        try:
            record = cls.model_validate_json(text)
            current = record.schema_version == SCHEMA_VERSION
            understood = current and "schema_version" in record.model_fields_set
        except ValidationError:
            understood = False
        if not understood:
            record = cls._migrated(text)
        if record.spec.run_id(record.teacher.checksum) != record.run_id:
            raise ValueError("its run_id does not match its spec: it was edited or misplaced")
        return record

    @classmethod
    def _migrated(cls, text: str) -> Record:
        """Read what is no current record: an older one, or one that an error has to explain."""
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"not JSON ({error.msg}, line {error.lineno})") from None
        if not isinstance(data, dict) or not isinstance(data.get("schema_version"), int):
            raise ValueError("not a record: it has no schema_version")
        if data["schema_version"] > SCHEMA_VERSION:
            raise ValueError(
                f"schema_version {data['schema_version']} is newer than this program's "
                f"{SCHEMA_VERSION}; update dfkd-bench"
            )
        while data["schema_version"] < SCHEMA_VERSION:
            migrate = MIGRATIONS.get(data["schema_version"])
            if migrate is None:
                raise ValueError(f"schema_version {data['schema_version']} is unknown")
            data = migrate(data)
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ValueError(f"{where}: {first['msg']}") from None


class PlannedEntry(_OmitsUnset):
    """A run that a suite set out to do, as ``plan.json`` keeps it under the run's id."""

    later = frozenset({"proxy", "objective", "purpose"})

    task: str
    task_version: int
    data: str
    teacher: str
    method: str
    version: int
    params: dict[str, Any]
    budget: Budget
    seed: int
    proxy: str = ""
    objective: ObjectiveSpec | None = None
    purpose: Purpose = "table"

    @classmethod
    def of(cls, spec: Spec, teacher: str) -> PlannedEntry:
        """The entry of a specification and its teacher's checksum."""
        return cls(
            task=spec.task,
            task_version=spec.task_version,
            data=spec.data,
            teacher=teacher,
            method=spec.method,
            version=spec.method_version,
            params=spec.params,
            budget=spec.budget,
            seed=spec.seed,
            proxy=spec.proxy,
            objective=spec.objective,
            purpose=spec.purpose,
        )


Plan = TypeAdapter(dict[str, PlannedEntry])


def canonical(value: Any, indent: int | None = None) -> str:
    """JSON text that is equal for equal values; NaN and infinity are refused."""
    separators = (",", ":") if indent is None else (",", ": ")
    return json.dumps(
        value,
        sort_keys=True,
        allow_nan=False,
        ensure_ascii=False,
        indent=indent,
        separators=separators,
    )


def digest(value: Any) -> str:
    """A 16-digit content hash of a JSON value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:16]


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a crash, never sees half of it.

    Raises:
        UserError: when the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    except OSError as error:
        raise UserError(
            f"cannot write to '{path.parent}': {error.strerror}; "
            "choose a folder you may write (--results, --out)"
        ) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise UserError(f"cannot write '{path}': {error.strerror}") from None
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@dataclass
class Unreadable:
    """A file among the records that is not one."""

    path: Path
    reason: str


@dataclass
class Scan:
    """Everything found in a results folder."""

    records: list[Record] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    planned: dict[str, dict[str, PlannedEntry]] = field(default_factory=dict)


class Store:
    """The records under one folder.

    Args:
        root: the folder; it need not exist yet.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, spec: Spec, run_id: str) -> Path:
        """Where the record of a run lies."""
        return self.root / spec.suite / spec.task / spec.method / f"{run_id}.json"

    def get(self, spec: Spec, run_id: str) -> Record | None:
        """The record of a run, if a readable one is there: this suite's, or another's.

        Another suite's counts only when its student finished, and is answered with this ``spec``.
        """
        own = self.path(spec, run_id)
        elsewhere = sorted(self.root.glob(f"*/{spec.task}/{spec.method}/{run_id}.json"))
        for path in [own, *elsewhere]:
            try:
                record = Record.from_json(path.read_text(encoding="utf-8"))
            except (FileNotFoundError, ValueError):
                continue
            if path == own:
                return record
            if record.status in SCORED:
                return record.model_copy(update={"spec": spec})
        return None

    def put(self, record: Record) -> Path:
        """Write a record atomically and return its path."""
        path = self.path(record.spec, record.run_id)
        write_atomic(path, record.to_json().encode())
        return path

    def find(self, run_id: str) -> Record:
        """The record whose id starts with ``run_id``.

        Raises:
            UserError: when there is none, or more than one experiment.
        """
        if not run_id or not all(digit in "0123456789abcdef" for digit in run_id):
            raise UserError(f"'{run_id}' is not a run id (hexadecimal digits, as in file names)")
        paths = sorted(self.root.glob(f"*/*/*/{run_id}*.json"))
        if not paths:
            raise UserError(f"no record '{run_id}' in '{self.root}'; give --results if elsewhere")
        if len({path.stem for path in paths}) > 1:
            names = ", ".join(path.stem for path in paths[:3])
            raise UserError(
                f"'{run_id}' is the start of several run ids ({names}); give more digits"
            )
        try:
            return Record.from_json(paths[0].read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"'{paths[0]}' is unreadable: {error}") from None

    def add_plan(self, suite: str, planned: Iterable[tuple[Spec, str]]) -> None:
        """Remember what a suite set out to do, so that a run without a record is still counted.

        Args:
            suite: its name.
            planned: specifications, each with the checksum of its teacher.
        """
        path = self.root / suite / "plan.json"
        entries = {s.run_id(teacher): PlannedEntry.of(s, teacher) for s, teacher in planned}
        plan = Plan.dump_python(self._read_plan(path) | entries, mode="json")
        text = canonical(plan, indent=1) + "\n"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_atomic(path, text.encode())

    @staticmethod
    def _read_plan(path: Path) -> dict[str, PlannedEntry]:
        try:
            return Plan.validate_json(path.read_bytes())
        except FileNotFoundError:
            return {}
        except ValidationError:
            raise UserError(
                f"'{path}' is not a plan of this version; restore it, or delete it and run the "
                "suite again"
            ) from None

    def scan(self) -> Scan:
        """Read everything; files that are no records are named, never fatal."""
        scan = Scan()
        with collector_paused():
            for path in self.paths():
                try:
                    scan.records.append(self.read(path))
                except (ValueError, OSError) as error:
                    scan.unreadable.append(Unreadable(path, str(error)))
        for path in sorted(self.root.glob("*/plan.json")):
            try:
                scan.planned[path.parent.name] = self._read_plan(path)
            except UserError as error:
                scan.unreadable.append(Unreadable(path, str(error)))
        return scan

    def paths(self) -> list[Path]:
        """Where records lie, in order."""
        return sorted(self.root.glob("*/*/*/*.json"))

    def read(self, path: Path) -> Record:
        """The record of a file, which must lie where its specification says.

        Raises:
            ValueError: one line saying why it is none.
            OSError: when the file cannot be read.
        """
        record = Record.from_json(path.read_text(encoding="utf-8"))
        spec = record.spec
        if path.parts[-4:] != (spec.suite, spec.task, spec.method, f"{record.run_id}.json"):
            raise ValueError("it lies in the wrong folder for its spec")
        return record


@contextmanager
def collector_paused() -> Iterator[None]:
    """Records are no garbage, and the collector would walk through all of them time and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            # There and back: what is young becomes old without being walked through.
            gc.freeze()
            gc.unfreeze()
            gc.enable()
