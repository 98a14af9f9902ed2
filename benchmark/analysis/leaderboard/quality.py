"""Tables of image quality: one for every way in which a table's images were measured.

Numbers that come from different extractors, critics or counts of images cannot be compared, so they
never share a column.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from benchmark.analysis.frame import kd_loss_variance
from benchmark.analysis.leaderboard.subtable import Subtable
from benchmark.analysis.statistics.intervals import t_interval
from benchmark.analysis.text import NO_VALUE
from benchmark.records.record import FEW_IMAGES, ImageQuality, Measured, Record

if TYPE_CHECKING:
    from benchmark.analysis.leaderboard.tables import Table

METRICS = {
    "inception_score": ("IS ↑", "{:.2f}"),
    "fid": ("FID ↓", "{:.2f}"),
    "kid": ("KID ↓", "{:.4f}"),
    "precision": ("precision ↑", "{:.3f}"),
    "recall": ("recall ↑", "{:.3f}"),
    "lpips": ("LPIPS", "{:.3f}"),
    "lpips_across": ("LPIPS across", "{:.3f}"),
}
"""Metric key to heading and format."""
OWN = {
    "class_balance": ("balance", "{:.3f}"),
    "confidence": ("confidence", "{:.3f}"),
    "agreement": ("agreement", "{:.3f}"),
    "kd_loss_variance": ("loss variance", "{:.2g}"),
}
"""Measures that every run records itself: the teacher's opinion of its images, and how its
student learnt."""
HEADINGS = ["images of", "n", *(heading for heading, _ in (METRICS | OWN).values())]
FEW = f"Fewer than {FEW_IMAGES:,} images: FID is biased."

Measurement = tuple[str, str, int, int, int, int]
"""Extractor, its checksum, images, reference images, pairs and version; a table never mixes two."""


def quality_tables(table: Table) -> list[Subtable]:
    """Tables of image quality, one for every way of measuring it; often none.

    Real images come first and noise comes last; between them stand the rows in the ranked table's
    order.
    """
    found: dict[Measurement, dict[int, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for place, row in enumerate(table.rows):
        for record in row.records:
            for extractor, quality in record.quality.items():
                found[measurement(extractor, quality)][place].append(record)
    result = []
    for key, rows in sorted(found.items(), key=lambda item: (item[0][0] != "task", item[0])):
        every = [record.quality[key[0]] for records in rows.values() for record in records]
        nothing = [NO_VALUE] * len(OWN)
        body = [["Real test images", NO_VALUE, *_cells([every[0].real_test]), *nothing]]
        for place, records in sorted(rows.items()):
            cells = _cells([record.quality[key[0]].samples for record in records])
            body.append([table.rows[place].label, str(len(records)), *cells, *_told(records)])
        body.append(["Normal noise", NO_VALUE, *_cells([every[0].noise]), *nothing])
        result.append(Subtable(HEADINGS, body, _caption(key, every)))
    return result


def measurement(extractor: str, quality: ImageQuality) -> Measurement:
    """How images were measured; only numbers measured in the same way can be compared."""
    q = quality
    return (extractor, q.checksum, q.samples.images, q.reference, q.pairs, q.version)


def _caption(key: Measurement, every: Sequence[ImageQuality]) -> str:
    first = every[0]
    images = f"{first.samples.images:,} images"
    held_out = first.real_test.images
    fewer = f" (real test images: {held_out:,})" if held_out != first.samples.images else ""
    batches = " or ".join(str(batch) for batch in sorted({quality.batch for quality in every}))
    few = f" {FEW}" if min(first.samples.images, held_out) < FEW_IMAGES else ""
    return (
        f"Image quality, extractor `{key[0]}`: {first.extractor} (`{first.checksum}`, "
        f"{first.dtype}, batches of {batches}); {images}{fewer}, compared with "
        f"{first.reference:,} real training images.{few} LPIPS: mean distance of {first.pairs:,} "
        "pairs of images of one class; LPIPS across: of pairs of different classes. Balance and "
        "confidence are the teacher's opinion of the same images. Agreement is the share of "
        "synthetic images, kept from training, that student and teacher put into the same class. "
        "The loss variance is the variance of the student's loss over the second half of its "
        "steps. Means are over n runs, FID with ± half-width of the 95 % t-interval."
    )


def _cells(measured: Sequence[Measured]) -> list[str]:
    cells = []
    for name, (_, form) in METRICS.items():
        values = [m.metrics[name] for m in measured if name in m.metrics]
        spread = t_interval(values) if name == "fid" else None
        cell = form.format(fmean(values)) if values else NO_VALUE
        cells.append(cell if spread is None else f"{cell} ± {form.format(spread)}")
    return cells


def _told(records: Sequence[Record]) -> list[str]:
    told = [{**r.metrics, "kd_loss_variance": kd_loss_variance(r)} for r in records]
    cells = []
    for name, (_, form) in OWN.items():
        values = [value for own in told if (value := own.get(name)) is not None]
        cells.append(form.format(fmean(values)) if values else NO_VALUE)
    return cells
