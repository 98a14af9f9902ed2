"""The record of one run: what was asked for, what came of it, what it took.

This module imports no torch, so a table of ten thousand records starts at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from benchmark.records import schema
from benchmark.records.canonical import canonical
from benchmark.records.schema import OmitsDefaults, Strict
from benchmark.records.spec import Spec

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


Metric = Literal["accuracy", "miou"]
"""What a task is ranked by: of images classified, or of maps segmented."""


class TeacherInfo(OmitsDefaults):
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


class SegmentationInfo(OmitsDefaults):
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


class MethodInfo(OmitsDefaults):
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


class LedgerInfo(Strict):
    """What the run spent. Images count once per forward or backward pass."""

    teacher_forward: int = 0
    teacher_backward: int = 0
    synthetic_images: int = 0
    student_steps: int = 0
    seconds: dict[str, float] = {}
    peak_memory_mib: int = 0


class Environment(OmitsDefaults):
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


class Measured(Strict):
    """A set of images by the numbers: ``inception_score``, ``fid``, ``kid``, ``lpips``, ..."""

    images: int
    metrics: dict[str, float]


class ImageQuality(Strict):
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


class Record(OmitsDefaults):
    """One run, finished or failed. ``quality`` holds what `dfkd measure` found, by extractor."""

    later = frozenset({"quality", "segmentation"})

    schema_version: int = Field(schema.SCHEMA_VERSION, strict=True)
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
            current = record.schema_version == schema.SCHEMA_VERSION
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
        try:
            return cls.model_validate(schema.migrated(data))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ValueError(f"{where}: {first['msg']}") from None


def one_a_run(records: Iterable[Record]) -> list[Record]:
    """Every experiment once, where suites have copies of it: the first that has a student."""
    found: dict[str, Record] = {}
    for record in records:
        known = found.setdefault(record.run_id, record)
        if record.status in SCORED and known.status not in SCORED:
            found[record.run_id] = record
    return list(found.values())
