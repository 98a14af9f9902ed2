"""The record of one run: what was asked for, what came of it, what it took.

This module imports no torch, so a table of ten thousand records starts at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_serializer,
    model_validator,
)

from benchmark.records.canonical import canonical, digest
from methods.settings.budget import Budget

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


FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""What becomes a folder's name; it cannot lead anywhere else."""


NOT_IDENTITY = frozenset({"suite", "budget", "purpose"})
"""Of a specification: who asked and why, and what has an identity of its own."""


class Spec(_OmitsUnset):
    """What was asked for. Two runs with equal specs and teachers are the same experiment.

    ``proxy`` is the checksum of the proxy images, empty for methods that do not see any;
    ``objective`` is None where the student minimises the method's own.
    """

    later = frozenset({"proxy", "objective", "purpose"})

    suite: FileName
    task: FileName
    task_version: int
    data: str
    method: FileName
    method_version: int
    params: dict[str, Any]
    budget: Budget
    seed: int
    proxy: str = ""
    objective: ObjectiveSpec | None = None
    purpose: Purpose = "table"

    def run_id(self, teacher_checksum: str) -> str:
        """Identity of the experiment; the suite that asked for it, and why, is not part of it."""
        # What `model_dump` would give, sooner: a table asks for those of ten thousand records.
        identity = {name: v for name, v in vars(self).items() if name not in NOT_IDENTITY}
        for name in self.later & identity.keys():
            if identity[name] == type(self).model_fields[name].default:
                del identity[name]
        if self.objective is not None:
            identity["objective"] = self.objective.model_dump(mode="json")
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


class SegmentationInfo(_OmitsUnset):
    """How a student segments the test images, class by class, and what it learnt from.

    ``per_class_iou`` is None for a class of which the test images hold no pixel; `miou` leaves it
    out. ``confusion`` counts pixels: rows are true classes, columns predicted ones.
    ``sample_shares`` are the shares of the pixels of the student's images that the teacher labels
    as each class (DeGAN's Figure 2).
    """

    later = frozenset({"sample_shares"})

    classes: list[str]
    per_class_iou: list[float | None]
    confusion: list[list[int]]
    sample_shares: list[float] | None = None

    @property
    def test_shares(self) -> list[float]:
        """The shares of the test images' labelled pixels."""
        counts = [sum(row) for row in self.confusion]
        return [count / sum(counts) for count in counts]


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


class Environment(_OmitsUnset):
    """Where a run was made, and with what; never a path or a host name.

    ``fingerprint`` is a hash of the code that made it (`benchmark.machine.fingerprint`), empty in
    records that are older than fingerprints.
    """

    later = frozenset({"fingerprint"})

    python: str
    torch: str
    device: str
    processor: str
    threads: int
    precision: str
    code_version: str
    fingerprint: str = ""


FEW_IMAGES = 2048
"""With fewer images than features, FID's covariance is singular and its bias dominates."""


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
    def from_json(cls, text: str | bytes) -> Record:
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
            record = cls._migrated(text if isinstance(text, str) else text.decode("utf-8"))
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


def one_a_run(records: Iterable[Record]) -> list[Record]:
    """Every experiment once, where suites have copies of it: the first that has a student."""
    found: dict[str, Record] = {}
    for record in records:
        known = found.setdefault(record.run_id, record)
        if record.status in SCORED and known.status not in SCORED:
            found[record.run_id] = record
    return list(found.values())


Plan = TypeAdapter(dict[str, PlannedEntry])
