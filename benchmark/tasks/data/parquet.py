"""Image datasets as Hugging Face stores them: parquet files of encoded images and labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from benchmark.tasks.data.base import Dataset, ImageProgress, Split, unreadable
from benchmark.tasks.data.images import decode_image, stacked

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "fine_label")
JPEG_START = b"\xff\xd8\xff"
ROWS = 1000


class ParquetRow(NamedTuple):
    """An encoded image, with what its label column holds if the file has one."""

    image: bytes
    label: object


class ParquetImages(NamedTuple):
    """The images of some parquet files, N×C×H×W in uint8, and their labels if there are any."""

    images: Tensor
    labels: Tensor | None
    jpeg: bool
    """Whether an image was stored as JPEG, and so is not quite the original."""


def parquet_files(folder: Path, split: str, subfolder: str) -> list[Path]:
    """The files of a split, ``train`` or ``test``, in ``folder`` or its ``subfolder``."""
    for place in (folder, folder / subfolder):
        if files := sorted(place.glob(f"{split}*.parquet")):
            return files
    return []


def read_parquet_splits(
    name: str,
    train: Sequence[Path],
    test: Sequence[Path],
    num_classes: int,
    fetch: str,
    tick: ImageProgress,
) -> Dataset:
    """A labelled dataset of RGB images, with a note when they were stored as JPEG.

    Raises:
        DataError: naming the file that cannot be read, or has a label that is no class.
    """
    total = sum(_rows(name, path, fetch) for path in (*train, *test))
    done = 0

    def decoded(count: int) -> None:
        nonlocal done
        done += count
        tick(done, total)

    splits, jpeg = [], False
    for files in (train, test):
        part = read_parquet(name, files, num_classes, fetch, decoded)
        if part.labels is None:
            lacking = f"no column is called {' or '.join(LABEL_COLUMNS)}"
            raise unreadable(name, files[0], lacking, fetch)
        splits.append(Split(part.images, part.labels))
        jpeg = jpeg or part.jpeg
    return Dataset(*splits, note=f"{name} (JPEG)" if jpeg else "")


def read_parquet(
    name: str,
    files: Sequence[Path],
    num_classes: int,
    fetch: str,
    decoded: Callable[[int], None] = lambda count: None,
) -> ParquetImages:
    """Decode every row of ``files``, in colour.

    Args:
        name: name of the dataset, for messages.
        files: parquet files, in the order of their rows.
        num_classes: K; labels are 0 to K−1.
        fetch: the command that gets them, for messages.
        decoded: called with the number of images decoded since the last call.

    Raises:
        DataError: naming the file that cannot be read, or has a label that is no class.
    """
    images: list[np.ndarray[Any, Any]] = []
    labels: list[int] = []
    jpeg = False
    for path in files:
        try:
            for number, row in enumerate(parquet_rows(path)):
                jpeg = jpeg or row.image.startswith(JPEG_START)
                images.append(decode_image(row.image, "RGB"))
                if row.label is not None:
                    labels.append(_class(row.label, num_classes, number))
                decoded(1)
        except Exception as error:  # Pillow raises exceptions of many types on damaged bytes
            raise unreadable(name, path, error, fetch) from None
    shapes = {image.shape for image in images}
    if len(shapes) != 1:
        raise unreadable(name, files[0], f"its images have {len(shapes)} different sizes", fetch)
    if labels and len(labels) != len(images):
        raise unreadable(name, files[0], "only some of its images have labels", fetch)
    return ParquetImages(
        stacked(images),
        torch.tensor(labels) if labels else None,
        jpeg,
    )


def parquet_rows(path: Path) -> Iterator[ParquetRow]:
    """Every row of a file, read as it is asked for.

    Raises:
        ValueError: when no column holds encoded images.
        pyarrow.ArrowException, OSError, TypeError: when the file is damaged.
    """
    with pq.ParquetFile(path) as file:
        image_column = _column(file, IMAGE_COLUMNS)
        label_column = _column(file, LABEL_COLUMNS)
        if image_column is None:
            present = ", ".join(file.schema_arrow.names)
            raise ValueError(f"it has no column '{IMAGE_COLUMNS[0]}', only: {present}")
        stored = file.schema_arrow.field(image_column).type
        if pa.types.is_struct(stored) and stored.get_field_index("bytes") < 0:
            present = ", ".join(field.name for field in stored)
            raise ValueError(f"its column '{image_column}' has no field 'bytes', only: {present}")
        columns = [column for column in (image_column, label_column) if column]
        number = 0
        for batch in file.iter_batches(ROWS, columns=columns):
            cells = batch.column(image_column).to_pylist()
            found = batch.column(label_column).to_pylist() if label_column else [None] * len(cells)
            for cell, label in zip(cells, found, strict=True):
                encoded = cell["bytes"] if isinstance(cell, dict) else cell
                if not isinstance(encoded, bytes):
                    held = "nothing" if encoded is None else type(encoded).__name__
                    raise TypeError(
                        f"row {number} holds {held} in column '{image_column}', no encoded image"
                    )
                yield ParquetRow(encoded, label)
                number += 1


def parquet_length(path: Path) -> int:
    """The number of rows of a file.

    Raises:
        pyarrow.ArrowException, OSError: when it is damaged.
    """
    return int(pq.read_metadata(path).num_rows)


def _class(label: object, num_classes: int, row: int) -> int:
    """A label that is one of 0 to ``num_classes`` − 1.

    Raises:
        ValueError: when it is not.
    """
    if type(label) is not int or not 0 <= label < num_classes:
        raise ValueError(
            f"row {row} has the label {str(label)[:40]!r}; labels are whole numbers from 0 to "
            f"{num_classes - 1}"
        )
    return label


def _rows(name: str, path: Path, fetch: str) -> int:
    try:
        return parquet_length(path)
    except (pa.ArrowException, OSError) as error:
        raise unreadable(name, path, error, fetch) from None


def _column(file: pq.ParquetFile, names: Sequence[str]) -> str | None:
    return next((name for name in names if name in file.schema_arrow.names), None)
