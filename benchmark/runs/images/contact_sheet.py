"""The contact sheet of a run: its images by class, next to real ones."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from benchmark.errors import UserError
from benchmark.machine.cache import cache_dir, sheet_path
from benchmark.metrics.images import LabelledImages, class_of_images, to_pixels
from benchmark.records.files import write_atomic
from benchmark.records.record import Record
from benchmark.tasks.base import Task
from benchmark.tasks.data.base import Split

SIDE = 64
"""Side of a tile in pixels; smaller images are enlarged by a whole factor."""
GAP, MARGIN, HEAD = 4, 44, 40
PER_CLASS = 8
LOOKED_AT = 5000
"""Number of images that are drawn; a class shows its first ones, not its best."""


def keep_sheet(run_id: str, content: bytes) -> None:
    """Keep a sheet where ``dfkd report`` finds it, unless the cache cannot be written."""
    with contextlib.suppress(UserError):
        write_atomic(sheet_path(cache_dir(), run_id), content)


def sheet_of_run(
    record: Record, made: LabelledImages, task: Task, test: Split, per_class: int = PER_CLASS
) -> bytes:
    """A PNG of a run's images by the teacher's class, next to real ones by label."""
    classes = range(task.num_classes)
    labels = class_of_images(test.labels)
    shown = torch.cat([torch.nonzero(labels == c).flatten()[:per_class] for c in classes])
    real = to_pixels(task.preprocess(test.images[shown]), task.normalization)
    most = " of most pixels" if task.task_type == "segmentation" else ""
    sheet = contact_sheet(
        [by_class(made, classes), by_class(LabelledImages(real, labels[shown]), classes)],
        [
            f"{record.method.title}, by the teacher's class" + most,
            "real test images, by label" + most,
        ],
        per_class,
    )
    content = io.BytesIO()
    sheet.save(content, "PNG")
    return content.getvalue()


def by_class(images: LabelledImages, classes: Sequence[int]) -> list[Tensor]:
    """The images of every class, in their order in ``images``."""
    return [images.pixels[images.labels == label] for label in classes]


def contact_sheet(
    groups: Sequence[Sequence[Tensor]], titles: Sequence[str], per_class: int
) -> Image.Image:
    """A picture with a row for each class and, side by side, a block of tiles for each group.

    Args:
        groups: images of every class for each group, uint8, n×3×H×W; n may be 0, and the place of
            a missing image stays empty.
        titles: titles of the groups.
        per_class: number of tiles of a class in each block.
    """
    factor = max(1, SIDE // max(groups[0][0].shape[2:]))
    height, width = (factor * side for side in groups[0][0].shape[2:])
    block = per_class * (width + GAP) + MARGIN // 2
    rows = len(groups[0])
    sheet = Image.new(
        "RGB", (MARGIN + len(groups) * block, HEAD + rows * (height + GAP)), color="white"
    )
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for place, (group, title) in enumerate(zip(groups, titles, strict=True)):
        left = MARGIN + place * block
        pen.text((left, HEAD // 3), title, fill="black", font=font)
        for label, images in enumerate(group):
            top = HEAD + label * (height + GAP)
            pen.text((GAP * 2, top + height // 2 - 8), str(label), fill="black", font=font)
            for column in range(per_class):
                corner = (left + column * (width + GAP), top)
                if column < len(images):
                    tile = Image.fromarray(images[column].permute(1, 2, 0).numpy())
                    sheet.paste(tile.resize((width, height), Image.Resampling.NEAREST), corner)
                else:
                    end = (corner[0] + width - 1, corner[1] + height - 1)
                    pen.rectangle((corner, end), outline="lightgray")
    return sheet
