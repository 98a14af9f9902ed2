"""Tables of image quality: one for every way in which a table's images were measured.

Numbers of two extractors, of two critics or of different counts of images are no numbers of the
same thing, so they never share a column.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from benchmark.analysis.side_table import SideTable
from benchmark.analysis.statistics import t_interval
from benchmark.records import ImageQuality, Measured

if TYPE_CHECKING:
    from benchmark.analysis.tables import Table

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
TEACHERS = {"class_balance": "balance", "confidence": "confidence"}
"""What the teacher says of the same images, from the record's own metrics."""
HEADINGS = ["images of", "n", *(heading for heading, _ in METRICS.values()), *TEACHERS.values()]

Measurement = tuple[str, str, int, int, int, int]
"""Extractor, its checksum, images, reference images, pairs, version: what is never mixed."""


def quality_tables(table: Table) -> list[SideTable]:
    """Tables of image quality, one for every way of measuring it; often none.

    Real images come first and noise last, between them the rows in the ranked table's order.
    """
    found: dict[Measurement, dict[int, list[tuple[ImageQuality, dict[str, float]]]]]
    found = defaultdict(lambda: defaultdict(list))
    for place, row in enumerate(table.rows):
        for record in row.records:
            for extractor, quality in record.quality.items():
                key = measurement(extractor, quality)
                found[key][place].append((quality, record.metrics))
    result = []
    for key, rows in sorted(found.items(), key=lambda item: (item[0][0] != "task", item[0])):
        first = next(iter(rows.values()))[0][0]
        body = [["Real test images", "–", *_cells([first.real_test]), "–", "–"]]
        for place, measured in sorted(rows.items()):
            cells = _cells([quality.samples for quality, _ in measured])
            told = [_mean([m[name] for _, m in measured if name in m]) for name in TEACHERS]
            body.append([table.rows[place].label, str(len(measured)), *cells, *told])
        body.append(["Normal noise", "–", *_cells([first.noise]), "–", "–"])
        result.append(SideTable(HEADINGS, body, _caption(key, first)))
    return result


def measurement(extractor: str, quality: ImageQuality) -> Measurement:
    """In which way images were measured; only equal ways can be compared."""
    q = quality
    return (extractor, q.checksum, q.samples.images, q.reference, q.pairs, q.version)


def _caption(key: Measurement, first: ImageQuality) -> str:
    images = f"{first.samples.images:,} images"
    held_out = first.real_test.images
    fewer = f" (real test images: {held_out:,})" if held_out != first.samples.images else ""
    return (
        f"Image quality, extractor `{key[0]}`: {first.extractor} (`{first.checksum}`, "
        f"{first.dtype}); {images}{fewer}, compared with {first.reference:,} real training "
        f"images. LPIPS: mean distance of {first.pairs:,} pairs of one class, and of different "
        "classes. Balance and confidence are the teacher's opinion of the same images. Mean over "
        "n runs, FID ± half-width of the 95 % t-interval."
    )


def _cells(measured: Sequence[Measured]) -> list[str]:
    cells = []
    for name, (_, form) in METRICS.items():
        values = [m.metrics[name] for m in measured if name in m.metrics]
        spread = t_interval(values) if name == "fid" else None
        cell = form.format(fmean(values)) if values else "–"
        cells.append(cell if spread is None else f"{cell} ± {form.format(spread)}")
    return cells


def _mean(values: Sequence[float]) -> str:
    return f"{fmean(values):.3f}" if values else "–"
