"""A folder of labelled images, one folder a class, as torchvision's ImageFolder has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmark.tasks.data.base import DataError, unreadable
from benchmark.tasks.data.images import MODES, SUFFIXES, decode_to_shape, stacked

NAME = "a labelled image"


@dataclass(frozen=True)
class LabelledImages:
    """Files and the class of each."""

    files: Sequence[Path]
    labels: Tensor

    def read(self, start: int, stop: int, image_shape: tuple[int, int, int]) -> tuple[Tensor, ...]:
        """Images, uint8, N×C×H×W, cropped to the shape's aspect ratio and resized; labels, N.

        Raises:
            DataError: naming the damaged file.
        """
        images = []
        for path in self.files[start:stop]:
            try:
                encoded = path.read_bytes()
            except OSError as error:
                raise unreadable(NAME, path, error) from None
            images.append(decode_to_shape(encoded, image_shape, NAME, f"'{path}'"))
        return stacked(images), self.labels[start:stop]


def labelled_images(folder: Path, num_classes: int, channels: int) -> LabelledImages:
    """The images in the class folders of ``folder``.

    Folders are classes in alphabetical order, as in ImageFolder; where all their names are
    numbers, the number is the class, so that ``10`` does not come before ``2``.

    Raises:
        DataError: when there are no class folders, or other classes than the teacher's.
    """
    if channels not in MODES:
        raise DataError(f"images of {channels} channels cannot be read from --eval-dir")
    if not folder.is_dir():
        raise DataError(f"folder '{folder}' (--eval-dir) does not exist")
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    if not names:
        raise DataError(f"folder '{folder}' (--eval-dir) has no class folders with images in them")
    numbered = all(name.isdecimal() for name in names)
    if numbered and max(map(int, names)) >= num_classes:
        raise DataError(
            f"folder '{folder}' (--eval-dir) has a class {max(map(int, names))}; the teacher's are "
            f"0 to {num_classes - 1}"
        )
    if not numbered and len(names) != num_classes:
        raise DataError(
            f"folder '{folder}' (--eval-dir) has {len(names)} class folders and the teacher "
            f"{num_classes} classes; it needs one a class, in the teacher's order"
        )
    files: list[Path] = []
    labels: list[int] = []
    for position, name in enumerate(names):
        found = sorted(p for p in (folder / name).rglob("*") if p.suffix.lower() in SUFFIXES)
        files += found
        labels += [int(name) if numbered else position] * len(found)
    if not files:
        raise DataError(
            f"folder '{folder}' (--eval-dir) holds no images in class folders "
            f"({', '.join(SUFFIXES)})"
        )
    return LabelledImages(files, torch.tensor(labels))
