"""The result of every dataset reader, and the folders in which readers look."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from benchmark.errors import UserError
from methods.base.errors import described
from methods.base.run import derive_seed

DATA_VARIABLE = "DFKD_DATA"

ImageProgress = Callable[[int, int], None]
"""Called with the number of images that are done, and the number of all."""


class DataError(UserError):
    """A dataset is missing or damaged."""


@dataclass(frozen=True)
class Split:
    """Images and labels as they are stored: uint8, N×C×H×W, and int64, N.

    Labels of segmentation are maps: uint8, N×H×W, with void as
    `methods.losses.predictions.IGNORE_INDEX`.
    """

    images: Tensor
    labels: Tensor

    def __getitem__(self, chosen: Tensor) -> Split:
        """The images of the given numbers."""
        return Split(self.images[chosen], self.labels[chosen])


DEVELOPMENT_SHARE = 10
"""One image in so many of the training split is kept for development."""
DEVELOPMENT_LIMIT = 5000
"""Most images kept for development: enough to tell accuracies a percentage point apart."""


@dataclass(frozen=True)
class Dataset:
    """A training and a test split, and a hash of their contents.

    The hash is of the decoded arrays, so the same data in another file layout is the same data.
    Some of the training images are the development split, by which settings may be chosen. Teachers
    have seen them; no student learns from them.

    Args:
        train: training split, on which teachers are trained.
        test: test split, by which students are judged.
        note: remark on this copy that every table must show, such as ``CIFAR-10 (JPEG)``.
    """

    train: Split
    test: Split
    note: str = field(default="", kw_only=True)

    @classmethod
    def known(cls, train: Split, test: Split, checksum: str, note: str = "") -> Dataset:
        """A dataset whose checksum was computed before."""
        dataset = cls(train, test, note=note)
        dataset.__dict__["_digest"] = checksum
        return dataset

    @cached_property
    def development(self) -> Split:
        """The training images that no student learns from."""
        return self.train[self._order[: self._held_out]]

    @cached_property
    def learnable(self) -> Split:
        """The training images that a student may learn from, in their order."""
        return self.train[self._order[self._held_out :].sort().values]

    @property
    def _held_out(self) -> int:
        return max(1, min(DEVELOPMENT_LIMIT, len(self.train.labels) // DEVELOPMENT_SHARE))

    @cached_property
    def _order(self) -> Tensor:
        # One order for every run, machine and method: the split is part of the task.
        stream = torch.Generator().manual_seed(derive_seed(0, "development split"))
        return torch.randperm(len(self.train.labels), generator=stream)

    def checksum(self) -> str:
        """16 hexadecimal digits, computed once."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        hasher = hashlib.sha256()
        for split in (self.train, self.test):
            for tensor in (split.images, split.labels):
                hasher.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
                hasher.update(tensor.contiguous().numpy().data)
        return hasher.hexdigest()[:16]


def check_labels(name: str, dataset: Dataset, num_classes: int, remedy: str) -> Dataset:
    """A dataset of images to classify, given back when each of its labels is a class.

    Args:
        name: name and place of the dataset, for messages.
        dataset: dataset to check. Its labels are int64, N, each from 0 to ``num_classes`` − 1.
        num_classes: K.
        remedy: advice for a label that is no class, for the message.

    Raises:
        DataError: naming the first label that is no class, or what the labels are instead.
    """
    valid = f"labels are whole numbers from 0 to {num_classes - 1}"
    for split, part in (("training", dataset.train), ("test", dataset.test)):
        labels = part.labels
        if labels.dtype != torch.int64 or labels.shape != part.images.shape[:1]:
            kind = str(labels.dtype).removeprefix("torch.")
            raise DataError(
                f"{name} cannot be used: the labels of its {len(part.images)} {split} images are "
                f"{kind} of shape {list(labels.shape)}; {valid}, int64, one an image; {remedy}"
            )
        wrong = (labels < 0) | (labels >= num_classes)
        if wrong.any():
            index = int(wrong.nonzero()[0])
            raise DataError(
                f"{name} cannot be used: {split} image {index} has the label {int(labels[index])}; "
                f"{valid}; {remedy}"
            )
    return dataset


def search_paths(data_dir: Path | None) -> list[Path]:
    """Folders that may hold datasets, first match wins."""
    if data_dir is not None:
        return [data_dir]
    paths = []
    if configured := os.environ.get(DATA_VARIABLE):
        paths.append(Path(configured))
    return [*paths, Path("data"), Path.home() / ".cache" / "dfkd-bench" / "data"]


def missing(name: str, files: Sequence[str], searched: Sequence[Path], fetch: str) -> DataError:
    """The one-line error of an absent dataset."""
    places = ", ".join(f"'{path}'" for path in searched)
    return DataError(
        f"{name} is not here: no {' / '.join(files)} in {places}; point at it with --data-dir "
        f"or {DATA_VARIABLE}, or fetch it with: {fetch}"
    )


def damaged(name: str, where: Path | str, what: str, fetch: str = "") -> DataError:
    """The one-line error of a file that is not what it should be.

    Args:
        name: name of the dataset.
        where: the file, or text that names a place in it.
        what: the fault, as in ``lists nothing``.
        fetch: the command that gets it again; empty for files that no command gets.
    """
    place = f"'{where}'" if isinstance(where, Path) else where
    remedy = f"; fetch it again with: {fetch}" if fetch else ""
    return DataError(f"{name} is damaged: {place} {what}{remedy}")


def unreadable(name: str, where: Path | str, why: Exception | str, fetch: str = "") -> DataError:
    """The one-line error of a file that cannot be read; arguments of `damaged`."""
    if isinstance(why, Exception):
        why = described(why) if str(why) else f"{type(why).__name__}: unexpected end of file"
    return damaged(name, where, f"cannot be read ({why})", fetch)
