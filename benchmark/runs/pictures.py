"""One PNG for a run of segmentation: images, their true maps, and the maps of both networks.

Each row holds a test image, its true map, the teacher's map and the student's map; then an image
that the student learnt from, and the teacher's map of it.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.records.files import write_atomic
from benchmark.tasks.base import Task
from benchmark.tasks.data.base import Split
from methods.losses.predictions import IGNORE_INDEX
from methods.networks.predictions import predictions

ROWS = 6
HEADINGS = ("input", "ground truth", "teacher", "student", "sample", "teacher's map")
TILE, GAP, HEADER = 128, 4, 16
"""Pixels: the least height of an image, the gap between two, the height of the headings."""


def keep_picture(
    path: Path,
    task: Task,
    test: Split,
    teacher: nn.Module,
    student: nn.Module,
    examples: tuple[Tensor, Tensor] | None,
) -> None:
    """Draw a run's picture and write it, if the file can be written.

    Args:
        path: the PNG file.
        task: gives the palette.
        test: the test data as stored; evenly spaced images are shown.
        teacher: the bare network.
        student: the student, on the teacher's device.
        examples: normalised samples, B×C×H×W, and the teacher's maps of them, B×H×W; their
            columns are left out when there are none.
    """
    chosen = torch.linspace(0, len(test.images) - 1, min(ROWS, len(test.images))).long()
    inputs, labels = task.preprocess(test.images[chosen]), test.labels[chosen]
    device = next(teacher.parameters()).device
    columns = [photographs(task, inputs), maps(task, labels)]
    columns += [maps(task, predictions(net, inputs.to(device)).cpu()) for net in (teacher, student)]
    if examples is not None:
        columns += [photographs(task, examples[0][:ROWS]), maps(task, examples[1][:ROWS])]
    buffer = io.BytesIO()
    sheet(columns, HEADINGS).save(buffer, "PNG")
    # A picture that cannot be written is no reason to lose a run.
    with contextlib.suppress(UserError):
        write_atomic(path, buffer.getvalue())


def photographs(task: Task, images: Tensor) -> list[Image.Image]:
    """Images in the networks' input space, B×C×H×W, as pictures."""
    pixels = task.normalization.denormalize(images.float()).clamp(0, 1).mul(255).round()
    rgb = pixels.expand(-1, 3, -1, -1).to(torch.uint8).permute(0, 2, 3, 1)
    return [Image.fromarray(np.ascontiguousarray(image)) for image in rgb.numpy()]


def maps(task: Task, labels: Tensor) -> list[Image.Image]:
    """Maps of class indices, B×H×W, in the task's palette; void is black."""
    colours = np.zeros((IGNORE_INDEX + 1, 3), np.uint8)
    colours[: len(task.palette)] = task.palette
    return [Image.fromarray(colours[image.astype(np.uint8)]) for image in labels.numpy()]


def sheet(columns: Sequence[Sequence[Image.Image]], headings: Iterable[str]) -> Image.Image:
    """Columns of pictures of one size side by side; small pictures are enlarged unsmoothed."""
    width, height = columns[0][0].size
    scale = -(-TILE // height)
    width, height = scale * width, scale * height
    rows = max(len(column) for column in columns)
    size = (len(columns) * (width + GAP) - GAP, HEADER + rows * (height + GAP) - GAP)
    canvas = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(canvas)
    for x, (column, heading) in enumerate(zip(columns, headings, strict=False)):
        left = x * (width + GAP)
        draw.text((left + 2, 2), heading, fill="black")
        for y, tile in enumerate(column):
            enlarged = tile.resize((width, height), Image.Resampling.NEAREST)
            canvas.paste(enlarged, (left, HEADER + y * (height + GAP)))
    return canvas
