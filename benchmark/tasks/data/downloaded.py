"""Published datasets of labelled images, which lie in torchvision's files or in parquet files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmark.tasks.data.base import Dataset, ImageProgress, check_labels, missing, search_paths
from benchmark.tasks.data.parquet import parquet_files, read_parquet_splits
from benchmark.tasks.data.prepared import prepared


@dataclass(frozen=True)
class PublishedImages:
    """A dataset's files and folders below a data folder.

    Attributes:
        name: name in messages.
        folder: folder of torchvision's files.
        files: names of torchvision's files in that folder.
        parquet_folder: folder of ``train*.parquet`` and ``test*.parquet``.
        parquet_subfolder: folder in that one where they may lie instead.
        num_classes: K.
        fetch: the command that gets torchvision's files.
    """

    name: str
    folder: str
    files: Sequence[str]
    parquet_folder: str
    parquet_subfolder: str
    num_classes: int
    fetch: str

    def read(
        self, data_dir: Path | None, decode: Callable[[Path, ImageProgress], Dataset]
    ) -> Dataset:
        """The dataset from the first place that holds it.

        Args:
            data_dir: folder to look in; the usual places when None.
            decode: reads torchvision's files in the folder it is given.

        Raises:
            DataError: when it is missing or damaged, or a label is no class.
        """
        places = search_paths(data_dir)
        for place in places:
            folder = place / self.folder
            files = [folder / name for name in self.files]
            if all(path.is_file() for path in files):
                data = prepared(self.name, files, partial(decode, folder))
                return self._checked(folder, data)
            folder = place / self.parquet_folder
            train, test = (
                parquet_files(folder, split, self.parquet_subfolder) for split in ("train", "test")
            )
            if train and test:
                read = partial(
                    read_parquet_splits, self.name, train, test, self.num_classes, self.fetch
                )
                return self._checked(folder, prepared(self.name, [*train, *test], read))
        shown = [f"{self.folder}/{name}" for name in self.files[:2]] + ["…"] * (len(self.files) > 2)
        wanted = [*shown, f"{self.parquet_folder}/train*.parquet and test*.parquet"]
        raise missing(self.name, wanted, places, self.fetch)

    def _checked(self, folder: Path, data: Dataset) -> Dataset:
        remedy = f"fetch it again with: {self.fetch}"
        return check_labels(f"{self.name} in '{folder}'", data, self.num_classes, remedy)
