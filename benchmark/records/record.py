"""The record of one run: what was asked for, what came of it and what it cost.

This module imports no torch, so a table of ten thousand records starts at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
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
    "over_budget",
]
SCORED: frozenset[str] = frozenset({"ok", "collapsed"})
"""The statuses of a finished student. A collapsed student is a result, not a failure."""
FAILED: frozenset[str] = frozenset({"diverged", "out_of_memory", "timeout", "error"})
OVER_BUDGET = "over_budget"
"""The status of a run that spent more than its budget: it is shown and has no rank."""
UNSUCCESSFUL = FAILED | {OVER_BUDGET}
"""The statuses that end a grid with exit code 1; ``--overwrite failed`` repeats those that failed.
"""
ACCIDENTS: frozenset[str] = frozenset({"out_of_memory", "timeout", "error", "interrupted"})
"""The statuses that say nothing of the method for sure, so that no finished record gives way to
them. An interrupted run counts as missing."""


Metric = Literal["accuracy", "miou"]
"""What a task is ranked by: accuracy for classification, mean IoU for segmentation."""


IMPORTED = "imported"
"""What the recipe of a teacher from elsewhere has in the place of a recipe: the file's name."""
SHARES = ("accuracy", "miou", "pixel_accuracy", "agreement", "chance")
"""Metrics in [0, 1], and the first words of the names of others (``accuracy_int8``)."""


@lru_cache(1024)
def is_share(metric: str) -> bool:
    """Whether a metric lies in [0, 1] by its definition."""
    return any(metric == name or metric.startswith(f"{name}_") for name in SHARES)


class TeacherInfo(OmitsDefaults):
    """The teacher of a run, scored by ``accuracy``, or by ``miou`` if it segments.

    ``chance`` is the score of a constant prediction by the same metric. ``recipe`` are the settings
    of its training, or, if it was trained elsewhere, what it was `IMPORTED` from and how.
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
        """The metric of the teacher, and of every run that distilled it."""
        return "accuracy" if self.miou is None else "miou"

    @property
    def score(self) -> float:
        """The teacher's score by `metric`."""
        value = self.accuracy if self.miou is None else self.miou
        assert value is not None
        return value

    @property
    def origin(self) -> str:
        """What an imported teacher was imported from; empty for one that was trained here."""
        if IMPORTED not in self.recipe:
            return ""
        own = [
            f"{name} {', '.join(f'{value:g}' for value in self.recipe[name])}"
            for name in ("mean", "std")
            if name in self.recipe
        ]
        behind = f", its input normalised by {' and '.join(own)}" if own else ""
        digits = str(self.recipe.get("sha256"))[:16]
        return f"imported from {self.recipe[IMPORTED]}, SHA-256 {digits}{behind}"

    @property
    def scores(self) -> list[tuple[str, float]]:
        """All its scores and that of a guess, by name."""
        names = ("accuracy", "miou", "pixel_accuracy", "chance")
        return [(name, value) for name in names if (value := getattr(self, name)) is not None]


class SegmentationInfo(OmitsDefaults):
    """How a student segments the test images, class by class, and what it learnt from.

    ``per_class_iou`` is None for a class without a pixel in the test images; `miou` leaves such
    classes out. ``confusion`` counts pixels: rows are true classes, columns predicted classes.
    ``sample_shares`` are the shares of pixels that the teacher labels as each class in the images
    the student learnt from (DeGAN's Figure 2).
    """

    later = frozenset({"sample_shares"})

    classes: list[str]
    per_class_iou: list[float | None]
    confusion: list[list[int]]
    sample_shares: list[float] | None = None

    @property
    def test_shares(self) -> list[float]:
        """The share of each class in the labelled pixels of the test images."""
        counts = [sum(row) for row in self.confusion]
        return [count / sum(counts) for count in counts]


class MethodInfo(OmitsDefaults):
    """What a table needs to know of a method without importing it.

    ``changed`` are the parameters that differ from the defaults. ``proxy`` is the name of the proxy
    data, empty for methods that see none.
    """

    later = frozenset({"proxy"})

    title: str
    paper: str
    access: str
    changed: dict[str, Any]
    proxy: str = ""
    note: str = ""


class LedgerInfo(OmitsDefaults):
    """What a run spent. Images count once for each forward or backward pass.

    ``seconds`` are those of a clock and ``processor_seconds`` those of all its threads on a
    processor, both by phase. ``work`` is the number of floating-point operations as written, by
    phase; seconds are of one machine, work is of none. Older records have neither of the two.
    """

    later = frozenset({"student_images", "processor_seconds", "work"})

    teacher_forward: int = 0
    teacher_backward: int = 0
    synthetic_images: int = 0
    student_steps: int = 0
    student_images: int = 0
    seconds: dict[str, float] = {}
    processor_seconds: dict[str, float] = {}
    work: dict[str, float] = {}
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
    """The metrics of a set of images: ``inception_score``, ``fid``, ``kid``, ``lpips``, ..."""

    images: int
    metrics: dict[str, float]


class ImageQuality(Strict):
    """The quality of a run's images by one extractor, with two sets of images to compare with.

    Attributes:
        version: the version of the metrics' definitions.
        extractor: the name of the network.
        checksum: the checksum of its weights.
        dtype: the type in which features were computed.
        batch: how many images at a time; nothing depends on it.
        reference: how many real training images the images were compared with.
        pairs: how many pairs the perceptual distances are means of.
        samples: the metrics of the run's images.
        real_test: those of as many real test images, the best that can be reached.
        noise: those of as many images of normal noise.
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
    """One run, finished or failed. ``quality`` has the results of `dfkd measure` by extractor."""

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
        """The student's score by its teacher's metric, or None for a run without a student."""
        return self.metrics.get(self.teacher.metric)

    def to_json(self) -> str:
        """The record as canonical text: sorted keys, one trailing newline."""
        return canonical(self.model_dump(mode="json"), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Record:
        """The record of a text of this or an older schema.

        Raises:
            ValueError: with one line that says why it is not a record.
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
        for name, value in [*record.metrics.items(), *record.teacher.scores]:
            if is_share(name) and not 0 <= value <= 1:
                raise ValueError(f"{name} is {value:g}, and a share lies in [0, 1]")
        return record

    @classmethod
    def _migrated(cls, text: str) -> Record:
        """The record of an older schema, or the error that explains why it is none."""
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
    """One record for every experiment that several suites have: the first with a student."""
    found: dict[str, Record] = {}
    for record in records:
        known = found.setdefault(record.run_id, record)
        if record.status in SCORED and known.status not in SCORED:
            found[record.run_id] = record
    return list(found.values())
