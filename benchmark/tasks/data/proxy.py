"""Proxy data: unlabelled images of another dataset, for methods that want to see some.

They are the dataset that a task names, in the data folder, or any folder of images.
"""

from __future__ import annotations

import bz2
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
from PIL import Image
from torch import Tensor

from benchmark.machine.tensors import checksum
from benchmark.tasks.data.base import DataError, ImageProgress, missing, search_paths, unreadable
from benchmark.tasks.data.images import SUFFIXES, decode_to_shape, stacked
from benchmark.tasks.data.parquet import parquet_length, parquet_rows
from benchmark.tasks.data.prepared import prepared_tensors

NAME = "proxy data"
ADVICE = (
    f"it needs images ({', '.join(SUFFIXES)}, in subfolders too), or parquet files with a column "
    "'image' of bytes and path"
)


@dataclass(frozen=True)
class Source:
    """A proxy dataset that tasks name.

    Args:
        title: name as written in text.
        fetch: the command that puts it into ``data/``.
        pattern: glob pattern of its files, where they are not parquet files.
    """

    title: str
    fetch: str
    pattern: str = ""


def _from_hub(repository: str, name: str) -> str:
    return f"huggingface-cli download {repository} --repo-type dataset --local-dir data/{name}"


SOURCES = {
    "usps": Source("USPS", _from_hub("flwrlabs/usps", "usps"), "usps.bz2"),
    "tiny-imagenet-32": Source(
        "Tiny-ImageNet", _from_hub("zh-plus/tiny-imagenet", "tiny-imagenet-32")
    ),
    "cityscapes": Source(
        "Cityscapes",
        "pip install cityscapesscripts && csDownload -d data/cityscapes "
        "leftImg8bit_trainvaltest.zip && unzip -d data/cityscapes data/cityscapes/leftImg8bit*.zip",
        "leftImg8bit/train/*/*.png",
    ),
}
"""Proxy datasets by name. The name is also the folder, which holds ``train*.parquet``."""
VERSION = 2
"""Version of the decoding of images: the first clipped images of 16 bits."""


@dataclass(frozen=True)
class Proxy:
    """Proxy images as a task stores its own, uint8, N×C×H×W."""

    images: Tensor

    @cached_property
    def checksum(self) -> str:
        """16 hexadecimal digits of the decoded images, whatever files they came from."""
        return checksum({"proxy": self.images})


def proxy_name(named: str, proxy_dir: Path | None) -> str:
    """The name of proxy data in records: the dataset, or the user's folder without its path."""
    return named if proxy_dir is None else proxy_dir.resolve().name


def find_proxy(name: str, data_dir: Path | None) -> list[Path]:
    """The files of a named proxy dataset: parquet, or its own layout.

    Raises:
        DataError: naming the places searched, and what to do.
    """
    source, places = SOURCES[name], search_paths(data_dir)
    patterns = ["train*.parquet", *([source.pattern] if source.pattern else [])]
    for place in places:
        for pattern in patterns:
            if files := sorted((place / name).rglob(pattern)):
                return files
    fetch = f"{source.fetch} (or give any folder of images with --proxy-dir)"
    wanted = [f"{name}/{pattern}" for pattern in patterns]
    raise missing(f"proxy dataset {source.title}", wanted, places, fetch)


def files_in(folder: Path) -> list[Path]:
    """The files of a user's folder: its parquet files, or all images below it, sorted.

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


def prepared_images(files: Sequence[Path], image_shape: tuple[int, int, int]) -> Tensor:
    """The result of `read_images`, decoded once and kept in the cache."""

    def decode(tick: ImageProgress) -> tuple[dict[str, Tensor], dict[str, str]]:
        return {"images": read_images(files, image_shape, tick)}, {}

    tensors, _ = prepared_tensors(
        "proxy-images", files, decode, variant=list(image_shape), version=VERSION
    )
    return tensors["images"]


def read_images(
    files: Sequence[Path],
    image_shape: tuple[int, int, int],
    tick: ImageProgress = lambda done, total: None,
) -> Tensor:
    """Decode every image: cropped to the shape's aspect ratio, resized, in its number of channels.

    Returns:
        uint8, N×C×H×W.

    Raises:
        DataError: naming the damaged file, or when there are fewer than two images.
    """
    total, images = sum(map(_length, files)), []
    for encoded, where in _encoded(files):
        images.append(decode_to_shape(encoded, image_shape, NAME, where))
        tick(len(images), total)
    if len(images) < 2:
        raise DataError(f"'{files[0].parent}' holds one proxy image; at least two are needed")
    return stacked(images)


def _length(path: Path) -> int:
    """The number of images in a file."""
    try:
        if path.suffix == ".bz2":
            with bz2.open(path) as lines:
                return sum(1 for _ in lines)
        if path.suffix != ".parquet":
            return 1
        return parquet_length(path)
    except (OSError, EOFError, pa.ArrowException) as error:
        raise unreadable(NAME, path, error) from None


def _encoded(files: Sequence[Path]) -> Iterator[tuple[bytes, str]]:
    """The bytes of every image with a name for messages."""
    for path in files:
        try:
            if path.suffix == ".parquet":
                for number, row in enumerate(parquet_rows(path)):
                    yield row.image, f"row {number} of '{path}'"
            elif path.suffix == ".bz2":
                for number, image in enumerate(_usps(path), 1):
                    yield image, f"line {number} of '{path}'"
            else:
                yield path.read_bytes(), f"'{path}'"
        except (OSError, pa.ArrowException, TypeError) as error:
            raise unreadable(NAME, path, error) from None
        except ValueError as error:
            raise DataError(f"'{path}' cannot be used: {error}; {ADVICE}") from None


def _usps(path: Path) -> Iterator[bytes]:
    """The images of torchvision's ``usps.bz2``, as PNG."""
    from torchvision.datasets import (
        USPS,
    )  # importing it takes seconds, which prepared data need not wait for

    try:
        images = USPS(str(path.parent), train=True, download=False).data
    except Exception as error:  # torchvision raises exceptions of many types on damaged bytes
        raise unreadable(NAME, path, error) from None
    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        yield buffer.getvalue()
