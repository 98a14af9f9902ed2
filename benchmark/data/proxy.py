"""Proxy data: unlabelled images of another dataset, for methods that want to see some.

Either the dataset that a task names, as parquet files in the data folder, or any folder of images.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image, ImageOps
from torch import Tensor

from benchmark.artifacts import checksum
from benchmark.data.base import DataError, missing, search_paths

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
MODES = {1: "L", 3: "RGB"}
ADVICE = (
    f"it needs images ({', '.join(SUFFIXES)}, in subfolders too), or parquet files with a column "
    "'image' of bytes and path"
)


@dataclass(frozen=True)
class Source:
    """A proxy dataset that tasks name: its title, and where Hugging Face has it."""

    title: str
    repository: str


SOURCES = {
    "usps": Source("USPS", "flwrlabs/usps"),
    "tiny-imagenet-32": Source("Tiny-ImageNet", "zh-plus/tiny-imagenet"),
}
"""By name, which is also that of the folder; its training split is ``train*.parquet`` in there."""


@dataclass(frozen=True)
class Proxy:
    """Proxy images as a task stores its own, uint8, N×C×H×W."""

    images: Tensor

    @cached_property
    def checksum(self) -> str:
        """16 hexadecimal digits of the decoded images, whatever files they came from."""
        return checksum({"proxy": self.images})


def proxy_name(named: str, proxy_dir: Path | None) -> str:
    """What proxy data are called in records: the dataset, or the user's folder without its path."""
    return named if proxy_dir is None else proxy_dir.resolve().name


def find_proxy(name: str, data_dir: Path | None) -> list[Path]:
    """The parquet files of a named proxy dataset.

    Raises:
        DataError: naming the places searched, and what to do.
    """
    places = search_paths(data_dir)
    for place in places:
        if files := sorted((place / name).rglob("train*.parquet")):
            return files
    source = SOURCES[name]
    fetch = (
        f"huggingface-cli download {source.repository} --repo-type dataset --local-dir data/{name} "
        "(or give any folder of images with --proxy-dir)"
    )
    raise missing(f"proxy dataset {source.title}", [f"{name}/train*.parquet"], places, fetch)


def files_in(folder: Path) -> list[Path]:
    """What a folder of the user's holds: its parquet files, or all images below it, sorted.

    Raises:
        DataError: when there is no such folder, or nothing in it.
    """
    if not folder.is_dir():
        raise DataError(f"proxy folder '{folder}' (--proxy-dir) does not exist; {ADVICE}")
    files = sorted(folder.glob("*.parquet")) or sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES
    )
    if not files:
        raise DataError(f"proxy folder '{folder}' (--proxy-dir) holds nothing to read; {ADVICE}")
    return files


def read_images(files: Sequence[Path], image_shape: tuple[int, int, int]) -> Tensor:
    """Decode every image: cropped to the shape's aspect ratio, resized, in its number of channels.

    Returns:
        uint8, N×C×H×W.

    Raises:
        DataError: naming the damaged file, or when there are fewer than two images.
    """
    images = [decode(data, where, image_shape) for data, where in _encoded(files)]
    if len(images) < 2:
        raise DataError(f"'{files[0].parent}' holds one proxy image; at least two are needed")
    return torch.from_numpy(np.stack(images))


def _encoded(files: Sequence[Path]) -> Iterator[tuple[bytes, str]]:
    """The bytes of every image with a name for messages."""
    for path in files:
        try:
            if path.suffix == ".parquet":
                yield from _in_parquet(path)
            else:
                yield path.read_bytes(), f"'{path}'"
        except (OSError, pa.ArrowException, TypeError, KeyError) as error:
            raise _damaged(f"'{path}'", error) from None


def _in_parquet(path: Path) -> Iterator[tuple[bytes, str]]:
    with pq.ParquetFile(path) as file:
        if "image" not in file.schema_arrow.names:
            columns = ", ".join(file.schema_arrow.names)
            raise DataError(f"'{path}' has no column 'image', only: {columns}; {ADVICE}")
        row = 0
        for batch in file.iter_batches(columns=["image"]):
            for image in batch.column("image").to_pylist():
                yield image["bytes"], f"row {row} of '{path}'"
                row += 1


def decode(
    data: bytes, where: str, image_shape: tuple[int, int, int], what: str = "proxy data"
) -> np.ndarray:
    """An image file's pixels, uint8, C×H×W: cropped to the shape's aspect ratio, resized.

    Args:
        data: the file's bytes.
        where: it was found, for messages.
        image_shape: (C, H, W), C 1 or 3.
        what: it belongs to, for messages.

    Raises:
        DataError: when it is damaged.
    """
    channels, height, width = image_shape
    try:
        with Image.open(io.BytesIO(data)) as image:
            fitted = ImageOps.fit(
                image.convert(MODES[channels]), (width, height), Image.Resampling.BILINEAR
            )
    except Exception as error:  # Pillow raises whatever the bytes happen to trip over
        raise _damaged(where, error, what) from None
    return np.asarray(fitted).reshape(height, width, channels).transpose(2, 0, 1)


def _damaged(where: str, error: Exception, what: str = "proxy data") -> DataError:
    text = " ".join(str(error).split())[:200]
    return DataError(f"{what} are damaged: {where} cannot be read ({type(error).__name__}: {text})")
